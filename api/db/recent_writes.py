"""Recent writes by caller, for read-your-writes (replica.py): records in Redis, which all processes share.

A record expires after its lifetime, and can be lost together with Redis. After a restart or a failover of Redis, every
connection is a new one, to a server with another run_id; FLUSHALL also deletes EPOCH_KEY, which then gets a new value.
So the absence of a record proves something only if Redis has been available, with the same run_id and the same epoch,
for the whole lifetime of a record.

Three kinds of loss are not detected: records that Redis evicts, or expires early when its clock jumps; records that are
missing on a former primary that still responds after a failover; and records lost in a restart behind a proxy that
keeps its client connections open.
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

from api.auth.tokens import get_caller_ids
from api.ratelimit.redis_connection import REDIS_TIMEOUT_SECONDS
from api.settings import Settings

PREFIX = "parley:recent_write"
EPOCH_KEY = f"{PREFIX}:epoch"
MAX_CONNECTIONS = 8  # more commands at a time wait, rather than open a connection each


class RecentWrites:
    """Records the writes of callers, and reports whether a caller has written within the lifetime of a record."""

    def __init__(self, settings: Settings, ttl_seconds: float) -> None:
        """Prepare records with a lifetime of `ttl_seconds`; Redis may be unavailable."""
        self._ttl_seconds = ttl_seconds
        self._redis = Redis.from_url(
            settings.redis_url.get_secret_value(),
            socket_timeout=REDIS_TIMEOUT_SECONDS,
            socket_connect_timeout=REDIS_TIMEOUT_SECONDS,
            # Reconnect once if Redis has closed an idle connection; do not repeat a command that timed out.
            retry=Retry(NoBackoff(), 1, supported_errors=(RedisConnectionError,)),
            redis_connect_func=self._on_connect,
        )
        self._semaphore = asyncio.Semaphore(MAX_CONNECTIONS)
        self._epoch: bytes | None = None  # None while Redis is unavailable
        self._epoch_since = math.inf
        self._run_id: bytes | None = None

    @property
    def is_reliable(self) -> bool:
        """Whether the absence of a record proves that the caller has not written within its lifetime."""
        return self._epoch_since + self._ttl_seconds <= monotonic()

    async def monitor(self, interval_seconds: float) -> None:
        """Check at intervals that Redis is available and has kept its data, until this task is cancelled."""
        while True:
            await self._check_epoch()
            await asyncio.sleep(interval_seconds)

    async def _on_connect(self, connection: AbstractConnection) -> None:
        await connection.on_connect()
        await connection.send_command("INFO", "server")
        found = None
        with suppress(ResponseError):  # a login without permission: then treat each connection as a restart of Redis
            found = re.search(rb"run_id:(\w+)", await connection.read_response())
        run_id = found[1] if found else None
        if run_id is None or run_id != self._run_id:
            self._run_id = run_id
            self._invalidate()

    async def _check_epoch(self) -> None:
        pipeline = self._redis.pipeline(transaction=False)
        pipeline.set(EPOCH_KEY, secrets.token_hex(8), nx=True)
        pipeline.get(EPOCH_KEY)
        try:
            _, epoch = await pipeline.execute()
        except Exception:  # any failure means that Redis is unavailable, which the rate limiter logs
            await self._reset()
            return
        if epoch != self._epoch:
            self._epoch, self._epoch_since = epoch, monotonic()

    async def record(self, identity: str) -> bool:
        """Record a write of a caller; return False if Redis has not stored it."""
        async with self._semaphore:
            if self._epoch is None:
                return False
            pipeline = self._redis.pipeline(transaction=False)
            for key in build_keys(identity):
                pipeline.set(key, 1, px=round(self._ttl_seconds * 1000))
            try:
                await pipeline.execute()
            except Exception:  # as in _check_epoch()
                await self._reset()
                return False
            return True

    async def has_none(self, identity: str) -> bool:
        """Return whether the caller has certainly not written within the lifetime of a record."""
        async with self._semaphore:
            if not self.is_reliable:
                return False
            try:
                epoch, *records = await self._redis.mget([EPOCH_KEY, *build_keys(identity)])
            except Exception:  # as in _check_epoch()
                await self._reset()
                return False
            # Check again after the wait: this command or a concurrent one may have noticed that records were lost.
            return epoch == self._epoch and self.is_reliable and not any(records)

    async def _reset(self) -> None:
        """Assume that records were lost, and close the connections: a server that replies with an error cannot serve.

        After a failover the former primary replies READONLY; new connections may lead to its successor.
        """
        self._invalidate()
        # With TLS, closing waits for the server: a failure, even a CancelledError, only means that it hangs.
        closing = self._redis.connection_pool.disconnect(inuse_connections=False)
        await asyncio.gather(closing, return_exceptions=True)

    def _invalidate(self) -> None:
        """Assume that records were lost; the next epoch check starts a new period."""
        self._epoch, self._epoch_since = None, math.inf

    async def close(self) -> None:
        """Close the connections to Redis."""
        await self._redis.aclose()


def build_keys(identity: str) -> list[str]:
    """Return the keys of a caller's records: the user's or, if only the database knows the user, one for each session.

    A key has a digest, so that Redis holds no user ids and no session digests.
    """
    return [f"{PREFIX}:{sha256(caller.encode()).hexdigest()}" for caller in get_caller_ids(identity)]
