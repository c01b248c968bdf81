"""Large bodies: exactly 1 MiB is read, more is refused, and the client that sends it can read the refusal."""

import socket
from collections.abc import Iterator

import httpx
import pytest

from tests.api.support import exchange, head, refusal, unlimited
from tests.support import Api

MIB = 1024 * 1024
JSON = {"Content-Type": "application/json"}


def body_of(size: int) -> bytes:
    """A good body of just so many bytes."""
    bare = b'{"content": "hello"}'
    return bare[:-1] + b" " * (size - len(bare)) + b"}"


def in_chunks(body: bytes) -> Iterator[bytes]:
    for start in range(0, len(body), 50_000):
        yield body[start : start + 50_000]


@pytest.fixture
def path(api: Api) -> Iterator[tuple[httpx.Client, str]]:
    """A client and the path of the messages of its chat."""
    with unlimited(api, **JSON) as client:
        yield client, f"/api/chats/{client.post('/api/chats', json={'title': 'x'}).json()['id']}/messages"


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_may_have_one_mebibyte_and_not_a_byte_more(path: tuple[httpx.Client, str], chunked: bool) -> None:
    client, messages = path
    for size, status in ((MIB, 201), (MIB + 1, 413)):
        body = body_of(size)
        response = client.post(messages, content=in_chunks(body) if chunked else body)
        assert response.status_code == status
    refusal(response, 413)
    assert client.get(messages).json()["total"] == 1


def test_32768_characters_fit_in_a_body_however_they_are_escaped(path: tuple[httpx.Client, str]) -> None:
    client, messages = path
    escaped = b'{"content": "' + b"\\ud834\\udd1e" * 32_768 + b'"}'
    assert client.post(messages, content=escaped).json()["content"] == "\U0001d11e" * 32_768


@pytest.mark.parametrize(
    ("request_line", "user", "status"),
    [
        ("POST /api/chats HTTP/1.1", None, 413),
        ("GET /api/chats HTTP/1.1", None, 413),
        ("POST /api/chats HTTP/1.1", "", 401),
        ("POST /api/nope HTTP/1.1", None, 404),
        ("POST /nope HTTP/1.1", None, 404),
        ("PATCH /api/chats HTTP/1.1", None, 405),
        ("POST /nope HTTP/1.0", None, 404),
    ],
)
@pytest.mark.parametrize("chunked", [False, True])
def test_who_sends_100_megabytes_before_reading_reads_the_refusal(
    api: Api, request_line: str, user: str | None, status: int, chunked: bool
) -> None:
    piece = b"x" * MIB
    if chunked:
        framing, parts = {"Transfer-Encoding": "chunked"}, [*[b"100000\r\n" + piece + b"\r\n"] * 100, b"0\r\n\r\n"]
    else:
        framing, parts = {"Content-Length": str(100 * MIB)}, [piece] * 100
    if chunked and request_line.endswith("1.0"):  # which has no transfer codings
        status = 400
    refusal(exchange(api, head(request_line, api.headers(user) | JSON | framing), *parts), status)


def test_who_is_told_too_large_before_sending_need_not_send(api: Api) -> None:
    headers = api.headers() | JSON | {"Content-Length": str(100 * MIB), "Expect": "100-continue"}
    with socket.create_connection(("127.0.0.1", api.port), timeout=10) as connection:
        connection.sendall(head("POST /api/chats HTTP/1.1", headers))
        received = b""
        while piece := connection.recv(65_536):
            received += piece
    assert b"HTTP/1.1 413 " in received
