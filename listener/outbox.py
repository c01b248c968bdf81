"""The database's side: one connection, on which events are taken and nudges arrive."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import asyncpg

from listener.settings import Settings

CHANNEL = "parley_outbox"
CONNECT_SECONDS = 5
ANSWER_SECONDS = 3
ROLL_UP_SECONDS = 60  # all chats are looked at
BATCH_SECONDS = 60  # a batch may have the largest messages
# At once: events of one chat, and bytes of the ids of those who hear them: about 10,000 users.
MAX_EVENTS_PER_CHAT = 200
MAX_BYTES = 400_000
# PostgreSQL ends the session of a listener that hangs or is out of reach, so that another one may lead: this one asks
# at least every second.
IDLE_SECONDS = 5
SESSION = {
    "application_name": "parley-listener",
    "idle_session_timeout": f"{IDLE_SECONDS}s",
    "synchronous_commit": "off",  # what a crash of PostgreSQL makes forgotten is published twice
    "tcp_keepalives_idle": "2",
    "tcp_keepalives_interval": "1",
    "tcp_keepalives_count": "3",
}
# What asyncpg raises when the database is away or does not do what it should.
AWAY = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError, TimeoutError)


@dataclass(slots=True)
class FetchResult:
    """The events that were fetched, in the order of their chats; if some were left out, they follow `next_chat`."""

    events: list["Event"]
    next_chat: str | None


@dataclass(slots=True)
class Event:
    """An event of the outbox.

    `payload` is JSON. `channels` are those that it is still to be published on; instead, one that a member was removed
    has `users`, whose connections are to be terminated.
    """

    id: int
    chat_id: str
    name: str
    payload: str
    users: list[str]
    channels: list[str]

    @property
    def is_batchable(self) -> bool:
        """Whether it may share a request with other events."""
        return len(self.channels) == 1


class Outbox:
    """The outbox, as schema `listener` shows it. Its methods raise what is in AWAY."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection
        self.responded_at = asyncio.get_running_loop().time()

    @classmethod
    @asynccontextmanager
    async def connect(cls, settings: Settings) -> AsyncIterator["Outbox"]:
        """An outbox on a connection of its own."""
        connection = await asyncpg.connect(
            settings.database_url.get_secret_value(),
            timeout=CONNECT_SECONDS,
            command_timeout=ANSWER_SECONDS,
            server_settings=SESSION,
        )
        try:
            # Chats are only told apart, so their ids stay text.
            await connection.set_type_codec("uuid", schema="pg_catalog", encoder=str, decoder=str)
            yield cls(connection)
        finally:
            connection.terminate()  # there is nothing to say goodbye for, and it may be dead

    async def is_direct(self) -> bool:
        """Whether the session is PostgreSQL's own: a pooler tells its clients of other processes than they get."""
        return bool(await self._ask("select pg_backend_pid()") == self._connection.get_server_pid())

    async def on_notification(self, callback: Callable[[], None]) -> None:
        """Calls back whenever a writer says that there is something, and when the connection ends."""
        await self._connection.add_listener(CHANNEL, lambda *_: callback())
        self._connection.add_termination_listener(lambda *_: callback())

    async def lead(self) -> bool:
        """Whether this is the one that publishes."""
        return bool(await self._ask("select listener.lead()"))

    async def ack_and_fetch_events(
        self,
        acked: list[int],
        after_chat: str | None = None,
        held: Mapping[str, int | None] = MappingProxyType({}),
        max_events: int = 0,
    ) -> FetchResult:
        """Acknowledge events and fetch the next ones: see listener.ack_and_fetch_events.

        `held` are the chats of which there are events here, each with the last one, or None where no more are wanted.
        """
        statement = "select * from listener.ack_and_fetch_events($1, $2, $3, $4, $5, $6, $7)"
        # Copies: the statement may have to be prepared first, and what is held may change in that time.
        chats, last_ids = list(held), list(held.values())
        rows = await self._connection.fetch(
            statement, acked, after_chat, chats, last_ids, max_events, MAX_EVENTS_PER_CHAT, MAX_BYTES
        )
        self.responded_at = asyncio.get_running_loop().time()
        events = [
            Event(id_, chat_id, name, payload, users or [], channels or [])
            for id_, chat_id, name, payload, users, channels, _ in rows
        ]
        return FetchResult(events, rows[-1]["chat_id"] if rows and rows[-1]["has_more"] else None)

    async def sleep(self) -> bool:
        """Whether writers will nudge from now on."""
        return bool(await self._ask("select listener.sleep()"))

    async def wake(self) -> None:
        """Writers need not nudge."""
        await self._ask("select listener.wake()")

    async def set_aside(self, event_id: int, error: str) -> None:
        """Gives an event up."""
        await self._ask("select listener.set_aside($1, $2)", event_id, error)

    async def health(self) -> tuple[float, float, float]:
        """How many events wait, for how many seconds the oldest has, and how many are set aside."""
        waiting, lag, set_aside = await self._connection.fetchrow("select * from listener.health()")
        return float(waiting), float(lag), float(set_aside)

    async def remove_old(self, days: float, max_events: int) -> int:
        """Removes so many old events at most; answers how many it was."""
        statement = "select listener.remove_events($1 * interval '1 day', $2)"
        return int(await self._ask(statement, days, max_events))

    async def remove_answers(self, max_answers: int) -> int:
        """Removes so many answers at most that are too old to be repeated; answers how many it was."""
        return int(await self._ask("select listener.purge_idempotency_keys($1)", max_answers))

    async def remove_closed_chats(self, max_messages: int) -> int:
        """Remove a batch of messages of deleted chats, and emptied chats; return how many rows that were."""
        statement = "select listener.purge_deleted_chats($1)"
        return int(await self._ask(statement, max_messages, timeout=BATCH_SECONDS))

    async def remove_memberships(self, max_chats: int) -> int:
        """Remove a batch of memberships of deleted users; return how many."""
        return int(await self._ask("select listener.purge_memberships($1)", max_chats, timeout=BATCH_SECONDS))

    async def roll_up(self, max_messages: int) -> bool:
        """Counts so many messages at most for the analysts' views; whether there is more at once."""
        return bool(await self._ask("select listener.roll_up($1)", max_messages, timeout=ROLL_UP_SECONDS))

    async def roll_up_chats_and_settings(self) -> None:
        """Counts these for the analysts' views, if it is time to."""
        await self._ask("select listener.roll_up_chats_and_settings()", timeout=ROLL_UP_SECONDS)

    async def _ask(self, statement: str, *arguments: Any, timeout: float = ANSWER_SECONDS) -> Any:  # noqa: ASYNC109
        answer = await self._connection.fetchval(statement, *arguments, timeout=timeout)
        self.responded_at = asyncio.get_running_loop().time()
        return answer
