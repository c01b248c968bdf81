"""Clients of the local Pusher server: of its HTTP API, and of its WebSocket protocol."""

import hashlib
import json
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from typing import Any
from urllib.parse import urlencode

import httpx
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from api.dev.pusher_process import PusherProcess
from api.dev.pusher_server.signatures import sign, sign_request

SUCCEEDED = "pusher_internal:subscription_succeeded"
HANDSHAKE = (
    "GET /app/{key}?protocol=7 HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
MASK = b"mask"


class Api:
    """A client of the HTTP API, as in the backend of an app."""

    def __init__(self, server: PusherProcess, http_client: httpx.Client) -> None:
        self.server, self.http = server, http_client
        self.base = f"http://127.0.0.1:{server.port}"

    def query(self, method: str, path: str, body: bytes = b"", /, **fields: str | None) -> dict[str, str]:
        """Return a signed query; `fields` replace parameters, also the signature, and None omits one."""
        parameters = {
            "auth_key": self.server.key,
            "auth_timestamp": str(int(time.time())),
            "auth_version": "1.0",
            "body_md5": hashlib.md5(body, usedforsecurity=False).hexdigest() if body else None,
            **fields,
        }
        query = {name: value for name, value in parameters.items() if value is not None}
        signed = [item for item in query.items() if item[0] != "auth_signature"]
        return {"auth_signature": sign_request(self.server.secret, method, path, signed), **query}

    def post(self, path: str, body: Any, **fields: str | None) -> httpx.Response:
        path = f"/apps/{self.server.app_id}/{path}"
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        query = self.query("POST", path, content, **fields)
        return self.http.post(f"{self.base}{path}?{urlencode(query)}", content=content)

    def get(self, path: str, **fields: str | None) -> httpx.Response:
        path = f"/apps/{self.server.app_id}/{path}"
        query = self.query("GET", path, b"", **fields)
        return self.http.get(f"{self.base}{path}?{urlencode(query)}")

    def trigger(self, channel: str, data: str = "{}", name: str = "event", **fields: Any) -> int:
        return self.post("events", {"name": name, "channel": channel, "data": data, **fields}).status_code


class Socket:
    """A client of the WebSocket protocol."""

    def __init__(self, server: PusherProcess, connection: ClientConnection) -> None:
        self.server, self.connection = server, connection
        self.established = self.receive()["data"]
        self.id: str = self.established["socket_id"]

    def send(self, event: str, data: Any = None, **fields: Any) -> None:
        self.connection.send(json.dumps({"event": event, "data": data, **fields}))

    def receive(self) -> dict[str, Any]:
        """Return the next event, with parsed data if it is one of Pusher's own."""
        message: dict[str, Any] = json.loads(self.connection.recv(timeout=10))
        if message["event"].startswith("pusher") and isinstance(message["data"], str):
            message["data"] = json.loads(message["data"])
        return message

    def subscribe(self, channel: str, user: str = "", *, auth: str | None = None, **info: Any) -> dict[str, Any]:
        """Subscribe to a channel; return the response."""
        channel_data = json.dumps({"user_id": user, "user_info": info}) if user else None
        signed = f"{self.id}:{channel}" + (f":{channel_data}" if channel_data else "")
        auth = f"{self.server.key}:{sign(self.server.secret, signed)}" if auth is None else auth
        self.send("pusher:subscribe", {"channel": channel, "auth": auth, "channel_data": channel_data})
        return self.receive()

    def sign_in(self, user_data: Any, secret: str = "") -> dict[str, Any]:
        """Sign in; return the response."""
        text = json.dumps(user_data)
        auth = f"{self.server.key}:{sign(secret or self.server.secret, f'{self.id}::user::{text}')}"
        self.send("pusher:signin", {"auth": auth, "user_data": text})
        return self.receive()

    def expect_nothing(self) -> None:
        """Check that there is no further event."""
        self.send("pusher:ping", {})
        assert self.receive() == {"event": "pusher:pong", "data": {}}

    def wait_for_close(self) -> int | None:
        """Wait until the server closes the connection; return the code."""
        with suppress(ConnectionClosed):
            while True:
                self.connection.recv(timeout=10)
        return self.connection.close_code


@contextmanager
def open_socket(server: PusherProcess, max_queue: int | None = None) -> Iterator[Socket]:
    with connect(build_url(server), max_size=None, max_queue=max_queue, close_timeout=1) as connection:
        yield Socket(server, connection)


def build_url(server: PusherProcess, path: str | None = None, query: str = "protocol=7&client=js&version=8.6.0") -> str:
    return f"ws://127.0.0.1:{server.port}{path or f'/app/{server.key}'}?{query}"


def encode_frame(first: int, payload: bytes = b"", *, masked: bool = True, length: int | None = None) -> bytes:
    """Encode a frame of a client; `length` is the announced length of the payload."""
    size, bit = len(payload) if length is None else length, 0x80 if masked else 0
    if size < 126:
        head = struct.pack("!BB", first, bit | size)
    elif size < 65_536:
        head = struct.pack("!BBH", first, bit | 126, size)
    else:
        head = struct.pack("!BBQ", first, bit | 127, size)
    if not masked:
        return head + payload
    return head + MASK + bytes(byte ^ MASK[i % 4] for i, byte in enumerate(payload))


class RawSocket:
    """A client that sends any bytes after the handshake."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection, self.stream = connection, connection.makefile("rb")
        self.socket_id = ""

    def receive(self) -> tuple[int, bytes]:
        """Return the first byte and the payload of the next frame; the frame must not be masked."""
        first, length = self.stream.read(2)
        size = length if length < 126 else int.from_bytes(self.stream.read(2 if length == 126 else 8))
        return first, self.stream.read(size)


@contextmanager
def connect_raw(server: PusherProcess) -> Iterator[RawSocket]:
    """Connect with the smallest receive buffer, so that the server's fills up if the client does not read."""
    with closing(socket.socket()) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 0)
        connection.settimeout(10)
        connection.connect(("127.0.0.1", server.port))
        connection.sendall(HANDSHAKE.format(key=server.key).encode())
        raw = RawSocket(connection)
        assert raw.stream.readline().startswith(b"HTTP/1.1 101 ")
        while raw.stream.readline() != b"\r\n":
            pass
        raw.socket_id = json.loads(json.loads(raw.receive()[1])["data"])["socket_id"]
        yield raw
