"""Helpers of the HTTP tests: error responses, requests as raw bytes, and clients without a rate limit."""

import itertools
import json
import re
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPResponse
from pathlib import Path
from typing import Any

import httpx
import psycopg

from tests.api_process import Api
from tests.waiting import wait_until

CODES = {
    400: "validation_error",
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    409: "conflict",
    410: "cursor_expired",
    412: "precondition_failed",
    413: "payload_too_large",
    415: "unsupported_media_type",
    422: "idempotency_key_reused",
    429: "rate_limited",
    500: "internal_error",
    503: "unavailable",
}
SESSION_TOKENS_FILE = Path(__file__).parent / "auth" / "session_tokens.json"  # made by tests/e2e/test_web_app.py
HIDDEN = "hidden-word"  # part of URLs and secrets that no error may quote
LIMIT_HEADERS = {
    "ratelimit",
    "ratelimit-policy",
    "x-ratelimit-limit",
    "x-ratelimit-remaining",
    "x-ratelimit-reset",
}

_addresses = itertools.count(1)


class Matching:
    """Equal to every string that fully matches the pattern: for values in responses that a test cannot know."""

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern

    def __eq__(self, other: object) -> bool:
        return isinstance(other, str) and re.fullmatch(self.pattern, other) is not None

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"<matching {self.pattern}>"


INSTANT = Matching(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
UUID7 = Matching(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


def new_address() -> str:
    """Return an IPv6 address in a /64 network of its own."""
    return f"2001:db8:{next(_addresses):x}::1"


def unlimited_client(api: Api, user: str | None = None, **headers: str) -> httpx.Client:
    """Return a client that sends each request from another address, so that no rate limit applies."""
    client = api.client(user, **headers)

    def set_address(request: httpx.Request) -> None:
        request.headers["X-Forwarded-For"] = new_address()

    client.event_hooks = {"request": [set_address]}
    return client


def patch_api(api: Api, *changes: str) -> Api:
    """Change constants of the API's process: each change is a Python statement that may use these modules."""
    program = [
        "import asyncio, runpy",
        "from api import app",
        "from api.http import protocol, request",
        "from api.images import image_store, reencode_capacity, storage, upload, upload_slots",
        "from api.observability import health",
        "from api.openapi import document",
        *changes,
        "runpy.run_module('api', run_name='__main__')",
    ]
    api.command = [sys.executable, "-c", "\n".join(program)]
    return api


def expect_error(response: "httpx.Response | RawResponse", status: int) -> dict[str, Any]:
    """Check that a response is an error with this status, in exactly the documented form; return its `error`."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/json"
    assert response.headers["x-request-id"]
    body = json.loads(response.text)
    assert list(body) == ["error"]
    error: dict[str, Any] = body["error"]
    assert error.keys() - {"details"} == {"message", "code"}
    assert isinstance(error["message"], str)
    assert error["message"]
    assert error["code"] == CODES[status]
    assert isinstance(error.get("details", {}), dict)
    if status in {429, 503}:
        assert int(response.headers["retry-after"]) > 0
    return error


def wait_for_status(client: httpx.Client, path: str, status: int) -> httpx.Response:
    """Request a path until the response has this status, and return it; cached responses may be a second old."""
    responses: list[httpx.Response] = []

    def has_status() -> bool:
        responses.append(client.get(path))
        return responses[-1].status_code == status

    wait_until(has_status)
    return responses[-1]


def read_status(connection: socket.socket) -> int:
    """Receive the beginning of a response; return its status."""
    return int(connection.recv(65_536)[9:12])


@contextmanager
def locked_chats(url: str) -> Iterator[Callable[[], int]]:
    """Hold a lock that all statements on chats wait for; yield a function that counts the waiting statements."""
    with psycopg.connect(url) as locker, psycopg.connect(url, autocommit=True) as watcher:
        locker.execute("lock table parley.chats in access exclusive mode")

        def count_waiting() -> int:
            query = (
                "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
            )
            row = watcher.execute(query).fetchone()
            assert row is not None
            return int(row[0])

        yield count_waiting
        locker.rollback()


def post_chat(client: httpx.Client) -> httpx.Response:
    """Create a chat."""
    return client.post("/api/chats", json={"title": "x"})


def expect_unauthorized(response: "httpx.Response | RawResponse") -> None:
    """Check that a response is the one that every invalid token gets."""
    assert expect_error(response, 401) == {"code": "unauthorized", "message": "Authentication required."}
    assert response.headers["www-authenticate"] == "Bearer"


def get_user_id(client: httpx.Client, **headers: str) -> str:
    """Return the id of the user as whom the API authenticates a request with these headers."""
    response = client.get("/api/profile", headers=headers)
    assert response.status_code == 200, response.text
    return str(response.json()["user"]["id"])


def load_session_tokens() -> list[dict[str, Any]]:
    """Return tokens that web apps made, each with its kind and its cookie."""
    tokens: list[dict[str, Any]] = json.loads(SESSION_TOKENS_FILE.read_text())
    return tokens


def token_headers(session_token: str, cookie: str | None) -> Iterator[dict[str, str]]:
    """Yield the headers that carry a token: as a Bearer token, and in its cookie if it has one."""
    yield {"Authorization": f"Bearer {session_token}"}
    if cookie:
        yield {"Cookie": f"{cookie}={session_token}"}


@dataclass
class RawResponse:
    """A response that was read from a socket."""

    status_code: int
    headers: dict[str, str]
    text: str


def send_raw(api: Api, *parts: bytes, method: str = "POST", seconds: float = 20) -> RawResponse:
    """Send all parts, then read the response, as simple clients do. Raises OSError if the connection is reset."""
    with socket.create_connection(("127.0.0.1", api.port), timeout=seconds) as connection:
        for part in parts:
            connection.sendall(part)
        with HTTPResponse(connection, method=method) as response:
            response.begin()
            headers = {name.lower(): value for name, value in response.getheaders()}
            return RawResponse(response.status, headers, response.read().decode())


def send_segments(api: Api, *segments: bytes) -> list[RawResponse]:
    """Send segments, each of which the API receives on its own; return all responses until it closes the connection.

    Raises OSError if the connection is reset.
    """
    received = b""
    with open_connection(api) as connection, open_connection(api) as other:
        for segment in segments[:-1]:
            connection.sendall(segment)
            wait_until_received(other)
        connection.sendall(segments[-1])
        while piece := connection.recv(65_536):
            received += piece
    return parse_responses(received)


def open_connection(api: Api) -> socket.socket:
    """Open a connection that sends each segment at once."""
    connection = socket.create_connection(("127.0.0.1", api.port), timeout=20)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def wait_until_received(other: socket.socket) -> None:
    """Wait until an API with one worker has received everything that was sent before, on any connection.

    Its event loop receives from all connections before it responds to one of them.
    """
    other.sendall(b"GET /healthz HTTP/1.1\r\nHost: parley.test\r\n\r\n")
    assert other.recv(4096).startswith(b"HTTP/1.1 200 ")


def parse_responses(received: bytes) -> list[RawResponse]:
    """Return the final responses in these bytes; no body may contain a status line."""
    return [parse_response(response) for response in re.split(rb"(?=HTTP/1\.1 [2-5])", received)[1:]]


def parse_response(response: bytes) -> RawResponse:
    """Parse the bytes of one response."""
    head, _, body = response.partition(b"\r\n\r\n")
    status_line, *fields = head.decode().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (field.partition(":") for field in fields)}
    return RawResponse(int(status_line.split()[1]), headers, body.decode())


def request_head(request_line: str, headers: dict[str, str]) -> bytes:
    """Return the head of a request."""
    lines = [request_line, "Host: parley.test", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode()
