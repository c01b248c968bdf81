"""A client's WebSocket connection: its frames, its state, and the sending of messages to the client.

The package `websockets` parses frames as RFC 6455 requires: one that violates it, such as a frame without a mask,
closes the connection with the RFC's code.
"""

import asyncio
import json
import random
import socket
from collections import deque
from collections.abc import Callable
from typing import Any

from websockets.frames import CloseCode, Frame, Opcode
from websockets.protocol import SERVER, Protocol, State

from api.dev.pusher_server.limits import CLOSE_TIMEOUT_SECONDS, MAX_CLIENT_EVENTS, MAX_MESSAGE, SEND_BUFFER_BYTES

MESSAGE_OPCODES = {Opcode.TEXT, Opcode.BINARY, Opcode.CONT}


class Connection(asyncio.Protocol):
    """A WebSocket connection, its subscriptions, and the user who is signed in on it.

    It takes over the transport of a request, and first sends the response to its handshake. `receive` gets each
    message; `on_flush` is called when data was passed to the transport.
    """

    def __init__(
        self,
        transport: asyncio.Transport,
        handshake: bytes,
        receive: Callable[["Connection", str | bytes], None],
        on_flush: Callable[["Connection"], None],
    ) -> None:
        self.socket_id = f"{random.randrange(10**9)}.{random.randrange(10**9)}"  # noqa: S311 (not a secret)
        self.subscriptions: set[str] = set()
        self.user: dict[str, Any] = {}
        self.client_event_times: deque[float] = deque(maxlen=MAX_CLIENT_EVENTS)  # of the latest ones
        self.unsent_bytes = 0  # in the transport, as of the latest flush
        self.closed = asyncio.get_running_loop().create_future()
        self._transport, self._receive, self._on_flush = transport, receive, on_flush
        self._protocol = Protocol(SERVER, max_size=MAX_MESSAGE)
        self._request_protocol = transport.get_protocol()
        self._opcode, self._fragments = Opcode.TEXT, list[bytes]()  # of the message that is being received
        self._unsent: list[bytes] = []
        transport.set_protocol(self)
        # The kernel would buffer megabytes for each client that does not read.
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        transport.write(handshake)

    def data_received(self, data: bytes) -> None:
        """Handle all messages in the data, and respond to pings and to errors."""
        self._protocol.receive_data(data)
        for frame in self._protocol.events_received():
            if isinstance(frame, Frame) and frame.opcode in MESSAGE_OPCODES:
                self._receive_fragment(frame)
        self._write_protocol_data()

    def eof_received(self) -> None:
        """Close the connection."""
        self._protocol.receive_eof()

    def connection_lost(self, exc: Exception | None) -> None:
        """Complete `closed`, and report the end to the request, too."""
        self.closed.set_result(None)
        self._request_protocol.connection_lost(exc)

    def _receive_fragment(self, frame: Frame) -> None:
        if frame.opcode is not Opcode.CONT:
            self._opcode = frame.opcode
        self._fragments.append(bytes(frame.data))
        if not frame.fin or self._protocol.state is not State.OPEN:
            return
        message, self._fragments = b"".join(self._fragments), []
        try:
            self._receive(self, message if self._opcode is Opcode.BINARY else message.decode())
        except UnicodeDecodeError:
            self._protocol.fail(CloseCode.INVALID_DATA, "Expected UTF-8")

    def send(self, event: str, data: Any, channel: str | None = None) -> None:
        """Send a message to the client. Never blocks."""
        self.send_frame(encode_frame({"event": event, **({"channel": channel} if channel else {}), "data": data}))

    def send_frame(self, frame: bytes) -> None:
        """Send an encoded frame, together with all other frames of this iteration of the event loop. Never blocks."""
        self._unsent.append(frame)
        if len(self._unsent) == 1:
            asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        if self._unsent and self._protocol.state is State.OPEN and not self._transport.is_closing():
            self._transport.write(b"".join(self._unsent))
            self._on_flush(self)
        self._unsent.clear()

    def request_close(self, code: int, reason: str) -> None:
        """Send the queued messages, then close the connection with this code."""
        self._flush()
        if self._protocol.state is State.OPEN:
            self._protocol.send_close(code, reason)
            self._write_protocol_data()
            self._abort_later()

    def abort(self) -> None:
        """Close the connection without a handshake, if it is open."""
        self._transport.abort()

    def measure_unsent(self) -> int:
        """Return the bytes that the client has left unread, besides those in the kernel."""
        return self._transport.get_write_buffer_size()

    def _write_protocol_data(self) -> None:
        """Write pongs and closing frames; an empty item is the end of the stream."""
        for data in self._protocol.data_to_send():
            if self._transport.is_closing():
                return
            if data:
                self._transport.write(data)
            else:
                self._transport.write_eof()
                self._abort_later()
        self._on_flush(self)

    def _abort_later(self) -> None:
        asyncio.get_running_loop().call_later(CLOSE_TIMEOUT_SECONDS, self._transport.abort)


def encode_frame(message: dict[str, Any]) -> bytes:
    """Encode a message as a WebSocket text frame, once for all of its recipients."""
    return Frame(Opcode.TEXT, json.dumps(message).encode()).serialize(mask=False)
