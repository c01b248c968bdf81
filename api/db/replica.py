"""Reads from a replica, with read-your-writes: clients always see their own writes.

The replica may serve a read under two conditions:

1. The caller has no recent write (recent_writes.py). Each write is recorded before it is executed, so a caller without
   a record has no write that was acknowledged within DATABASE_REPLICA_MAX_LAG.
2. The replica has replayed all transactions that were committed at least DATABASE_REPLICA_MAX_LAG ago. A monitor polls
   the primary for its WAL position, and then the replica until it has replayed that position. By then, the replica has
   every transaction that was committed before the primary was polled. All times are those of this process's monotonic
   clock.

If the replica rejects or fails a statement, the primary runs it. So the primary serves a user's first request, and
objects that the replica does not have yet are found.

If Redis has not stored the record of a write, the response is delayed until Redis has stored it, the replica has
replayed the write, or DATABASE_REPLICA_MAX_LAG has passed. After that, reads through any process return the write.
"""

import asyncio
import logging
import math
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from time import monotonic
from typing import Any, Self

import asyncpg

from api.db.pool import Connection, Database, set_json_codec
from api.db.recent_writes import RecentWrites
from api.db.wal_position import GET_WAL_POSITION, WalPosition, WrongServerError, fetch_wal_position
from api.http.errors import UNAVAILABLE_ERRORS
from api.settings import Settings
from api.shared.postgres import connect

logger = logging.getLogger("parley.api")

POLLS_PER_MAX_LAG = 10  # A tenth of the maximum lag passes between polls.
FAST_POLL_SECONDS = 0.01  # between polls while a response waits for replication
REPLICA_TIMEOUT_SECONDS = 2  # for a response of the replica, before the primary runs the statement


class ReplicaSession:
    """Connections to the replica until it restarts, after which its replay position may be lower."""

    database: Database

    def __init__(self, connection: Connection, position: WalPosition) -> None:
        self._connection, self._position = connection, position

    @classmethod
    async def connect(cls, settings: Settings, url: str) -> Self:
        """Open a connection for the monitor, and a pool. Raises WrongServerError, and asyncpg's errors."""
        connection = await connect(
            url,
            connection_class=Connection,
            timeout=REPLICA_TIMEOUT_SECONDS,
            command_timeout=REPLICA_TIMEOUT_SECONDS,
        )
        try:
            session = cls(connection, await fetch_wal_position(connection))
            session.database = await Database.connect(settings, url, session.initialize, min_size=0, span="replica")
        except BaseException:
            connection.terminate()
            raise
        return session

    async def initialize(self, connection: Connection) -> None:
        """Prepare a connection of the pool. Raises WrongServerError if its server is behind the monitored position."""
        await set_json_codec(connection)
        position = await fetch_wal_position(connection)
        if position.started != self._position.started or position.lsn < self._position.lsn:
            raise WrongServerError("the replica was restarted, or its URL leads to several servers")

    async def fetch_position(self) -> WalPosition:
        """Fetch the replay position. Raises WrongServerError, and asyncpg's errors."""
        self._position = await fetch_wal_position(self._connection)
        return self._position

    def terminate(self) -> None:
        """Close all connections at once; reads in flight fail, and the primary runs them."""
        self._connection.terminate()
        self.database.terminate()


class Replica:
    """Routes each read to the replica or the primary, and monitors the replica."""

    def __init__(self, settings: Settings, url: str, primary: Database, recent_writes: RecentWrites) -> None:
        self._settings, self._url, self._primary, self._recent_writes = settings, url, primary, recent_writes
        self._max_lag = settings.database_replica_max_lag
        self._session: ReplicaSession | None = None
        # When the primary was polled, and its position; enough entries for the maximum lag, even at fast polling.
        self._primary_positions: deque[tuple[float, int]] = deque(maxlen=round(self._max_lag / FAST_POLL_SECONDS))
        self._replayed_until = -math.inf  # the replica has replayed all transactions that were committed by this time
        self.is_serving_reads = False
        self._status: str | None = None  # the last logged one; None before the first poll
        self._poll_requested = asyncio.Event()
        interval = self._max_lag / POLLS_PER_MAX_LAG
        self._tasks = [asyncio.create_task(task) for task in (self._monitor(), recent_writes.monitor(interval))]

    @classmethod
    def start(cls, settings: Settings, url: str, primary: Database) -> Self:
        """Start to monitor the replica at a URL, which may be unavailable."""
        # A write is recorded before it is executed, which may take as long as the maximum lag. Its record must outlive
        # the response by the maximum lag.
        return cls(settings, url, primary, RecentWrites(settings, 2 * settings.database_replica_max_lag))

    @property
    def database(self) -> Database | None:
        """The connections to the replica; None while disconnected."""
        return self._session.database if self._session else None

    async def fetch_row(
        self, statement: str, identity: str, *arguments: Any, primary_only: bool, acquire_seconds: float
    ) -> Any:
        """Run the statement of a read and return its row. Raises what Database.fetch_value() raises."""
        if not primary_only and await self._can_serve_reads_of(identity) and self._session:
            with suppress(asyncpg.PostgresError, *UNAVAILABLE_ERRORS):
                async with asyncio.timeout(REPLICA_TIMEOUT_SECONDS):
                    return await self._session.database.fetch_row(statement, identity, *arguments)
        return await self._primary.fetch_row(statement, identity, *arguments, acquire_seconds=acquire_seconds)

    @asynccontextmanager
    async def guard_write(self, identity: str) -> AsyncIterator[None]:
        """Wrap a write, so that the primary serves the caller's reads until the replica has the write."""
        started_at = monotonic()
        is_recorded = await self._recent_writes.record(identity)
        yield
        # A record that was made longer ago may expire before the replica has the write.
        if is_recorded and monotonic() - started_at <= self._max_lag:
            return
        await self.wait_for_replication(identity)

    async def wait_for_replication(self, identity: str) -> None:
        """Wait until a write of the caller is recorded or replicated, or for DATABASE_REPLICA_MAX_LAG."""
        written_at = monotonic()
        with suppress(TimeoutError):
            async with asyncio.timeout(self._max_lag):
                while not await self._recent_writes.record(identity) and self._replayed_until <= written_at:
                    if self._session:
                        self._poll_requested.set()
                    await asyncio.sleep(FAST_POLL_SECONDS)

    async def _can_serve_reads_of(self, identity: str) -> bool:
        # Check the lag again after the wait for Redis, which may have been long.
        return self._is_current() and await self._recent_writes.has_none(identity) and self._is_current()

    def _is_current(self) -> bool:
        return self._replayed_until >= monotonic() - self._max_lag

    async def _monitor(self) -> None:
        while True:
            self._poll_requested.clear()
            try:
                reason = await self._poll()
            except Exception as error:  # the monitor survives any failure
                is_wrong_server = isinstance(error, WrongServerError)
                reason = str(error) if is_wrong_server else f"the replica is unavailable: {type(error).__name__}"
                self._disconnect()
            self.is_serving_reads = reason is None
            status = f"The replica is not used: {reason}" if reason else "The replica serves reads"
            if status != self._status:
                logger.warning(status)
            self._status = status
            with suppress(TimeoutError):
                async with asyncio.timeout(self._max_lag / POLLS_PER_MAX_LAG):
                    await self._poll_requested.wait()

    async def _poll(self) -> str | None:
        """Update the replay position; return why the replica cannot serve reads now, or None if it can.

        Raises WrongServerError or asyncpg's errors if the connections to the replica must be closed.
        """
        polled_at = monotonic()
        try:
            primary = WalPosition.parse(await self._primary.fetch_value(GET_WAL_POSITION))
        except (asyncpg.PostgresError, *UNAVAILABLE_ERRORS):
            return "the primary is unavailable"
        async with asyncio.timeout(REPLICA_TIMEOUT_SECONDS):
            self._session = self._session or await ReplicaSession.connect(self._settings, self._url)
            replica = await self._session.fetch_position()
        replica.check_primary(primary)
        self._primary_positions.append((polled_at, primary.lsn))
        while self._primary_positions and self._primary_positions[0][1] <= replica.lsn:
            self._replayed_until, _ = self._primary_positions.popleft()
        if not self._is_current():
            positions = self._primary_positions
            is_behind = positions and positions[0][0] < monotonic() - self._max_lag
            if is_behind:
                return f"the replica is more than {self._max_lag:g} s behind"
            return "the replication lag is not yet known"
        if not self._recent_writes.is_reliable:
            return "Redis is unavailable, or has not been available for long enough"
        return None

    def _disconnect(self) -> None:
        self._replayed_until = -math.inf
        self._primary_positions.clear()
        if self._session:
            self._session.terminate()
            self._session = None

    async def close(self) -> None:
        """Stop the monitor, and close the connections to the replica and to Redis."""
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks)
        self._disconnect()
        await self._recent_writes.close()
