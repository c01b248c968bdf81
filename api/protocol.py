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
from sanic.exceptions import BadURL
from sanic.headers import format_http1_response
from sanic.http import Http, Stage
from sanic.server import HttpProtocol

from api.ratelimit import Decision
from api.timings import Timings

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
    _path: str | None = None
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

    def knows(self, etag: str) -> bool:
        """Whether the caller says that it has what goes by this ETag."""
        known = self.headers.get("if-none-match", "")
        return etag in known or known.strip() == "*"

    @property
    def path(self) -> str:
        """The URL's path; that of http://host, which has none, is /."""
        if self._path is None:
            self._path = super().path if self._parsed_url.path else "/"
        return self._path


@cache
def template(path: str) -> str:
    """`/api/chats/{chatId}`, as the API's documents write it, of /api/chats/<chat_id> or what Sanic makes of that."""
    return "/" + re.sub(r"<(\w+)(?::\w+)?>", lambda found: f"{{{to_camel(found[1])}}}", path.removeprefix("/"))


@cache
def status_line(status: int) -> bytes:
    """`HTTP/1.1 200 OK`, with its line end."""
    return format_http1_response(status, ()).removesuffix(b"\r\n")


class ParleyHttp(Http):
    """Sanic's handling of a connection, until it is to be closed."""

    HEADER_MAX_SIZE = MAX_HEAD

    async def http1(self) -> None:
        """Serves the connection's requests, and lets the client read a refusal that ends it."""
        await super().http1()  # type: ignore[no-untyped-call]
        if self.response is not None and self.response.status >= 400:
            await self.linger()

    async def http1_response_header(self, data: bytes, end_stream: bool) -> None:
        """Sends the head of an answer; that of a server about to stop ends the connection, which it would wait for."""
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
        if bool(body) == has_no_body or self.head_only or self.expecting_continue or not FRAMING.isdisjoint(headers):
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
        """The request to answer where a malformed one could not be made."""
        try:
            super().create_empty_request()
        except BadURL:
            self.url = None
            super().create_empty_request()
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
