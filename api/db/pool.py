"""The pool of connections to PostgreSQL, and the statements that run on them.

DECISIONS.md in this directory gives the reason for a pool on top of asyncpg's.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any, Self

import asyncpg

from api.db.schema_changes import retry_after_schema_change
from api.db.sqlstates import is_session_error
from api.observability.timings import measure
from api.settings import Settings
from api.shared import postgres

# Timeouts of each step.
ACQUIRE_TIMEOUT_SECONDS = 5
STATEMENT_TIMEOUT_SECONDS = 10
CANCEL_TIMEOUT_SECONDS = 1
CLOSE_TIMEOUT_SECONDS = 1
# With statements of less than 50 ms on average, the last of these requests gets a connection within the timeout.
MAX_WAITING_PER_CONNECTION = 100


class PoolBusyError(TimeoutError):
    """No connection became free in time, or too many requests wait for one already."""


class LostStatementError(asyncpg.InvalidSQLStatementNameError):  # type: ignore[misc]
    """The connection's prepared statement was not executed: the server has lost it. The next call prepares it again."""


class Connection(postgres.Connection):
    """A connection without session state: every setting that Parley makes is local to its transaction."""

    def get_reset_query(self) -> str:
        """Return no reset query, since there is nothing to reset."""
        return ""

    async def fetchrow(self, query: str, *arguments: Any) -> Any:
        """Fetch one row; if the task is cancelled, leave the connection ready for the next statement."""
        try:
            return await super().fetchrow(query, *arguments)
        except asyncio.CancelledError:
            await self._sync()
            raise
        except asyncpg.InvalidSQLStatementNameError as error:
            if not self.is_own_statement(error.args[0]):
                raise
            # Forget all statements without asyncpg's messages to close them in PostgreSQL: it would send those between
            # Parse and Execute of the next statement, when they end the transaction of a pooler.
            self._mark_stmts_as_closed()
            raise LostStatementError(*error.args) from None

    async def _sync(self) -> None:
        # A statement that is cancelled between Parse and Execute has sent no Sync message. PgBouncer would keep the
        # server connection assigned to this client until the next statement, so send an empty one now.
        try:
            async with asyncio.timeout(CANCEL_TIMEOUT_SECONDS):
                await self.execute("select")
        except TimeoutError:
            self.terminate()
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
            pass


Initializer = Callable[[Connection], Awaitable[None]]


async def set_json_codec(connection: Connection) -> None:
    """Pass `json` values as bytes in both directions, since PostgreSQL writes the response bodies."""
    await connection.set_type_codec("json", schema="pg_catalog", format="binary", encoder=bytes, decoder=bytes)


async def retry_lost_statement(fetch: Callable[..., Awaitable[Any]], *statement: Any) -> Any:
    """Run a statement, and run it once more if it was not executed because the server had lost it."""
    try:
        return await fetch(*statement)
    except LostStatementError:
        return await fetch(*statement)


def is_open(connection: Any) -> bool:
    """Return whether this is an open connection; None is not."""
    try:
        return connection is not None and not connection.is_closed()
    except asyncpg.InterfaceError:  # asyncpg's pool has detached a connection that broke
        return False


class Pool:
    """Hands connections to requests in the order of arrival.

    Connections stay acquired from asyncpg's pool between requests. asyncpg's pool opens them, and gets back only those
    that may be broken.
    """

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool
        # A stack, so that the connection that was used last is used next. None is a vacancy: a connection to be opened.
        self._free: list[Any] = [None] * pool.get_max_size()
        self._waiters: deque[asyncio.Future[Any]] = deque()

    def acquire_nowait(self) -> Any:
        """Return a connection that is free and open, or None."""
        return self._free.pop() if self._free and is_open(self._free[-1]) else None

    async def acquire(self, seconds: float = ACQUIRE_TIMEOUT_SECONDS) -> Any:
        """Return a connection as soon as one is free; open or replace it if necessary.

        Raises PoolBusyError after `seconds`, or at once if too many requests wait; TimeoutError if the server does not
        respond; and asyncpg's errors.
        """
        connection = self._free.pop() if self._free else await self._wait(seconds)
        if is_open(connection):
            return connection
        try:
            if connection is not None:
                await self._pool.release(connection)
            return await self._pool.acquire(timeout=ACQUIRE_TIMEOUT_SECONDS)
        except BaseException:
            self.release(None)
            raise

    async def _wait(self, seconds: float = ACQUIRE_TIMEOUT_SECONDS) -> Any:
        if len(self._waiters) >= MAX_WAITING_PER_CONNECTION * self._pool.get_max_size():
            raise PoolBusyError("too many requests wait for a connection")
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        try:
            async with asyncio.timeout(seconds):
                return await waiter
        except BaseException as error:
            if waiter.done() and not waiter.cancelled():  # the connection arrived when the wait had just ended
                self.release(waiter.result())
            with suppress(ValueError):
                self._waiters.remove(waiter)
            if isinstance(error, TimeoutError):
                raise PoolBusyError(f"no connection became free within {seconds:.1f} s") from None
            raise

    def release(self, connection: Any) -> None:
        """Hand a connection, or with None a vacancy, to the first waiter; keep it if nobody waits."""
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(connection)
                return
        # Vacancies are at the bottom: while PostgreSQL rejects new connections, the open ones are used first.
        self._free.insert(0 if connection is None else len(self._free), connection)

    async def discard(self, connection: Any) -> None:
        """Return a connection that may be broken to asyncpg's pool, which replaces it if necessary."""
        try:
            await self._pool.release(connection)
        finally:
            self.release(None)

    @property
    def connections(self) -> dict[str, int]:
        """The number of connections that are open, used and allowed (max), and of requests that are waiting for one."""
        free = sum(map(is_open, self._free))
        size, max_size = self._pool.get_size(), self._pool.get_max_size()
        used = size - self._pool.get_idle_size() - free
        return {"open": size, "used": used, "max": max_size, "waiting": len(self._waiters)}

    def terminate(self) -> None:
        """Close all connections at once; statements in flight fail."""
        self._pool.terminate()

    async def close(self) -> None:
        """Close all connections as they become free. Later requests get asyncpg's error for a closed pool."""
        max_size = self._pool.get_max_size()
        for _ in range(max_size):
            if connection := self._free.pop() if self._free else await self._wait():
                await self._pool.release(connection)
        await self._pool.close()
        for _ in range(max_size):
            self.release(None)


class AcquiredConnection:
    """Holds a connection of a pool for the duration of a block; waits for it for up to `seconds`."""

    __slots__ = ("_connection", "_pool", "_seconds")

    def __init__(self, pool: Pool, seconds: float) -> None:
        self._pool, self._seconds = pool, seconds

    async def __aenter__(self) -> Any:
        with measure("pool"):
            self._connection = self._pool.acquire_nowait() or await self._pool.acquire(self._seconds)
        return self._connection

    async def __aexit__(self, _: object, error: BaseException | None, __: object) -> None:
        if isinstance(error, asyncpg.PostgresError) and is_session_error(error.sqlstate or ""):
            self._connection.terminate()
            await self._pool.discard(self._connection)
        elif error is None or isinstance(error, asyncpg.PostgresError):
            self._pool.release(self._connection)
        else:
            await self._pool.discard(self._connection)


class Database:
    """Runs statements on a PostgreSQL server, as the role that its URL names."""

    def __init__(self, pool: Pool, span: str = "db") -> None:
        self._pool, self._span = pool, span

    @classmethod
    async def connect(
        cls,
        settings: Settings,
        url: str = "",
        initialize: Initializer = set_json_codec,
        min_size: int = 1,
        span: str = "db",
    ) -> Self:
        """Open a pool to `url`, or to DATABASE_URL. Raises asyncpg's errors if the server is unavailable.

        `initialize` prepares a new connection, and rejects it by raising. `span` names the statements in timings.
        """
        url = url or settings.database_url.get_secret_value()
        pool = await asyncpg.create_pool(
            url,
            connect=postgres.connect,
            connection_class=Connection,
            init=initialize,
            init_size=min_size,
            min_size=0,  # asyncpg would log a traceback for each failure to replace a connection
            max_size=settings.database_pool_size,
            max_inactive_connection_lifetime=0,
            statement_cache_size=settings.database_statement_cache_size,
            command_timeout=STATEMENT_TIMEOUT_SECONDS,
        )
        return cls(Pool(pool), span)

    async def fetch_value(self, statement: str, *arguments: Any) -> Any:
        """Run a statement and return the first column of its row: JSON as bytes, or None.

        Raises asyncpg.PostgresError for a rejected statement, PoolBusyError if no connection became free, TimeoutError
        if the statement took too long, OSError and asyncpg.InterfaceError if the server is unavailable.
        """
        return (await self.fetch_row(statement, *arguments))[0]

    async def fetch_row(self, statement: str, *arguments: Any, acquire_seconds: float = ACQUIRE_TIMEOUT_SECONDS) -> Any:
        """Run a statement and return its row. Raises what fetch_value() raises.

        `acquire_seconds` limits the wait for a connection, in seconds.
        """
        async with AcquiredConnection(self._pool, acquire_seconds) as connection:
            fetch = partial(retry_lost_statement, connection.fetchrow)
            with measure(self._span):
                return await retry_after_schema_change(fetch, statement, *arguments)

    @asynccontextmanager
    async def transaction(
        self, statement: str, *arguments: Any, acquire_seconds: float = ACQUIRE_TIMEOUT_SECONDS
    ) -> AsyncIterator[Any]:
        """Run a statement, yield its row, and commit at the end of the block. Raises what fetch_value() raises.

        If the block raises, the statement is rolled back.
        """
        async with AcquiredConnection(self._pool, acquire_seconds) as connection, connection.transaction():

            async def fetch_in_savepoint(*statement: Any) -> Any:
                async with connection.transaction():
                    return await connection.fetchrow(*statement)

            fetch = partial(retry_lost_statement, fetch_in_savepoint)
            with measure(self._span):
                row = await retry_after_schema_change(fetch, statement, *arguments)
            yield row

    async def supports_statement_cache(self) -> bool:
        """Return whether the connection is direct, or through a pooler that renames prepared statements."""
        async with AcquiredConnection(self._pool, ACQUIRE_TIMEOUT_SECONDS) as connection:
            return await connection.is_direct() or not await connection.keeps_statement_names()

    @property
    def connections(self) -> dict[str, int]:
        """The number of connections that are open, used and allowed (max), and of requests that are waiting for one."""
        return self._pool.connections

    def terminate(self) -> None:
        """Close all connections at once; statements in flight fail."""
        self._pool.terminate()

    async def close(self) -> None:
        """Close the connections after their statements; terminate those of a server that hangs."""
        try:
            await asyncio.wait_for(self._pool.close(), CLOSE_TIMEOUT_SECONDS)
        except TimeoutError:
            self.terminate()
