"""Request bodies that the API does not read, or not at once: none of their bytes is parsed as a request.

With `Expect: 100-continue` the API requests the body only when it reads the body.
"""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from api.auth.cookies import SESSION_COOKIES
from tests.api.http.http1 import CHUNKED, Attack
from tests.api.support import (
    RawResponse,
    expect_error,
    new_address,
    open_connection,
    parse_responses,
    patch_api,
    unlimited_client,
    wait_until_received,
)
from tests.api_process import Api, running
from tests.tokens import new_user


@pytest.mark.parametrize(
    ("line", "fields", "status"),
    [
        (b"POST /api/chats HTTP/1.1", (b"Content-Type: application/json",), 400),
        (b"POST /api/chats HTTP/1.1", (b"Content-Type: text/plain",), 415),
        (b"POST /api/profile/image HTTP/1.1", (b"Content-Type: text/plain",), 415),
        (b"POST /api/profile/image HTTP/1.1", (b"Content-Type: multipart/form-data; boundary=x",), 400),
        (b"POST /api/chats HTTP/1.1", (b"Content-Type: application/json", b"Authorization: Bearer x"), 401),
        (b"POST /api/nope HTTP/1.1", (), 404),
        (b"POST /nope HTTP/1.1", (), 404),
        (b"PATCH /api/chats HTTP/1.1", (), 405),
        (b"GET /healthz HTTP/1.1", (), 200),
        (b"HEAD /healthz HTTP/1.1", (), 200),
        (b"GET /api/profile HTTP/1.1", (), 200),
    ],
)
@pytest.mark.parametrize("chunked", [False, True])
def test_unread_body_is_not_parsed_as_a_request(
    api: Api, line: bytes, fields: tuple[bytes, ...], status: int, *, chunked: bool
) -> None:
    """The request after the body is executed."""
    user = new_user()
    with unlimited_client(api, user) as client:
        attack = Attack(api, client, user)
        if fields:
            del attack.headers["Content-Type"]
        if any(field.startswith(b"Authorization") for field in fields):
            del attack.headers["Authorization"]
        size = len(attack.second_request)
        framing = CHUNKED if chunked else b"Content-Length: %d" % size
        body = b"%x\r\n%b\r\n0\r\n\r\n" % (size, attack.second_request) if chunked else attack.second_request
        sent = attack.request(line, framing, *fields, body=body)
        last = attack.request(b"GET /nope HTTP/1.1", b"Connection: close")
        for segments in ((sent + last,), (sent[:-size], sent[-size:] + last)):
            responses = attack.send(*segments)
            assert [response.status_code for response in responses] == [status, 404]
        assert not attack.list_titles()


@pytest.mark.parametrize("line", [b"POST /api/chats HTTP/1.1", b"POST /nope HTTP/1.1", b"GET /healthz HTTP/1.1"])
@pytest.mark.parametrize("chunked", [False, True])
def test_body_that_is_too_large_is_not_parsed_as_a_request(attack: Attack, line: bytes, *, chunked: bool) -> None:
    framing = CHUNKED if chunked else b"Content-Length: 2000000"
    body = b"1e8480\r\n" + attack.second_request if chunked else attack.second_request
    [response] = attack.send(attack.request(line, framing, body=body))
    assert response.status_code == (404 if b"/nope" in line else 413)
    assert response.headers["connection"] == "close"
    assert not attack.list_titles()


@pytest.mark.parametrize(
    ("line", "status"),
    [(b"POST /nope HTTP/1.1", 404), (b"PATCH /api/chats HTTP/1.1", 405), (b"GET /healthz HTTP/1.1", 400)],
)
def test_data_after_an_unread_malformed_body_is_not_parsed(attack: Attack, line: bytes, status: int) -> None:
    [response] = attack.send(attack.request(line, CHUNKED, body=b"0x0\r\n\r\n0\r\n\r\n") + attack.second_request)
    assert (response.status_code, response.headers["connection"]) == (status, "close")
    assert not attack.list_titles()


def test_data_after_an_upload_that_timed_out_is_not_parsed(new_api: Callable[..., Api], shared_database: str) -> None:
    user = new_user()
    with (
        running(patch_api(new_api(shared_database), "upload.TIMEOUT_SECONDS = 0.1")) as api,
        unlimited_client(api, user) as client,
        open_connection(api) as connection,
    ):
        attack = Attack(api, client, user)
        attack.headers["Content-Type"] = "multipart/form-data; boundary=x"
        connection.sendall(
            attack.request(b"POST /api/profile/image HTTP/1.1", b"Content-Length: 100000", body=b"--x\r\n")
        )
        received = connection.recv(65_536)
        connection.sendall(attack.second_request)
        while piece := connection.recv(65_536):
            received += piece
        [response] = parse_responses(received)
        assert expect_error(response, 400)["message"] == "The body took longer than 0.1 seconds."
        assert response.headers["connection"] == "close"
        assert not attack.list_titles()


@pytest.mark.parametrize(
    ("version", "size", "interim"),
    [(b"1.1", 18, b"HTTP/1.1 100 Continue\r\n\r\n"), (b"1.1", 2_000_000, b""), (b"1.0", 18, b"")],
)
def test_100_continue_is_sent_for_an_acceptable_body_in_http_1_1(
    api: Api, attack: Attack, version: bytes, size: int, interim: bytes
) -> None:
    fields = b"Expect: 100-continue", b"Content-Length: %d" % size, b"Connection: close"
    with open_connection(api) as connection, open_connection(api) as other:
        connection.sendall(attack.request(b"POST /api/chats HTTP/" + version, *fields))
        wait_until_received(other)
        if interim:
            assert connection.recv(len(interim)) == interim
        connection.sendall(b'{"title": "first"}')
        received = b""
        while piece := connection.recv(65_536):
            received += piece
    assert received.startswith(b"HTTP/1.1 413 " if size > 18 else b"HTTP/1.1 201 ")
    assert attack.list_titles() == (set() if size > 18 else {"first"})


def test_body_that_has_arrived_needs_no_100_continue(api: Api, attack: Attack) -> None:
    fields = b"Expect: 100-continue", b"Content-Length: 18", b"Connection: close"
    with open_connection(api) as connection:
        connection.sendall(attack.request(b"POST /api/chats HTTP/1.1", *fields, body=b'{"title": "first"}'))
        assert connection.recv(65_536).startswith(b"HTTP/1.1 201 ")


# Requests to which the API responds without reading their bodies: the request line, a field that replaces the user's
# Authorization, the media type, the status, and the size of the body.
UNREAD_REQUESTS = [
    ("POST /api/chats", "X: no token", "application/json", 401, 18),
    ("POST /api/chats", "Authorization: Basic YTpi", "application/json", 401, 18),
    ("POST /api/chats", f"Cookie: {SESSION_COOKIES[0]}=x", "application/json", 403, 18),
    ("POST /api/chats", None, "text/plain", 415, 18),
    ("POST /api/chats", None, "application/json", 413, 2_000_000),
    ("PUT /api/settings", None, "text/plain", 415, 18),
    ("POST /api/profile/image", "X: no token", "multipart/form-data; boundary=x", 401, 18),
    ("POST /api/profile/image", "Authorization: Bearer x", "multipart/form-data; boundary=x", 401, 18),
    ("POST /api/profile/image", None, "text/plain", 415, 18),
    ("POST /api/profile/image", None, "multipart/form-data; boundary=x", 413, 6_000_000),
    ("POST /api/pusher/auth", None, "application/json", 415, 18),
    ("POST /api/nope", None, "application/json", 404, 18),
    ("POST /nope", None, "application/json", 404, 18),
    ("PATCH /api/chats", None, "application/json", 405, 18),
    ("POST /healthz", None, "application/json", 405, 18),
    ("HEAD /nope", None, "application/json", 404, 18),
]


@pytest.mark.parametrize(
    ("line", "field", "media_type", "status", "framing"),
    [(*request, b"Content-Length: %d" % size) for *request, size in UNREAD_REQUESTS]
    + [
        (*request, CHUNKED) for *request, size in UNREAD_REQUESTS if size == 18
    ],  # the others are rejected for their Content-Length
)
def test_body_that_is_not_read_gets_no_100_continue(
    attack: Attack, line: str, field: str | None, media_type: str, status: int, framing: bytes
) -> None:
    """The connection is closed: after the response, the client may send the body or another request."""
    attack.headers["Content-Type"] = media_type
    if field:
        attack.headers.pop("Authorization")
    fields = [framing, b"Expect: 100-continue", *([field.encode()] if field else [])]
    response = get_final_response(attack, attack.request(f"{line} HTTP/1.1".encode(), *fields))
    assert (response.status_code, response.headers["connection"]) == (status, "close")


def get_final_response(attack: Attack, waiting_request: bytes) -> RawResponse:
    """Send a request that waits for 100 (Continue), then another one instead of its body; return the only response."""
    with open_connection(attack.api) as connection:
        connection.sendall(waiting_request)
        received = connection.recv(65_536)
        connection.sendall(attack.second_request)
        while piece := connection.recv(65_536):
            received += piece
    assert not received.startswith(b"HTTP/1.1 100 ")
    [response] = parse_responses(received)
    assert not attack.list_titles()
    return response


def test_rate_limited_request_gets_no_100_continue(attack: Attack) -> None:
    attack.headers["X-Forwarded-For"] = new_address()
    last = attack.request(b"GET /api/profile HTTP/1.1", b"Connection: close")
    responses = attack.send(attack.request(b"GET /api/profile HTTP/1.1") * 10 + last)
    assert [response.status_code for response in responses] == [200] * 10 + [429]
    waiting_request = attack.request(b"POST /api/chats HTTP/1.1", b"Content-Length: 18", b"Expect: 100-continue")
    assert get_final_response(attack, waiting_request).status_code == 429


@pytest.mark.parametrize("is_rejected", [True, False])
def test_curl_does_not_send_a_rejected_body(api: Api, attack: Attack, tmp_path: Path, *, is_rejected: bool) -> None:
    body = tmp_path / "body"
    body.write_text('{"title": "first"}' + " " * 500_000)
    headers = attack.headers | {"Expect": "100-continue"} | ({"Authorization": "Basic YTpi"} if is_rejected else {})
    options = [option for name, value in headers.items() for option in ("-H", f"{name}: {value}")]
    command = [
        "curl", "-sS", "--expect100-timeout", "20", "-o", str(tmp_path / "response"),
        "-w", "%{http_code} %{size_upload}", "--data-binary", f"@{body}", *options, f"{api.url}/api/chats",
    ]  # fmt: skip
    printed = subprocess.check_output(command, text=True, timeout=30)
    assert printed == ("401 0" if is_rejected else f"201 {body.stat().st_size}")
    assert attack.list_titles() == (set() if is_rejected else {"first"})
