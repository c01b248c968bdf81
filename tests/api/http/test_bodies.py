"""Large bodies: up to 1 MiB is accepted, more is rejected, and the client can read the error response."""

import socket
from collections.abc import Iterator

import httpx
import pytest

from tests.api.support import expect_error, request_head, send_raw, unlimited_client
from tests.api_process import Api

MIB = 1024 * 1024
JSON = {"Content-Type": "application/json"}


def create_body(size: int) -> bytes:
    """Return a valid body of this size in bytes."""
    bare = b'{"content": "hello"}'
    return bare[:-1] + b" " * (size - len(bare)) + b"}"


def split_into_chunks(body: bytes) -> Iterator[bytes]:
    for start in range(0, len(body), 50_000):
        yield body[start : start + 50_000]


@pytest.fixture
def client_and_path(api: Api) -> Iterator[tuple[httpx.Client, str]]:
    """A client, and the path of the messages of its chat."""
    with unlimited_client(api, **JSON) as client:
        yield client, f"/api/chats/{client.post('/api/chats', json={'title': 'x'}).json()['id']}/messages"


@pytest.mark.parametrize("chunked", [False, True])
def test_body_may_have_exactly_one_mebibyte(client_and_path: tuple[httpx.Client, str], chunked: bool) -> None:
    client, messages = client_and_path
    for size, status in ((MIB, 201), (MIB + 1, 413)):
        body = create_body(size)
        response = client.post(messages, content=split_into_chunks(body) if chunked else body)
        assert response.status_code == status
    expect_error(response, 413)
    assert client.get(messages).json()["total"] == 1


def test_32768_characters_fit_in_a_body_however_they_are_escaped(client_and_path: tuple[httpx.Client, str]) -> None:
    client, messages = client_and_path
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
def test_client_that_sends_100_megabytes_before_reading_gets_the_error(
    api: Api, request_line: str, user: str | None, status: int, chunked: bool
) -> None:
    piece = b"x" * MIB
    if chunked:
        framing, parts = {"Transfer-Encoding": "chunked"}, [*[b"100000\r\n" + piece + b"\r\n"] * 100, b"0\r\n\r\n"]
    else:
        framing, parts = {"Content-Length": str(100 * MIB)}, [piece] * 100
    if chunked and request_line.endswith("1.0"):  # HTTP/1.0 has no transfer codings
        status = 400
    expect_error(send_raw(api, request_head(request_line, api.headers(user) | JSON | framing), *parts), status)


def test_client_that_waits_for_100_continue_gets_413_at_once(api: Api) -> None:
    headers = api.headers() | JSON | {"Content-Length": str(100 * MIB), "Expect": "100-continue"}
    with socket.create_connection(("127.0.0.1", api.port), timeout=10) as connection:
        connection.sendall(request_head("POST /api/chats HTTP/1.1", headers))
        received = b""
        while piece := connection.recv(65_536):
            received += piece
    assert b"HTTP/1.1 413 " in received
