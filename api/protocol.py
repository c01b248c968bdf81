"""Where Parley's HTTP/1 differs from Sanic's: every request gets an answer that its client can read."""

import asyncio
import re
from functools import cache
from http import HTTPMethod
from uuid import uuid4

from pydantic.alias_generators import to_camel
from sanic import Request
from sanic.exceptions import BadURL
from sanic.http import Http
from sanic.server import HttpProtocol

LINGER_SECONDS = 5
MAX_HEAD = 160 * 1024  # bytes of a request's line and headers: room for any token that somebody could mean to send
METHODS = {str(method) for method in HTTPMethod}
SANE_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")


class ParleyRequest(Request):
    """A request whose id is the caller's X-Request-Id, if that is a sane one."""

    @property
    def id(self) -> str:
        """The id in the answer's X-Request-Id and in the log."""
        if not hasattr(self.ctx, "id"):
            given = self.headers.get("x-request-id", "")
            self.ctx.id = given if SANE_ID.fullmatch(given) else uuid4().hex
        return str(self.ctx.id)

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
        return super().path if self._parsed_url.path else "/"


@cache
def template(path: str) -> str:
    """`/api/chats/{chatId}`, as the API's documents write it, of /api/chats/<chat_id> or what Sanic makes of that."""
    return "/" + re.sub(r"<(\w+)(?::\w+)?>", lambda found: f"{{{to_camel(found[1])}}}", path.removeprefix("/"))


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
        await super().http1_response_header(data, end_stream)

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
    """HTTP/1 on a connection."""

    HTTP_CLASS = ParleyHttp
