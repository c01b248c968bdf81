"""Reads from a replica, without a client missing what it wrote itself.

A read may be answered by the replica if two things hold. The caller has no mark of a change, see recent_writes.py: each
changes nothing before it is marked, so a change that was answered longer than a window ago is all that is without one.
And the replica has replayed all that was committed a window ago: ever and again the primary is asked how far its log
is, and the replica whether it has got there; what was committed when the question was asked is then in the replica.
Times are of this process's clock only. Whatever the replica refuses or fails is asked of the primary, so there a user's
first request is answered, and what the replica does not have yet is found.

A change whose mark Redis did not take is answered when Redis takes it, or the replica has the change, or a window is
over: then every process would read it, whether it reaches Redis or not.
"""

import asyncio
import json
import logging
import math
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from time import monotonic
from typing import Any, Self

import asyncpg
from sanic import Request

from api.db.pool import Connection, Database, pass_json_through
from api.db.recent_writes import Marks
from api.http.errors import AWAY
from api.routes import Route
from api.settings import Settings

logger = logging.getLogger("parley.api")

LOOKS = 10  # in a window
REPLICA_SECONDS = 2  # for an answer of the replica's
HURRY_SECONDS = 0.01  # between looks while a change waits

POSITION = "select api.get_wal_position()"


class WrongServerError(asyncpg.InterfaceError):  # type: ignore[misc]
    """What answers is not the replica that is looked after; the message says why."""


@dataclass(frozen=True, slots=True)
class Position:
    """Where a server is in which history."""

    backend: int
    started: str
    is_replica: bool
    system: int | None
    timeline: str | None
    database: int
    epoch: str
    lsn: int

    def check(self, primary: "Position") -> None:
        """Raises WrongServerError if this is not the position of a replica of that server."""
        if primary.is_replica:
            raise WrongServerError("DATABASE_URL leads to a replica")
        if not self.is_replica:
            raise WrongServerError("it is no replica, or was promoted")
        if (self.system, self.database, self.epoch) != (primary.system, primary.database, primary.epoch):
            raise WrongServerError("it is of another database")
        if self.timeline != primary.timeline:
            raise WrongServerError("it follows another timeline")


class Standby:
    """The replica from one start of it to the next: a start may take it back behind where it was."""

    database: Database

    def __init__(self, connection: Connection, position: Position) -> None:
        self._connection, self._position = connection, position

    @classmethod
    async def connect(cls, settings: Settings, url: str) -> Self:
        """Opens a connection to look after it, and a pool; raises what asyncpg raises, and WrongServerError."""
        seconds = {"timeout": REPLICA_SECONDS, "command_timeout": REPLICA_SECONDS}
        connection = await asyncpg.connect(url, connection_class=Connection, **seconds)
        try:
            standby = cls(connection, await position_of(connection))
            standby.database = await Database.connect(settings, url, standby.admit, 0, "replica")
        except BaseException:
            connection.terminate()
            raise
        return standby

    async def admit(self, connection: Connection) -> None:
        """Makes a connection of the pool ready; raises WrongServerError if it would read what is behind position()."""
        await pass_json_through(connection)
        there = await position_of(connection)
        if there.started != self._position.started or there.lsn < self._position.lsn:
            raise WrongServerError("it was started anew, or is several servers")

    async def position(self) -> Position:
        """How far it has got; raises what asyncpg raises."""
        self._position = await position_of(self._connection)
        return self._position

    def cut(self) -> None:
        """Closes at once; reads that are under way fail, and go to the primary."""
        self._connection.terminate()
        self.database.cut()


async def position_of(connection: Connection) -> Position:
    """Where a server is; raises WrongServerError if it has no such database, or a pooler hides which server it is."""
    try:
        position = Position(**json.loads((await connection.fetchrow(POSITION))[0]))
    except (asyncpg.InvalidSchemaNameError, asyncpg.UndefinedFunctionError):
        raise WrongServerError("it is of another database") from None
    if position.backend != connection.get_server_pid():
        raise WrongServerError("DATABASE_REPLICA_URL leads to a pooler")
    return position


class Replica:
    """A replica that answers reads while it can be trusted, and the primary that answers all else."""

    def __init__(self, settings: Settings, url: str, primary: Database, marks: Marks) -> None:
        self._settings, self._url, self._primary, self._marks = settings, url, primary, marks
        self._window = settings.database_replica_window
        self._standby: Standby | None = None
        # When the primary's log was where: for a window of looks, however hurried.
        self._ahead: deque[tuple[float, int]] = deque(maxlen=round(self._window / HURRY_SECONDS))
        self._caught_up_to = -math.inf  # all that was committed then, the replica has
        self._problem: str | None = None
        self._hurry = asyncio.Event()
        looks = (self._watch(), marks.watch(self._window / LOOKS))
        self._watching = [asyncio.create_task(look) for look in looks]

    @classmethod
    def open(cls, settings: Settings, url: str, primary: Database) -> Self:
        """Begins to look after the replica at a URL, which may be away."""
        # A mark is set before a change, which may take a window, and must be there a window after it was answered.
        return cls(settings, url, primary, Marks(settings, 2 * settings.database_replica_window))

    @property
    def is_used(self) -> bool:
        """Whether it answers reads."""
        return self._problem == ""

    @property
    def database(self) -> Database | None:
        """The connections to it, while there are any."""
        return self._standby.database if self._standby else None

    async def answer(
        self, route: Route, request: Request, statement: str, identity: str, *arguments: Any, acquire_seconds: float
    ) -> Any:
        """The row that the statement of a route that changes nothing answers; raises what Database.call() raises."""
        fresh = route.always_fresh or "no-cache" in request.headers.get("cache-control", "").lower()
        if not (route.form or fresh) and await self._may_answer(identity) and self._standby:
            with suppress(asyncpg.PostgresError, *AWAY):
                async with asyncio.timeout(REPLICA_SECONDS):
                    return await self._standby.database.call_for_row(statement, identity, *arguments)
        return await self._primary.call_for_row(statement, identity, *arguments, acquire_seconds=acquire_seconds)

    @asynccontextmanager
    async def changed_by(self, identity: str) -> AsyncIterator[None]:
        """To be held open around a change: the caller's reads are the primary's until the replica has it."""
        begun_at = monotonic()
        is_marked = await self._marks.set(identity)
        yield
        if is_marked and monotonic() - begun_at <= self._window:
            return
        await self._outwait(identity)

    async def _may_answer(self, identity: str) -> bool:
        # Again after the wait for Redis: what it said may be as old as the wait was long.
        return self._is_current() and await self._marks.are_missing(identity) and self._is_current()

    def _is_current(self) -> bool:
        return self._caught_up_to >= monotonic() - self._window

    async def _outwait(self, identity: str) -> None:
        changed_at = monotonic()
        with suppress(TimeoutError):
            async with asyncio.timeout(self._window):
                while not await self._marks.set(identity) and self._caught_up_to <= changed_at:
                    if self._standby:
                        self._hurry.set()
                    await asyncio.sleep(HURRY_SECONDS)

    async def _watch(self) -> None:
        while True:
            self._hurry.clear()
            try:
                problem = await self._look()
            except Exception as error:  # whatever it is: this must go on
                problem = str(error) if isinstance(error, WrongServerError) else f"it is away: {type(error).__name__}"
                self._part()
            if problem != self._problem:
                logger.warning("The replica is not used: %s" if problem else "The replica answers reads%s", problem)
            self._problem = problem
            with suppress(TimeoutError):
                async with asyncio.timeout(self._window / LOOKS):
                    await self._hurry.wait()

    async def _look(self) -> str:
        """Why the replica is not used now, or ""; raises whatever is the matter with the replica."""
        asked_at = monotonic()
        try:
            primary = Position(**json.loads(await self._primary.call(POSITION)))
        except (asyncpg.PostgresError, *AWAY):
            return "the primary is away"
        async with asyncio.timeout(REPLICA_SECONDS):
            self._standby = self._standby or await Standby.connect(self._settings, self._url)
            replica = await self._standby.position()
        replica.check(primary)
        self._ahead.append((asked_at, primary.lsn))
        while self._ahead and self._ahead[0][1] <= replica.lsn:
            self._caught_up_to, _ = self._ahead.popleft()
        if not self._is_current():
            is_behind = self._ahead and self._ahead[0][0] < monotonic() - self._window
            return f"it is more than {self._window:g} s behind" if is_behind else "how far it is, is not known yet"
        return "" if self._marks.are_kept else "Redis is away, or has not been there for long enough"

    def _part(self) -> None:
        self._caught_up_to = -math.inf
        self._ahead.clear()
        if self._standby:
            self._standby.cut()
            self._standby = None

    async def close(self) -> None:
        """Closes the connections to the replica and to Redis; nobody may ask any more."""
        for look in self._watching:
            look.cancel()
        await asyncio.wait(self._watching)
        self._part()
        await self._marks.close()
