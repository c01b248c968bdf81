"""HTTP/1.1 connections on Sanic's server, with this package's parser and with limits on slow clients.

The methods override Sanic's where a client might not be able to read its response, might send a request that another
parser reads differently (parser.py), or might hold resources without a limit.
"""

import asyncio
from functools import cache
from typing import ClassVar

from sanic.exceptions import PayloadTooLarge
from sanic.headers import format_http1_response
from sanic.http import Http, Stage
from sanic.http.http1 import HTTP_CONTINUE
from sanic.server import HttpProtocol

from api.http.parser import (
    HEAD_PART,
    BodyDecoder,
    MalformedRequestError,
    check_host,
    create_body_decoder,
    is_continue_expected,
    is_persistent,
    parse_fields,
    parse_request_line,
)

MAX_HEAD = 160 * 1024  # bytes of a request's line and headers: enough for any token that a client may send
MAX_WRITE_BUFFER = 256 * 1024 * 1024  # bytes of responses in a worker that clients have not received yet
LINGERING_CLOSE_SECONDS = 5
TIMEOUT_RESPONSE_SECONDS = 10  # for a client to receive the response to a timeout, before its connection is aborted
BODILESS_STATUSES = {204, 304}  # responses without a body and without Content-Length
FRAMING_HEADERS = {"content-length", "transfer-encoding", "content-type", "connection"}


@cache
def format_status_line(status: int) -> bytes:
    """Return the status line, such as `HTTP/1.1 200 OK`, with its CRLF."""
    return format_http1_response(status, ()).removesuffix(b"\r\n")


class HttpConnection(Http):
    """Handles the requests of a connection. Sanic's own parser is replaced by api.http.parser."""

    request_body: BodyDecoder | None  # type: ignore[assignment]

    async def http1(self) -> None:
        """Serve the connection's requests; let the client read an error response that ends the connection."""
        await super().http1()  # type: ignore[no-untyped-call]
        # Closing a socket with unread input resets the connection, and the client may lose the response.
        if self.response is not None and (self.response.status >= 400 or self.recv_buffer):
            await self.lingering_close()

    async def http1_request_header(self) -> None:
        """Receive the head of a request into self.request. Raises MalformedRequestError, PayloadTooLarge."""
        buffer = self.recv_buffer
        end = await self.receive_until(b"\r\n", 0)
        if end == 0:
            del buffer[:2]
            end = await self.receive_until(b"\r\n", 0)
        method, target, version = parse_request_line(buffer[:end])
        self.url, self.head_only = target, method == "HEAD"
        fields_start, end = end + 2, await self.receive_until(b"\r\n\r\n", end) + 2
        headers = parse_fields(buffer[fields_start:end])
        check_host(version, headers)
        decoder = create_body_decoder(version, headers)
        expects_continue = decoder is not None and is_continue_expected(version, headers)
        request = self.protocol.request_class(
            url_bytes=target.encode(),
            headers=headers,
            version=version,
            method=method,
            transport=self.protocol.transport,  # type: ignore[arg-type]
            app=self.protocol.app,
        )
        del buffer[: end + 2]
        self.request, self.request_body, request.stream = request, decoder, self
        self.expecting_continue, self.keep_alive = expects_continue, is_persistent(version, headers)
        self.protocol.request_class._current.set(request)
        self.protocol.state["requests_count"] += 1

    async def receive_until(self, delimiter: bytes, start: int) -> int:
        """Return the position of the delimiter in the buffer. Raises MalformedRequestError, PayloadTooLarge.

        Each byte is searched once, however small the segments are in which the input arrives.
        """
        buffer: bytearray = self.recv_buffer
        searched = start
        while (position := buffer.find(delimiter, searched)) < 0 and len(buffer) < MAX_HEAD + len(delimiter):
            if not HEAD_PART.fullmatch(buffer, searched):
                raise MalformedRequestError(
                    "The head must not have control characters, and its lines must end with CRLF."
                )
            searched = max(start, len(buffer) - len(delimiter) + 1)
            await self._receive_more()
        if not 0 <= position <= MAX_HEAD:
            raise PayloadTooLarge
        return position

    async def read(self) -> bytes | None:
        """Return the next bytes of the body, or None at its end. Raises MalformedRequestError, PayloadTooLarge."""
        data = b""
        while (decoder := self.request_body) and not data:
            try:
                data = decoder.decode(self.recv_buffer, self.request_max_size)
            except (MalformedRequestError, PayloadTooLarge):
                self.abandon_body()
                raise
            if decoder.is_complete:
                self.request_body = None
            elif not data:
                await self.receive_more_of_body()
        self.expecting_continue = False
        return data or None

    async def receive_more_of_body(self) -> None:
        """Receive more input; first send 100 (Continue) to a client that waits for it."""
        if self.expecting_continue:
            self.expecting_continue = False
            await self._send(HTTP_CONTINUE)
        await self._receive_more()

    def discard_received_body(self) -> None:
        """Discard what has been received of an unread body, so that the response can announce whether it closes."""
        if self.request_body is None:
            return
        try:
            max_size = min(self.request_max_size, self.protocol.request_max_size)
            self.request_body.decode(self.recv_buffer, max_size)
        except (MalformedRequestError, PayloadTooLarge):
            self.abandon_body()
        else:  # a client that waits for 100 (Continue) may send the body after the final response, or another request
            if self.expecting_continue and not self.request_body.is_complete:
                self.abandon_body()
        self.expecting_continue = False

    def abandon_body(self) -> None:
        """Leave the rest of the body unread; the connection cannot have another request after this."""
        self.request_body = None
        self.expecting_continue = self.keep_alive = False

    async def http1_response_header(self, data: bytes, end_stream: bool) -> None:
        """Send the head of a response, and its body if that is complete.

        When the server is stopping, close the connection after the response: shutdown waits for idle connections.
        """
        self.discard_received_body()
        if self.protocol.signal.stopped:
            self.keep_alive = False
        if serialized := None if data or not end_stream else self.serialize_response():
            self.response_size = len(serialized)
            self.response_func = None  # type: ignore[assignment]  # as Sanic does
            await self._send(serialized)
            self.stage = Stage.IDLE
        else:
            await super().http1_response_header(data, end_stream)

    def serialize_response(self) -> bytes | None:
        """Return a response with its body as bytes. Sanic's own formatting takes a sixth of a request's CPU time.

        Return None for responses that Sanic must write: to HEAD, without the body that their status requires, or with
        headers that this method does not handle.
        """
        response = self.response
        body, headers, is_bodiless = response.body or b"", response.headers, response.status in BODILESS_STATUSES
        if bool(body) == is_bodiless or self.head_only or not FRAMING_HEADERS.isdisjoint(headers):
            return None
        head = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
        if head.count("\r") != len(headers) or head.count("\n") != len(headers):
            return None
        head += f"connection: {'keep-alive' if self.keep_alive else 'close'}\r\n"
        if not is_bodiless:
            head += f"content-length: {len(body)}\r\ncontent-type: {response.content_type}\r\n"
        return format_status_line(response.status) + head.encode() + b"\r\n" + body

    async def lingering_close(self) -> None:
        """Close the sending side, then receive and discard input until the client closes, or for a limited time.

        Closing both sides while the client still sends would reset the connection.
        """
        if self.protocol.transport is not None:
            self.protocol.transport.write_eof()
        try:
            async with asyncio.timeout(LINGERING_CLOSE_SECONDS):
                while True:  # until the client closes, which cancels this task
                    self.recv_buffer.clear()
                    await self._receive_more()
        except TimeoutError:
            pass

    def create_empty_request(self) -> None:
        """Create the request to respond to if the head is malformed, too large or incomplete."""
        super().create_empty_request()
        self.request.has_valid_head = False  # type: ignore[attr-defined]
        self.request.conn_info = self.protocol.conn_info


class ParleyProtocol(HttpProtocol):
    """HTTP/1.1 on one connection, with limits on how long a client may send and on how much it may leave unread."""

    HTTP_CLASS = HttpConnection
    # Bytes of the responses that clients receive more slowly than they are written; the slowest connection is first.
    write_buffers: ClassVar[dict["ParleyProtocol", int]] = {}

    def data_received(self, data: bytes) -> None:
        """Receive data. A request's timeout starts with its first byte; Sanic restarts it with each segment."""
        started_at = self._time
        super().data_received(data)
        if self.http is not None and self.http.stage is not Stage.IDLE:
            self._time = started_at

    def check_timeouts(self) -> None:
        """End requests that take too long, even if the client keeps sending or does not receive the response."""
        super().check_timeouts()  # type: ignore[no-untyped-call]
        if self.transport is not None and self.http is not None and self.http.exception:
            self.loop.call_later(TIMEOUT_RESPONSE_SECONDS, self.transport.abort)

    def pause_writing(self) -> None:
        """Pause, since the client receives slowly. Beyond MAX_WRITE_BUFFER, abort the slowest connections."""
        super().pause_writing()  # type: ignore[no-untyped-call]
        self.write_buffers[self] = self.http.response_size
        while len(self.write_buffers) > 1 and sum(self.write_buffers.values()) > MAX_WRITE_BUFFER:
            slowest = next(iter(self.write_buffers))
            del self.write_buffers[slowest]
            if slowest.transport is not None:
                slowest.transport.abort()

    def resume_writing(self) -> None:
        """Resume; Sanic also calls this when the connection is lost."""
        self.write_buffers.pop(self, None)
        super().resume_writing()  # type: ignore[no-untyped-call]
