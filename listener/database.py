"""The listener's connection to the database: the functions of schema `listener`, and notifications."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import asyncpg

from api.shared.postgres import Connection, connect
from listener.settings import Settings

NOTIFICATION_CHANNEL = "parley_outbox"
TIMEOUT_SECONDS = 3
MAINTENANCE_TIMEOUT_SECONDS = 60  # A batch may have the largest messages, and a rollup reads all chats.
MAX_EVENTS_PER_CHAT = 200  # in one fetch
MAX_PUBLICATION_BYTES = 1_000_000  # in one fetch: about 20,000 channels, or 100 of the largest payloads
# PostgreSQL ends the session of a leader that hangs or is unreachable, so that a standby becomes the leader. A working
# listener executes a statement at least every two seconds.
IDLE_SESSION_TIMEOUT_SECONDS = 5
SESSION_SETTINGS = {
    "application_name": "parley-listener",
    "idle_session_timeout": f"{IDLE_SESSION_TIMEOUT_SECONDS}s",
    "synchronous_commit": "off",  # If a crash of PostgreSQL undoes acknowledgements, the events are published again.
    "tcp_keepalives_idle": "2",
    "tcp_keepalives_interval": "1",
    "tcp_keepalives_count": "3",
}
# asyncpg raises these when the database is unavailable or fails to execute a statement.
DATABASE_ERRORS = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError, TimeoutError)


@dataclass(slots=True)
class Publication:
    """A request to Pusher for an event: publish `payload`, which is JSON, under `name` on `channels`.

    `channels` shrinks while the event is published.
    """

    name: str
    payload: str
    channels: list[str]


@dataclass(slots=True)
class Event:
    """An event, and its pending publications.

    `terminated_user` is the id at Pusher of a removed member, whose connections are terminated after the publications.
    `error` is the reason why publishing was given up before the termination.
    """

    id: int
    chat_id: str
    name: str
    publications: list[Publication]
    terminated_user: str | None = None
    error: str | None = None

    @property
    def batch_size(self) -> int:
        """How many entries of a batch request the event takes."""
        return sum(len(publication.channels) for publication in self.publications)


@dataclass(slots=True)
class FetchResult:
    """Fetched events, in the order of chats and ids. If a limit was reached, fetching continues after `next_chat`."""

    events: list[Event]
    next_chat: str | None


@dataclass(slots=True)
class OutboxHealth:
    """The state of the outbox. `lag_seconds` is by the clock of the database, which may have been set back.

    The oldest and the newest event are ids of events that are not published.
    """

    waiting_events: int
    lag_seconds: float
    oldest_event: int | None
    newest_event: int | None
    dead_letter_events: int


class ListenerDatabase:
    """A connection to the database. Its methods raise DATABASE_ERRORS."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.responded_at = asyncio.get_running_loop().time()  # the last time that the database responded

    @classmethod
    @asynccontextmanager
    async def connect(cls, settings: Settings) -> AsyncIterator["ListenerDatabase"]:
        """Open a connection for the length of the block."""
        connection = await connect(
            settings.database_url.get_secret_value(),
            command_timeout=TIMEOUT_SECONDS,
            server_settings=SESSION_SETTINGS,
        )
        try:
            # Ids of chats are only compared, so they stay text.
            await connection.set_type_codec("uuid", schema="pg_catalog", encoder=str, decoder=str)
            yield cls(connection)
        finally:
            connection.terminate()  # A graceful close would wait for a server that may be unreachable.

    async def is_direct(self) -> bool:
        """Return whether the connection is to PostgreSQL, not to a pooler."""
        return await self._connection.is_direct()

    async def listen(self, callback: Callable[[], None]) -> None:
        """Call `callback` at each notification of a writer, and when the connection ends."""
        await self._connection.add_listener(NOTIFICATION_CHANNEL, lambda *_: callback())
        self._connection.add_termination_listener(lambda *_: callback())

    async def try_lead(self) -> bool:
        """Become the leader until the connection ends; return False while another listener is the leader."""
        return bool(await self._fetch_value("select listener.try_lead()"))

    async def ack_and_fetch_events(
        self,
        acked: list[int],
        after_chat: str | None = None,
        held: Mapping[str, int | None] = MappingProxyType({}),
        max_events: int = 0,
    ) -> FetchResult:
        """Acknowledge events and fetch the next ones: see the comment of listener.ack_and_fetch_events.

        `held` maps each chat of which the caller holds events to the id of the last one, or to None to fetch no
        further events of that chat.
        """
        statement = "select * from listener.ack_and_fetch_events($1, $2, $3, $4, $5, $6, $7)"
        # Copy `held`, which may change while asyncpg prepares the statement.
        chats, last_ids = list(held), list(held.values())
        rows = await self._connection.fetch(
            statement, acked, after_chat, chats, last_ids, max_events, MAX_EVENTS_PER_CHAT, MAX_PUBLICATION_BYTES
        )
        self.responded_at = asyncio.get_running_loop().time()
        events: list[Event] = []
        for id_, chat_id, name, payload, terminated_user, channels, _ in rows:
            if not events or events[-1].id != id_:
                events.append(Event(id_, chat_id, name, []))
            if channels:
                events[-1].publications.append(Publication(name, payload, channels))
            if terminated_user:
                events[-1].terminated_user = terminated_user
        return FetchResult(events, rows[-1]["chat_id"] if rows and rows[-1]["has_more"] else None)

    async def enable_notify(self) -> bool:
        """Have each commit of an event send a notification.

        Return False, without effect, while a transaction that will not notify is in progress.
        """
        return bool(await self._fetch_value("select listener.enable_notify()"))

    async def disable_notify(self) -> None:
        """Have commits send no notifications."""
        await self._fetch_value("select listener.disable_notify()")

    async def dead_letter(self, event_id: int, error: str) -> None:
        """Store that publishing an event was given up, with the reason."""
        await self._fetch_value("select listener.dead_letter($1, $2)", event_id, error)

    async def fetch_outbox_health(self) -> OutboxHealth:
        """Return the state of the outbox."""
        waiting, lag, *others = await self._connection.fetchrow("select * from listener.outbox_health()")
        return OutboxHealth(waiting, float(lag), *others)

    # Maintenance: each function processes one batch. The purges return how many rows they processed.

    async def purge_events(self, days: float, max_events: int) -> int:
        """Remove events that were published more than `days` ago."""
        statement = "select listener.purge_events($1 * interval '1 day', $2)"
        return int(await self._fetch_value(statement, days, max_events))

    async def purge_idempotency_keys(self, max_keys: int) -> int:
        """Remove expired idempotency keys."""
        return int(await self._fetch_value("select listener.purge_idempotency_keys($1)", max_keys))

    async def purge_deleted_chats(self, max_messages: int) -> int:
        """Remove messages of deleted chats, and deleted chats without messages."""
        return int(await self._run_batch("select listener.purge_deleted_chats($1)", max_messages))

    async def purge_memberships(self, max_chats: int) -> int:
        """Remove memberships of deleted users."""
        return int(await self._run_batch("select listener.purge_memberships($1)", max_chats))

    async def roll_up(self, max_messages: int) -> bool:
        """Count messages for the analysts' views; return whether there are more."""
        return bool(await self._run_batch("select listener.roll_up($1)", max_messages))

    async def roll_up_chats_and_settings(self) -> None:
        """Count chats and settings for the analysts' views, unless that was done recently."""
        await self._run_batch("select listener.roll_up_chats_and_settings()")

    async def _run_batch(self, statement: str, *arguments: Any) -> Any:
        return await self._fetch_value(statement, *arguments, timeout=MAINTENANCE_TIMEOUT_SECONDS)

    async def _fetch_value(self, statement: str, *arguments: Any, timeout: float = TIMEOUT_SECONDS) -> Any:  # noqa: ASYNC109
        value = await self._connection.fetchval(statement, *arguments, timeout=timeout)
        self.responded_at = asyncio.get_running_loop().time()
        return value
