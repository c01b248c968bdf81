"""Where Parley's HTTP/1 differs from Sanic's: every request gets an answer that its client can read."""

import asyncio
import math
import re
from functools import cache, cached_property
from http import HTTPMethod
from os import urandom
from time import monotonic
from typing import ClassVar

from pydantic.alias_generators import to_camel
from sanic import Request
from sanic.exceptions import PayloadTooLarge
from sanic.headers import format_http1_response
from sanic.http import Http, Stage
from sanic.http.http1 import HTTP_CONTINUE
from sanic.server import HttpProtocol

from api.http.parser import (
    HEAD_PART,
    Body,
    MalformedRequest,
    body_of,
    check_host,
    is_continue_expected,
    is_persistent,
    parse_fields,
    parse_request_line,
)
from api.observability.timings import Timings
from api.ratelimit.limiter import Decision

LINGER_SECONDS = 5
MAX_UNREAD = 256 * 1024 * 1024  # bytes of answers in a worker that clients have not taken yet
LAST_SECONDS = 10  # for a client to read that its time is over
MAX_HEAD = 160 * 1024  # bytes of a request's line and headers: room for any token that somebody could mean to send
METHODS = {str(method) for method in HTTPMethod}
NO_CONTENT = {204, 304}  # statuses of answers that have no body, nor say how long it is
FRAMING = {"content-length", "transfer-encoding", "content-type", "connection"}
FAILURE_SECONDS = 1  # of failures that no rate limit bounds, one in so many seconds is logged
SANE_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")


class ParleyRequest(Request):
    """A request whose id is the caller's X-Request-Id, if that is a sane one; and what is noted of it on its way."""

    timings: Timings | None = None
    decision: Decision | None = None
    is_address_fallback = False  # it counts against the address of a proxy
    has_valid_head = True
    _next_failure_at: ClassVar[float] = -math.inf

    @property
    def id(self) -> str:
        """The id in the answer's X-Request-Id and in the log."""
        if self._id is None:
            given = self.headers.get("x-request-id", "")
            self._id = given if SANE_ID.fullmatch(given) else urandom(16).hex()
        return str(self._id)

    @property
    def is_for_api(self) -> bool:
        """Whether the path is below /api."""
        return f"{self.path}/".startswith("/api/")

    @property
    def is_search(self) -> bool:
        """Whether it searches messages: how long that takes says whether strangers use a word."""
        return bool(self.query_string) and "search" in self.args

    @cached_property
    def may_log_failure(self) -> bool:
        """Whether the log has room for the failure of this request: without a limit, a flood would fill the disk."""
        if self.is_for_api:
            return True
        now = monotonic()
        if now < ParleyRequest._next_failure_at:
            return False
        ParleyRequest._next_failure_at = now + FAILURE_SECONDS
        return True

    @property
    def known_method(self) -> str:
        """The method, or `other` for one that the client made up."""
        return self.method if self.method in METHODS else "other"

    @property
    def template(self) -> str:
        """The path as the API's documents write it, or `none` where there is no such route."""
        return template(self.route.path) if self.route else "none"


@cache
def template(path: str) -> str:
    """`/api/chats/{chatId}`, as the API's documents write it, of /api/chats/<chat_id> or what Sanic makes of that."""
    return "/" + re.sub(r"<(\w+)(?::\w+)?>", lambda found: f"{{{to_camel(found[1])}}}", path.removeprefix("/"))


@cache
def status_line(status: int) -> bytes:
    """`HTTP/1.1 200 OK`, with its line end."""
    return format_http1_response(status, ()).removesuffix(b"\r\n")


class ParleyHttp(Http):
    """Sanic's handling of a connection, until it is to be closed, with requests parsed by api.http.parser."""

    request_body: Body | None  # type: ignore[assignment]

    async def http1(self) -> None:
        """Serves the connection's requests, and lets the client read a refusal that ends it."""
        await super().http1()  # type: ignore[no-untyped-call]
        # Closing while input is unread resets the connection, and the client may lose the response.
        if self.response is not None and (self.response.status >= 400 or self.recv_buffer):
            await self.linger()

    async def http1_request_header(self) -> None:
        """Receives the head of a request into self.request. Raises MalformedRequest, PayloadTooLarge."""
        buffer = self.recv_buffer
        end = await self.receive_until(b"\r\n", 0)
        if end == 0:
            del buffer[:2]
            end = await self.receive_until(b"\r\n", 0)
        method, target, version = parse_request_line(buffer[:end])
        self.url, self.head_only = target, method == "HEAD"
        begun, end = end + 2, await self.receive_until(b"\r\n\r\n", end) + 2
        headers = parse_fields(buffer[begun:end])
        check_host(version, headers)
        body = body_of(version, headers)
        expects_continue = body is not None and is_continue_expected(version, headers)
        request = self.protocol.request_class(
            url_bytes=target.encode(),
            headers=headers,
            version=version,
            method=method,
            transport=self.protocol.transport,  # type: ignore[arg-type]
            app=self.protocol.app,
        )
        del buffer[: end + 2]
        self.request, self.request_body, request.stream = request, body, self
        self.expecting_continue, self.keep_alive = expects_continue, is_persistent(version, headers)
        self.protocol.request_class._current.set(request)
        self.protocol.state["requests_count"] += 1

    async def receive_until(self, delimiter: bytes, start: int) -> int:
        """Returns the position of the delimiter in the buffer. Raises MalformedRequest, PayloadTooLarge.

        What has arrived is searched once, however small the segments are.
        """
        buffer: bytearray = self.recv_buffer
        searched = start
        while (position := buffer.find(delimiter, searched)) < 0 and len(buffer) < MAX_HEAD + len(delimiter):
            if not HEAD_PART.fullmatch(buffer, searched):
                raise MalformedRequest("The head must not have control characters, and its lines must end with CRLF.")
            searched = max(start, len(buffer) - len(delimiter) + 1)
            await self._receive_more()
        if not 0 <= position <= MAX_HEAD:
            raise PayloadTooLarge
        return position

    async def read(self) -> bytes | None:
        """Returns the next bytes of the body, or None at its end. Raises MalformedRequest, PayloadTooLarge."""
        data = b""
        while (body := self.request_body) and not data:
            try:
                data = body.decode(self.recv_buffer, self.request_max_size)
            except (MalformedRequest, PayloadTooLarge):
                self.abandon_body()
                raise
            if body.is_complete:
                self.request_body = None
            elif not data:
                await self.receive_more_of_body()
        self.expecting_continue = False
        return data or None

    async def receive_more_of_body(self) -> None:
        """Receives more input, for which the client may wait to be asked."""
        if self.expecting_continue:
            self.expecting_continue = False
            await self._send(HTTP_CONTINUE)
        await self._receive_more()

    def discard_arrived_body(self) -> None:
        """Decodes what has arrived of an unread body, so that the response can announce that it ends the connection."""
        if self.request_body is None:
            return
        try:
            max_size = min(self.request_max_size, self.protocol.request_max_size)
            self.request_body.decode(self.recv_buffer, max_size)
        except (MalformedRequest, PayloadTooLarge):
            self.abandon_body()
        else:  # A client that waits for 100 (Continue) may send the body after the final response, or another request.
            if self.expecting_continue and not self.request_body.is_complete:
                self.abandon_body()
        self.expecting_continue = False

    def abandon_body(self) -> None:
        """Leaves the rest of the body unread, after which the connection cannot have another request."""
        self.request_body = None
        self.expecting_continue = self.keep_alive = False

    async def http1_response_header(self, data: bytes, end_stream: bool) -> None:
        """Sends the head of an answer; that of a server about to stop ends the connection, which it would wait for."""
        self.discard_arrived_body()
        if self.protocol.signal.stopped:
            self.keep_alive = False
        if whole := None if data or not end_stream else self.whole_answer():
            self.response_size = len(whole)
            self.response_func = None  # type: ignore[assignment]  # as Sanic does
            await self._send(whole)
            self.stage = Stage.IDLE
        else:
            await super().http1_response_header(data, end_stream)

    def whole_answer(self) -> bytes | None:
        """An answer with its body, written in one go: Sanic takes a sixth of a request's time to write its headers.

        None for what is Sanic's to write: an answer to HEAD, one that lacks its body, or has an odd header.
        """
        response = self.response
        body, headers, has_no_body = response.body or b"", response.headers, response.status in NO_CONTENT
        if bool(body) == has_no_body or self.head_only or not FRAMING.isdisjoint(headers):
            return None
        head = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
        if head.count("\r") != len(headers) or head.count("\n") != len(headers):
            return None
        head += f"connection: {'keep-alive' if self.keep_alive else 'close'}\r\n"
        if not has_no_body:
            head += f"content-length: {len(body)}\r\ncontent-type: {response.content_type}\r\n"
        return status_line(response.status) + head.encode() + b"\r\n" + body

    async def linger(self) -> None:
        """Reads on and forgets, for a while: to close on a client that still sends would reset its connection."""
        if self.protocol.transport is not None:
            self.protocol.transport.write_eof()
        try:
            async with asyncio.timeout(LINGER_SECONDS):
                while True:  # until the client closes, which cancels this
                    self.recv_buffer.clear()
                    await self._receive_more()
        except TimeoutError:
            pass

    def create_empty_request(self) -> None:
        """Creates the request to respond to where the head is malformed, too large or incomplete."""
        super().create_empty_request()
        self.request.has_valid_head = False  # type: ignore[attr-defined]
        self.request.conn_info = self.protocol.conn_info


class Protocol(HttpProtocol):
    """HTTP/1 on a connection, whose client may be slow, but not for ever, and may not leave much unread."""

    HTTP_CLASS = ParleyHttp
    unread: ClassVar[dict["Protocol", int]] = {}  # bytes of answers that clients don't take as fast as they come

    def data_received(self, data: bytes) -> None:
        """As ever, but a request's time begins with its first byte: Sanic's, anew with each that comes."""
        begun = self._time
        super().data_received(data)
        if self.http is not None and self.http.stage is not Stage.IDLE:
            self._time = begun

    def check_timeouts(self) -> None:
        """Ends what took too long, also where the client takes no answer to that, or sends no end of its request."""
        super().check_timeouts()  # type: ignore[no-untyped-call]
        if self.transport is not None and self.http is not None and self.http.exception:
            self.loop.call_later(LAST_SECONDS, self.transport.abort)

    def pause_writing(self) -> None:
        """As ever, and cuts off those who have been reading for longest where all leave too much."""
        super().pause_writing()  # type: ignore[no-untyped-call]
        self.unread[self] = self.http.response_size
        while len(self.unread) > 1 and sum(self.unread.values()) > MAX_UNREAD:
            slowest = next(iter(self.unread))
            del self.unread[slowest]
            if slowest.transport is not None:
                slowest.transport.abort()

    def resume_writing(self) -> None:
        """As ever, also called where the connection is lost."""
        self.unread.pop(self, None)
        super().resume_writing()  # type: ignore[no-untyped-call]
