"""A connection to Redis on which commands follow each other without waiting for answers, for a fifth of redis-py's CPU.

redis-py opens it, by whatever the URL says; from then on bytes are written and read here.
"""

import asyncio
from collections import deque
from contextvars import Context
from time import monotonic
from typing import Any, cast

import hiredis
from redis.asyncio.connection import AbstractConnection, ConnectionPool
from redis.exceptions import RedisError

# Why there is no answer: Redis away, too slow, or telling of an error.
NO_ANSWER = (OSError, TimeoutError, RedisError, hiredis.HiredisError)


class RedisPipe(asyncio.Protocol):
    """Answers come in the order of the commands. What fails ends the connection, and the next command opens one."""

    def __init__(self, url: str, seconds: float) -> None:
        """For a Redis that may be away; within so many seconds it must be open, or answer."""
        pool, self._seconds = ConnectionPool.from_url(url), seconds
        self._connection = cast("AbstractConnection", pool.make_connection())  # type: ignore[no-untyped-call]
        self._opening: asyncio.Task[Exception | None] | None = None
        self._transport: asyncio.Transport | None = None
        self._reader: hiredis.Reader
        self._asked: deque[tuple[asyncio.Future[Any], float]] = deque()
        self._watch: asyncio.TimerHandle | None = None

    async def ask(self, command: bytes) -> Any:
        """The answer to a command(); raises one of NO_ANSWER."""
        if self._transport is None:
            await self._open()
        if self._transport is None:
            raise ConnectionError("Redis closed the connection")
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Any] = loop.create_future()
        self._asked.append((answer, monotonic() + self._seconds))
        self._transport.write(command)
        if self._watch is None:
            self._watch = loop.call_later(self._seconds, self._look)
        return await answer

    async def _open(self) -> None:
        if self._opening is None or self._opening.done():
            # In a context of its own, since it is no more the first request's than the others'.
            self._opening = asyncio.create_task(self._connect(), context=Context())
        if error := await asyncio.shield(self._opening):
            raise error

    async def _connect(self) -> Exception | None:
        connection = self._connection
        try:
            async with asyncio.timeout(self._seconds):
                await connection.disconnect(nowait=True)
                await connection.connect()  # type: ignore[no-untyped-call]
        except Exception as error:  # whatever it is, also what redis-py and uvloop did not foresee
            await connection.disconnect(nowait=True)
            return error if isinstance(error, NO_ANSWER) else ConnectionError(repr(error))
        self._reader = hiredis.Reader()
        transport = cast("asyncio.Transport", cast("asyncio.StreamWriter", connection._writer).transport)
        transport.set_protocol(self)
        if transport.is_closing():  # which nobody would be told of
            return ConnectionError("Redis closed the connection")
        self._transport = transport
        return None

    def data_received(self, data: bytes) -> None:
        """Gives each answer to who asked; one that nobody asked for, or can read, ends the connection."""
        try:
            self._reader.feed(data)
            while (reply := self._reader.gets()) is not False:
                if isinstance(reply, hiredis.PushNotification):  # of maintenance, which redis-py asks to be told of
                    continue
                answer, _ = self._asked.popleft()
                if answer.done():  # it is when its request was cancelled
                    continue
                if isinstance(reply, hiredis.ReplyError):
                    answer.set_exception(reply)
                else:
                    answer.set_result(reply)
        except (hiredis.ProtocolError, IndexError):
            self._end()

    def connection_lost(self, error: Exception | None) -> None:
        """Nobody waits any more."""
        self._transport = None
        asked, self._asked = self._asked, deque()
        for answer, _ in asked:
            if not answer.done():
                answer.set_exception(error or ConnectionError("Redis closed the connection"))

    def _look(self) -> None:
        # One timer for all: it is moved to the end of the oldest command's time, if that is still ahead.
        self._watch = None
        if not self._asked:
            return
        left = self._asked[0][1] - monotonic()
        if left > 0:
            self._watch = asyncio.get_running_loop().call_later(left, self._look)
        else:
            self._end()

    def _end(self) -> None:
        if self._transport:
            self._transport.abort()

    async def close(self) -> None:
        """Ends, whatever is under way."""
        if self._opening:
            await asyncio.wait([self._opening])
        if self._watch:
            self._watch.cancel()
        await self._connection.disconnect(nowait=True)


def command(*words: str, arguments: int) -> bytes:
    """The begin of a command in Redis' protocol, which has so many arguments still to come, packed()."""
    return b"*%d\r\n%b" % (len(words) + arguments, packed(*words))


def packed(*words: str) -> bytes:
    """Words of a command."""
    return b"".join([b"$%d\r\n%b\r\n" % (len(word), word) for word in map(str.encode, words)])
