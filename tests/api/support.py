"""What the HTTP tests say often: the envelope, bytes on the wire, clients that no limit stops."""

import itertools
import json
import re
import socket
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPResponse
from pathlib import Path
from typing import Any

import httpx

from tests.support import Api, wait_until

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
KEPT = Path(__file__).parent / "auth" / "session_tokens.json"  # made by tests/e2e/test_web_app.py
LIMIT_HEADERS = {
    "ratelimit",
    "ratelimit-policy",
    "x-ratelimit-limit",
    "x-ratelimit-remaining",
    "x-ratelimit-reset",
}

_addresses = itertools.count(1)


class Like:
    """Equal to every string that the pattern matches as a whole: for answers with values that can't be foretold."""

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern

    def __eq__(self, other: object) -> bool:
        return isinstance(other, str) and re.fullmatch(self.pattern, other) is not None

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"<like {self.pattern}>"


INSTANT = Like(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
UUID7 = Like(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


def new_address() -> str:
    """An IPv6 address in a /64 of its own."""
    return f"2001:db8:{next(_addresses):x}::1"


def unlimited(api: Api, user: str | None = None, **headers: str) -> httpx.Client:
    """A client whose every request comes from an address of its own."""
    client = api.client(user, **headers)

    def move(request: httpx.Request) -> None:
        request.headers["X-Forwarded-For"] = new_address()

    client.event_hooks = {"request": [move]}
    return client


def altered(api: Api, *changes: str) -> Api:
    """The API with other bounds: each change is a statement that may name these modules."""
    program = [
        "import asyncio, runpy",
        "from api import app",
        "from api.admission import upload_slots",
        "from api.http import protocol",
        "from api.images import profile_images, storage, upload",
        "from api.openapi import document",
        *changes,
        "runpy.run_module('api', run_name='__main__')",
    ]
    api.command = [sys.executable, "-c", "\n".join(program)]
    return api


def refusal(response: "httpx.Response | Wire", status: int) -> dict[str, Any]:
    """The `error` of an answer that must have this status and be the envelope, to the letter."""
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


def becomes(client: httpx.Client, path: str, status: int) -> httpx.Response:
    """The first response of this status: what is cached may be a second old."""
    responses: list[httpx.Response] = []

    def has_come() -> bool:
        responses.append(client.get(path))
        return responses[-1].status_code == status

    wait_until(has_come)
    return responses[-1]


def unauthorized(response: "httpx.Response | Wire") -> None:
    """Expects the one answer that every bad token gets."""
    assert refusal(response, 401) == {"code": "unauthorized", "message": "Authentication required."}
    assert response.headers["www-authenticate"] == "Bearer"


def user_of(client: httpx.Client, **headers: str) -> str:
    """The id of the user whom the API takes the sender of these headers for."""
    response = client.get("/api/profile", headers=headers)
    assert response.status_code == 200, response.text
    return str(response.json()["user"]["id"])


def kept_tokens() -> list[dict[str, Any]]:
    """Tokens that web apps made, each with its kind and the cookie that it is for."""
    tokens: list[dict[str, Any]] = json.loads(KEPT.read_text())
    return tokens


def sent_as(session_token: str, cookie: str | None) -> Iterator[dict[str, str]]:
    """The headers that carry a token: as a Bearer token, and in a cookie where it is for one."""
    yield {"Authorization": f"Bearer {session_token}"}
    if cookie:
        yield {"Cookie": f"{cookie}={session_token}"}


@dataclass
class Wire:
    """An answer that was read from a socket."""

    status_code: int
    headers: dict[str, str]
    text: str


def exchange(api: Api, *parts: bytes, method: str = "POST", seconds: float = 20) -> Wire:
    """Sends all parts before it reads anything, as simple clients do. Raises OSError if the connection is reset."""
    with socket.create_connection(("127.0.0.1", api.port), timeout=seconds) as connection:
        for part in parts:
            connection.sendall(part)
        with HTTPResponse(connection, method=method) as response:
            response.begin()
            headers = {name.lower(): value for name, value in response.getheaders()}
            return Wire(response.status, headers, response.read().decode())


def conversation(api: Api, *segments: bytes) -> list[Wire]:
    """Every response to these bytes until the API closes the connection; it receives each segment by itself.

    Raises OSError when the connection is reset.
    """
    received = b""
    with connected(api) as connection, connected(api) as other:
        for segment in segments[:-1]:
            connection.sendall(segment)
            wait_until_received(other)
        connection.sendall(segments[-1])
        while piece := connection.recv(65_536):
            received += piece
    return responses(received)


def connected(api: Api) -> socket.socket:
    """A connection that sends each segment at once."""
    connection = socket.create_connection(("127.0.0.1", api.port), timeout=20)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def wait_until_received(other: socket.socket) -> None:
    """Waits until an API with one worker has received what was sent before, on whichever connection.

    Its event loop receives from all connections before it responds to one of them.
    """
    other.sendall(b"GET /healthz HTTP/1.1\r\nHost: parley.test\r\n\r\n")
    assert other.recv(4096).startswith(b"HTTP/1.1 200 ")


def responses(received: bytes) -> list[Wire]:
    """The responses in these bytes, without interim ones; no body may look like a status line."""
    return [wire(response) for response in re.split(rb"(?=HTTP/1\.1 [2-5])", received)[1:]]


def wire(response: bytes) -> Wire:
    """A response with its head and body."""
    begun, _, body = response.partition(b"\r\n\r\n")
    status_line, *fields = begun.decode().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (field.partition(":") for field in fields)}
    return Wire(int(status_line.split()[1]), headers, body.decode())


def head(request_line: str, headers: dict[str, str]) -> bytes:
    """The head of a request."""
    lines = [request_line, "Host: parley.test", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode()
