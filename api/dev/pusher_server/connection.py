"""A client's WebSocket connection: its state, and the sending of messages to the client."""

import asyncio
import contextlib
import json
import random
import struct
from collections import deque
from typing import Any

from aiohttp import web

from api.dev.pusher_server.limits import MAX_CLIENT_EVENTS, MAX_UNSENT


class Connection:
    """A WebSocket connection, its subscriptions, and the user who is signed in on it."""

    def __init__(self, socket: web.WebSocketResponse, transport: asyncio.Transport) -> None:
        self.socket = socket
        self.task = asyncio.current_task()
        self.socket_id = f"{random.randrange(10**9)}.{random.randrange(10**9)}"  # noqa: S311 (not a secret)
        self.subscriptions: set[str] = set()
        self.user: dict[str, Any] = {}
        self.client_event_times: deque[float] = deque(maxlen=MAX_CLIENT_EVENTS)  # of the latest ones
        self.close_reason: tuple[int, str] | None = None  # code and text
        self.receive_timeout = asyncio.timeout(None)
        self._transport = transport
        self._unsent: list[bytes] = []

    def send(self, event: str, data: Any, channel: str | None = None) -> None:
        """Send a message to the client. Never blocks."""
        self.send_frame(encode_frame({"event": event, **({"channel": channel} if channel else {}), "data": data}))

    def send_frame(self, frame: bytes) -> None:
        """Send an encoded frame, together with all other frames of this iteration of the event loop. Never blocks."""
        self._unsent.append(frame)
        if len(self._unsent) == 1:
            asyncio.get_running_loop().call_soon(self.flush)

    def flush(self) -> None:
        """Send the queued frames now. A client that has left too much unread is disconnected."""
        if self._unsent and not self._transport.is_closing():
            self._transport.write(b"".join(self._unsent))
            if self._transport.get_write_buffer_size() > MAX_UNSENT:
                self.abort()
        self._unsent.clear()

    def request_close(self, code: int, reason: str) -> None:
        """Have the connection's own task, which waits for messages, close it with this code."""
        self.close_reason = self.close_reason or (code, reason)
        with contextlib.suppress(RuntimeError):  # The timeout has just expired.
            self.receive_timeout.reschedule(0)

    def abort(self) -> None:
        """Close the connection without a handshake, if it is open."""
        self._transport.abort()


def encode_frame(message: dict[str, Any]) -> bytes:
    """Encode a message as a WebSocket text frame, once for all of its recipients."""
    payload = json.dumps(message).encode()
    length = len(payload)
    if length < 126:
        return struct.pack("!BB", 0x81, length) + payload
    if length < 65_536:
        return struct.pack("!BBH", 0x81, 126, length) + payload
    return struct.pack("!BBQ", 0x81, 127, length) + payload
