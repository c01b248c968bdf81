"""The pool of connections to PostgreSQL, and the one call; a transaction that stays open is for images alone."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, Self

import asyncpg

from api.observability.timings import measure
from api.settings import Settings

CONNECT_SECONDS = 5
ACQUIRE_SECONDS = 5
# Requests that may wait, for each connection: in time for the last one if a statement takes less than 50 ms on average.
WAITING_FOR_EACH = 100
STATEMENT_SECONDS = 10
END_SECONDS = 1  # for the end of a statement that was cancelled
CLOSE_SECONDS = 1

# What a statement fails with when the schema changed while it ran: a function that it has begun goes on as it was, and
# what that calls or reads by name may be another by now (undefined function, column, table; a row of another type), or
# be gone after it was looked up (internal error).
SCHEMA_CHANGED = {"42883", "42703", "42P01", "42804", "XX000"}


class Connection(asyncpg.Connection):  # type: ignore[misc]
    """Given back without a reset query: every setting that Parley makes is local to its transaction."""

    def get_reset_query(self) -> str:
        """Nothing to do."""
        return ""

    async def fetchrow(self, query: str, *arguments: Any) -> Any:
        """As ever, also when it is cancelled."""
        try:
            return await super().fetchrow(query, *arguments)
        except asyncio.CancelledError:
            await self._end_statement()
            raise

    async def _end_statement(self) -> None:
        # What was cancelled after it was parsed and before it was executed has no end for PostgreSQL, and would hold a
        # connection of PgBouncer's until this one is used again.
        try:
            async with asyncio.timeout(END_SECONDS):
                await self.execute("select")
        except TimeoutError:
            self.terminate()
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
            pass


async def pass_json_through(connection: Connection) -> None:
    """Makes `json` bytes on both sides: PostgreSQL writes the answer, nobody here reads it."""
    await connection.set_type_codec("json", schema="pg_catalog", format="binary", encoder=bytes, decoder=bytes)


async def once_more(fetch: Callable[..., Awaitable[Any]], *statement: Any) -> Any:
    """What `fetch` gives, asked again if the schema changed meanwhile: a statement that failed has changed nothing."""
    try:
        return await fetch(*statement)
    except asyncpg.PostgresError as error:
        if error.sqlstate not in SCHEMA_CHANGED:
            raise
    return await fetch(*statement)


Admit = Callable[[Connection], Awaitable[None]]


def is_open(connection: Any) -> bool:
    """Whether this is a connection of asyncpg's pool, and open: of one that broke, the pool does not let one ask."""
    try:
        return connection is not None and not connection.is_closed()
    except asyncpg.InterfaceError:  # the pool has taken it back by itself
        return False


class Pool:
    """asyncpg's pool, whose connections are not given back to it between two requests.

    That would cost as much as a short statement. It opens them, and takes those back that may need to be mended.
    """

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool
        # The one that was used last is used next; None is one that can be opened.
        self._free: list[Any] = [None] * pool.get_max_size()
        self._waiting: deque[asyncio.Future[Any]] = deque()

    def take_ready(self) -> Any:
        """A connection that is open and free, to be given back; None where there is none."""
        return self._free.pop() if self._free and is_open(self._free[-1]) else None

    async def take(self, seconds: float = ACQUIRE_SECONDS) -> Any:
        """A connection, to be given back, as soon as there is one; raises TimeoutError, and what asyncpg raises."""
        connection = self._free.pop() if self._free else await self._next_free(seconds)
        if is_open(connection):
            return connection
        try:
            if connection is not None:
                await self._pool.release(connection)
            return await self._pool.acquire(timeout=ACQUIRE_SECONDS)
        except BaseException:
            self.give_back(None)
            raise

    async def _next_free(self, seconds: float = ACQUIRE_SECONDS) -> Any:
        if len(self._waiting) >= WAITING_FOR_EACH * self._pool.get_max_size():
            raise TimeoutError("too many wait for a connection")
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            async with asyncio.timeout(seconds):
                return await turn
        except BaseException:
            if turn.done() and not turn.cancelled():  # it came when the wait was just over
                self.give_back(turn.result())
            with suppress(ValueError):
                self._waiting.remove(turn)
            raise

    def give_back(self, connection: Any) -> None:
        """Lets the next one have it, or open one where it is None."""
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(connection)
                return
        # Where one can't be opened just now, those that are open go first.
        self._free.insert(0 if connection is None else len(self._free), connection)

    async def mend(self, connection: Any) -> None:
        """Gives back what something failed with."""
        try:
            await self._pool.release(connection)
        finally:
            self.give_back(None)

    @property
    def connections(self) -> dict[str, int]:
        """How many are open, in use, and may be; and how many requests wait for one."""
        free = sum(map(is_open, self._free))
        size, most = self._pool.get_size(), self._pool.get_max_size()
        used = size - self._pool.get_idle_size() - free
        return {"open": size, "used": used, "max": most, "waiting": len(self._waiting)}

    def cut(self) -> None:
        """Closes at once; statements under way fail."""
        self._pool.terminate()

    async def close(self) -> None:
        """Closes, when all have been given back; who comes later is told by asyncpg."""
        most = self._pool.get_max_size()
        for _ in range(most):
            if connection := self._free.pop() if self._free else await self._next_free():
                await self._pool.release(connection)
        await self._pool.close()
        for _ in range(most):
            self.give_back(None)


class Lent:
    """A connection of a pool, for as long as a block lasts; it is waited for up to so many seconds."""

    __slots__ = ("_connection", "_pool", "_seconds")

    def __init__(self, pool: Pool, seconds: float) -> None:
        self._pool, self._seconds = pool, seconds

    async def __aenter__(self) -> Any:
        with measure("pool"):
            self._connection = self._pool.take_ready() or await self._pool.take(self._seconds)
        return self._connection

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None or issubclass(kind, asyncpg.PostgresError):
            self._pool.give_back(self._connection)
        else:
            await self._pool.mend(self._connection)


class Database:
    """PostgreSQL, as the role that a URL names."""

    def __init__(self, pool: Pool, span: str = "db") -> None:
        self._pool, self._span = pool, span

    @classmethod
    async def connect(
        cls, settings: Settings, url: str = "", admit: Admit = pass_json_through, min_size: int = 1, span: str = "db"
    ) -> Self:
        """Opens the pool, to DATABASE_URL unless there is another `url`; raises what asyncpg raises when that is away.

        Each new connection is made ready by `admit`, and is not used if that raises. `span` is what a request's
        timings call its statements.
        """
        url = url or settings.database_url.get_secret_value()
        name = (
            {} if "application_name=" in url else {"application_name": "parley"}
        )  # of a request: see session.authenticate
        pool = await asyncpg.create_pool(
            url,
            connection_class=Connection,
            init=admit,
            min_size=min_size,
            max_size=settings.database_pool_size,
            max_inactive_connection_lifetime=0,
            statement_cache_size=settings.database_statement_cache_size,
            timeout=CONNECT_SECONDS,
            command_timeout=STATEMENT_SECONDS,
            server_settings=name,
        )
        return cls(Pool(pool), span)

    async def call(self, statement: str, *arguments: Any) -> Any:
        """The one value that a statement answers: bytes of JSON, or None.

        Raises asyncpg.PostgresError for what the database refuses, TimeoutError when no connection was free or the
        statement took too long, OSError and asyncpg.InterfaceError when the database is away.
        """
        return (await self.call_for_row(statement, *arguments))[0]

    async def call_for_row(self, statement: str, *arguments: Any, acquire_seconds: float = ACQUIRE_SECONDS) -> Any:
        """All values that it answers, in a sequence; raises what call() raises.

        It waits for a connection for up to `acquire_seconds`.
        """
        async with Lent(self._pool, acquire_seconds) as connection:
            with measure(self._span):
                return await once_more(connection.fetchrow, statement, *arguments)

    @asynccontextmanager
    async def transaction(
        self, statement: str, *arguments: Any, acquire_seconds: float = ACQUIRE_SECONDS
    ) -> AsyncIterator[Any]:
        """Gives what call_for_row() answers, and commits at the end of the block.

        Where the block raises, nothing is changed. Raises what call() raises.
        """
        async with Lent(self._pool, acquire_seconds) as connection, connection.transaction():

            async def fetchrow_or_nothing(*statement: Any) -> Any:
                async with connection.transaction():
                    return await connection.fetchrow(*statement)

            with measure(self._span):
                row = await once_more(fetchrow_or_nothing, statement, *arguments)
            yield row

    @property
    def connections(self) -> dict[str, int]:
        """How many connections are open, in use, and may be; and how many requests wait for one."""
        return self._pool.connections

    def cut(self) -> None:
        """Closes at once; statements under way fail."""
        self._pool.cut()

    async def close(self) -> None:
        """Closes, when all statements have been answered; what a PostgreSQL that hangs would hold is cut."""
        try:
            await asyncio.wait_for(self._pool.close(), CLOSE_SECONDS)
        except TimeoutError:
            self.cut()
