"""Who changed something lately: marks in Redis, which all processes see. For api/db/replica.py.

Marks can be lost with Redis. A restart or a failover breaks each connection, and the next one is to a server with
another run_id; a FLUSHALL takes EPOCH along, which comes back with another value. So a missing mark tells something
only where both have been the same, and Redis there, for as long as a mark lives. What is lost in other ways is not
noticed: what Redis evicts or, when its clock jumps, lets expire early; what a server that was replaced, and still
answers, does not have of the new one's marks; and what a restart loses behind a proxy that keeps connections to itself.
"""

import asyncio
import math
import re
import secrets
from contextlib import suppress
from hashlib import sha256
from time import monotonic

from redis.asyncio import Redis
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError

from api.auth.tokens import callers_of
from api.ratelimit.limiter import REDIS_SECONDS
from api.settings import Settings

PREFIX = "parley:wrote"
EPOCH = f"{PREFIX}:epoch"
CONNECTIONS = 8


class Marks:
    """Marks of callers, in Redis."""

    def __init__(self, settings: Settings, life: float) -> None:
        """Marks that live so many seconds; Redis may be away."""
        self._life = life
        self._redis = Redis.from_url(
            settings.redis_url.get_secret_value(),
            socket_timeout=REDIS_SECONDS,
            socket_connect_timeout=REDIS_SECONDS,
            # A connection that Redis closed meanwhile is opened anew; where it does not answer, once is enough.
            retry=Retry(NoBackoff(), 1, supported_errors=(RedisConnectionError,)),
            redis_connect_func=self._meet,
        )
        self._turns = asyncio.Semaphore(CONNECTIONS)
        self._epoch: bytes | None = None  # None while Redis is away
        self._since = math.inf
        self._run: bytes | None = None

    @property
    def are_kept(self) -> bool:
        """Whether a mark that is missing has not been set within its life."""
        return self._since + self._life <= monotonic()

    async def watch(self, seconds: float) -> None:
        """Sees ever and again whether Redis is there, and still has what it had, until it is cancelled."""
        while True:
            await self._look()
            await asyncio.sleep(seconds)

    async def _meet(self, connection: AbstractConnection) -> None:
        await connection.on_connect()
        await connection.send_command("INFO", "server")
        found = None
        with suppress(ResponseError):  # a login that may not ask: each connection is then as one after a restart
            found = re.search(rb"run_id:(\w+)", await connection.read_response())
        run = found[1] if found else None
        if run is None or run != self._run:
            self._run = run
            self._lose()

    async def _look(self) -> None:
        pipeline = self._redis.pipeline(transaction=False)
        pipeline.set(EPOCH, secrets.token_hex(8), nx=True)
        pipeline.get(EPOCH)
        try:
            _, epoch = await pipeline.execute()
        except Exception:  # whatever it is, as in the limiter, which logs it
            self._lose()
            return
        if epoch != self._epoch:
            self._epoch, self._since = epoch, monotonic()

    async def set(self, identity: str) -> bool:
        """Marks a caller; False when Redis did not take it."""
        async with self._turns:
            if self._epoch is None:
                return False
            pipeline = self._redis.pipeline(transaction=False)
            for name in names(identity):
                pipeline.set(name, 1, px=round(self._life * 1000))
            try:
                await pipeline.execute()
            except Exception:  # as above
                self._lose()
                return False
            return True

    async def are_missing(self, identity: str) -> bool:
        """Whether it is sure that the caller has not been marked within a mark's life."""
        async with self._turns:
            if not self.are_kept:
                return False
            try:
                epoch, *marks = await self._redis.mget([EPOCH, *names(identity)])
            except Exception:  # as above
                self._lose()
                return False
            # What is known may have been lost meanwhile, by this request or another one.
            return epoch == self._epoch and self.are_kept and not any(marks)

    def _lose(self) -> None:
        self._epoch, self._since = None, math.inf

    async def close(self) -> None:
        """Closes the connections to Redis."""
        await self._redis.aclose()


def names(identity: str) -> list[str]:
    """The keys of a caller's marks: a user's, or where only the database knows whose a session is, each session's."""
    return [f"{PREFIX}:{sha256(caller.encode()).hexdigest()}" for caller in callers_of(identity)]
