"""One connection to Redis for all requests, on which commands are pipelined: sent without waiting for earlier replies.

redis-py opens the connection, so that the URL may have all of its options. After that, this module writes commands and
parses replies itself, for a fifth of the CPU time. DECISIONS.md in this directory has the figures.

An error reply closes the connection, like a failure. The limiter's commands are always valid, so an error means that
this server cannot serve: it has become a replica (READONLY), is loading its data (LOADING) or cannot store it (MISCONF,
OOM), or has new passwords (NOAUTH, NOPERM). The next connection may lead to another server, by DNS or a proxy.
"""

import asyncio
from collections import deque
from contextlib import suppress
from contextvars import Context
from time import monotonic
from typing import Any, cast

import hiredis
from redis.asyncio.connection import AbstractConnection, ConnectionPool
from redis.exceptions import RedisError, ResponseError

from api.observability.clocks import ServerClock

REDIS_TIMEOUT_SECONDS = 0.5  # to connect, or for a reply
# Why a command has no result: Redis is unavailable, too slow, or replied with an error.
REDIS_ERRORS = (OSError, TimeoutError, RedisError, hiredis.HiredisError)


class RedisConnection(asyncio.Protocol):
    """Matches replies to commands by their order.

    A failure closes the connection; the next command opens another one. A new connection sets `clock`.
    """

    def __init__(self, url: str, timeout_seconds: float, clock: ServerClock | None = None) -> None:
        """Prepare a connection to a Redis that may be unavailable.

        `timeout_seconds` limits both opening the connection and the wait for a reply.
        """
        self.clock = clock or ServerClock()
        pool, self._timeout_seconds = ConnectionPool.from_url(url), timeout_seconds
        self._connection = cast("AbstractConnection", pool.make_connection())  # type: ignore[no-untyped-call]
        self._opening: asyncio.Task[Exception | None] | None = None
        self._transport: asyncio.Transport | None = None
        self._reader: hiredis.Reader
        self._pending: deque[tuple[asyncio.Future[Any], float]] = deque()  # futures of replies, with their deadlines
        self._timer: asyncio.TimerHandle | None = None

    async def execute(self, command: bytes) -> Any:
        """Send an encoded command and return its reply. Raises one of REDIS_ERRORS."""
        if self._transport is None:
            await self.open()
        if self._transport is None:
            raise ConnectionError("Redis closed the connection")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        self._pending.append((future, monotonic() + self._timeout_seconds))
        self._transport.write(command)
        if self._timer is None:
            self._timer = loop.call_later(self._timeout_seconds, self._check_timeout)
        return await future

    @property
    def is_open(self) -> bool:
        """Whether a command can be sent at once."""
        return self._transport is not None

    async def open(self) -> None:
        """Open the connection. Raises one of REDIS_ERRORS."""
        if self._opening is None or self._opening.done():
            # Use an empty context: the connection is shared and must not inherit one request's context.
            self._opening = asyncio.create_task(self._connect(), context=Context())
        if error := await asyncio.shield(self._opening):
            raise error

    async def _connect(self) -> Exception | None:
        connection = self._connection
        try:
            async with asyncio.timeout(self._timeout_seconds):
                await connection.disconnect(nowait=True)
                await connection.connect()  # type: ignore[no-untyped-call]
                await self._set_clock(connection)
        except Exception as error:  # redis-py and uvloop raise undocumented types too
            await connection.disconnect(nowait=True)
            return error if isinstance(error, REDIS_ERRORS) else ConnectionError(repr(error))
        self._reader = hiredis.Reader()
        transport = cast("asyncio.Transport", cast("asyncio.StreamWriter", connection._writer).transport)
        transport.set_protocol(self)
        if transport.is_closing():  # connection_lost() was called on the protocol before
            return ConnectionError("Redis closed the connection")
        self._transport = transport
        return None

    async def _set_clock(self, connection: AbstractConnection) -> None:
        sent_at = monotonic()
        await connection.send_command("TIME")
        with suppress(ResponseError, TypeError, ValueError):  # a login without permission, or another kind of server
            seconds, microseconds = map(int, await connection.read_response())
            self.clock.observe(seconds + microseconds / 1e6, sent_at, monotonic())

    def data_received(self, data: bytes) -> None:
        """Pass each reply to its command.

        Abort the connection after an error, and after a reply that is malformed or has no command.
        """
        try:
            self._reader.feed(data)
            while (reply := self._reader.gets()) is not False:
                if isinstance(reply, hiredis.PushNotification):  # redis-py subscribes to those about maintenance
                    continue
                future, _ = self._pending.popleft()
                is_error = isinstance(reply, hiredis.ReplyError)
                if is_error:
                    self._abort()
                if future.done():  # its request was cancelled
                    continue
                if is_error:
                    future.set_exception(reply)
                else:
                    future.set_result(reply)
        except (hiredis.ProtocolError, IndexError):
            self._abort()

    def connection_lost(self, error: Exception | None) -> None:
        """Fail all pending commands."""
        self._transport = None
        pending, self._pending = self._pending, deque()
        for future, _ in pending:
            if not future.done():
                future.set_exception(error or ConnectionError("Redis closed the connection"))

    def _check_timeout(self) -> None:
        # One timer serves all commands: it is set again for the deadline of the oldest pending one.
        self._timer = None
        if not self._pending:
            return
        remaining = self._pending[0][1] - monotonic()
        if remaining > 0:
            self._timer = asyncio.get_running_loop().call_later(remaining, self._check_timeout)
        else:
            self._abort()

    def _abort(self) -> None:
        if self._transport:
            self._transport.abort()

    async def close(self) -> None:
        """Close the connection; pending commands fail."""
        if self._opening:
            await asyncio.wait([self._opening])
        if self._timer:
            self._timer.cancel()
        await self._connection.disconnect(nowait=True)


def encode_command(*words: str, argument_count: int = 0) -> bytes:
    """Encode the beginning of a command in the Redis protocol (RESP).

    `argument_count` further arguments must follow, encoded by encode_arguments().
    """
    return b"*%d\r\n%b" % (len(words) + argument_count, encode_arguments(*words))


def encode_arguments(*words: str) -> bytes:
    """Encode arguments of a command, each as a bulk string."""
    return b"".join([b"$%d\r\n%b\r\n" % (len(word), word) for word in map(str.encode, words)])
