"""The relay moves events from the outbox to the publisher, and acknowledges published ones.

It fetches events in rounds. A round visits all chats with unpublished events once, in the order of their ids and in
several fetches, and fetches the first events of each chat: a chat with many events delays no other. A round starts at
least once a second. Each poll also visits the chats of the latest events, so that a new message does not wait for the
end of a round. The cost of that does not depend on how many events were published and deleted before.
"""

import asyncio
import contextlib
import math

from listener.database import FetchResult, ListenerDatabase
from listener.dead_letters import DEAD_LETTER_AFTER_SECONDS
from listener.polling import AdaptivePolling
from listener.publisher import Publisher
from listener.pusher import MAX_BATCH_EVENTS, PusherClient

# Fetched and not yet published. Even with MAX_EVENTS_PER_CHAT of each chat, there are enough chats for MAX_REQUESTS.
MAX_QUEUED_EVENTS = 4000
RESERVED_EVENTS = 1000  # in addition, for the latest events only
MAX_ROUND_EVENTS = 1000  # in one fetch, so that polls stay frequent
POLL_SECONDS = 1  # at most between two polls, each of which renews the lease
ROUND_SECONDS = 1  # at most between the starts of two rounds
UNAVAILABLE_POLL_SECONDS = 0.1  # between two polls while Pusher is unavailable
BEFORE_FIRST_CHAT = "00000000-0000-0000-0000-000000000000"  # A round starts after this id.


class Relay:
    """The work of the leader. `dead_letter_after` overrides DEAD_LETTER_AFTER_SECONDS."""

    def __init__(self, pusher: PusherClient, dead_letter_after: float = DEAD_LETTER_AFTER_SECONDS) -> None:
        self._wakeup = asyncio.Event()
        self._publisher = Publisher(pusher, self.wake_up, dead_letter_after)
        self._reset()

    def _reset(self) -> None:
        self._polling = AdaptivePolling()
        self._is_notify_enabled = False  # Writers notify, so there is no need to poll often.
        self._round_position: str | None = None  # the last chat that the round visited; None between two rounds
        self._round_started_at = self._polled_at = -math.inf

    @property
    def is_pusher_available(self) -> bool:
        """Whether the last request to Pusher succeeded. Without events to publish, it is assumed to be available."""
        queues = self._publisher.queues
        return self._publisher.circuit.failures == 0 or queues.event_count + queues.terminating_count == 0

    def wake_up(self) -> None:
        """Poll now instead of waiting for a notification."""
        self._wakeup.set()

    async def run(self, database: ListenerDatabase, stop_event: asyncio.Event) -> None:
        """Publish events until `stop_event` is set or the database fails, and then drain open requests.

        Raises DATABASE_ERRORS.
        """
        publisher = self._publisher
        self._reset()
        # A crash of PostgreSQL may have undone the last acknowledgements. Drop the pending ones too, so that all events
        # after the last durable acknowledgement are published again, without a gap.
        publisher.unacknowledged.clear()
        publisher.dead_letters.pending.clear()
        await database.listen(self.wake_up)
        publisher.start(database)
        try:
            while not stop_event.is_set():
                self._wakeup.clear()
                await self._poll(database)
                await self._wait()
            publisher.stop()
            while publisher.requests:  # Each acknowledgement renews the lease.
                await asyncio.wait(publisher.requests, timeout=POLL_SECONDS)
                await self._acknowledge(database)
            await self._acknowledge(database)
        finally:
            publisher.stop()
            await publisher.drain()

    async def _poll(self, database: ListenerDatabase) -> None:
        """Acknowledge and fetch events, pass them to the publisher, and enable or disable notifications."""
        publisher = self._publisher
        await self._flush_dead_letters(database)
        now = asyncio.get_running_loop().time()
        # Events that only wait for a termination take no capacity of the latest events: Pusher may reject terminations
        # for long, while it publishes.
        terminating_count = min(publisher.queues.terminating_count, MAX_QUEUED_EVENTS)
        capacity = MAX_QUEUED_EVENTS - publisher.queues.event_count - terminating_count
        has_capacity = capacity + RESERVED_EVENTS > 0
        if not (has_capacity or publisher.unacknowledged or now - self._polled_at >= POLL_SECONDS):
            return
        self._polled_at = now
        fetched_count = await self._fetch(database, capacity, now)
        publisher.dispatch()
        self._polling.record(fetched_count, asyncio.get_running_loop().time())
        has_more = self._round_position is not None or publisher.queues.is_round_requested
        is_busy = self._polling.is_busy or fetched_count >= MAX_BATCH_EVENTS
        is_failing = publisher.circuit.failures > 0
        await self._set_notify(database, enable=not (has_more or is_busy or is_failing))

    async def _fetch(self, database: ListenerDatabase, capacity: int, now: float) -> int:
        """Acknowledge published events, and fetch the latest ones and, of a round, up to `capacity` others.

        Return how many were fetched.
        """
        queues = self._publisher.queues
        is_round_due = queues.is_round_requested or now - self._round_started_at >= ROUND_SECONDS
        if capacity > 0 and is_round_due and self._round_position is None:
            self._round_position, self._round_started_at = BEFORE_FIRST_CHAT, now
            queues.is_round_requested = False
        latest = await self._fetch_chats(database, None, capacity + RESERVED_EVENTS)
        if latest.next_chat is not None:  # The fetch reached its limit.
            queues.is_round_requested = True
        others_count = 0
        if self._round_position is not None and capacity > len(latest.events):
            max_events = min(capacity - len(latest.events), MAX_ROUND_EVENTS)
            others = await self._fetch_chats(database, self._round_position, max_events)
            self._round_position = others.next_chat
            others_count = len(others.events)
        return len(latest.events) + others_count

    async def _fetch_chats(self, database: ListenerDatabase, after_chat: str | None, max_events: int) -> FetchResult:
        """Acknowledge published events, and fetch up to `max_events` others, of a round or else the latest ones."""
        queues = self._publisher.queues
        held = queues.get_held(after_chat) if max_events > 0 else {}
        fetched = await database.ack_and_fetch_events(self._pop_unacknowledged(), after_chat, held, max(0, max_events))
        queues.enqueue(fetched)
        return fetched

    async def _acknowledge(self, database: ListenerDatabase) -> None:
        await database.ack_and_fetch_events(self._pop_unacknowledged())
        await self._flush_dead_letters(database)

    def _pop_unacknowledged(self) -> list[int]:
        acked, self._publisher.unacknowledged = self._publisher.unacknowledged, []
        return acked

    async def _flush_dead_letters(self, database: ListenerDatabase) -> None:
        pending = self._publisher.dead_letters.pending
        while pending:
            await database.dead_letter(*pending[0])
            del pending[0]

    async def _set_notify(self, database: ListenerDatabase, *, enable: bool) -> None:
        """Enable or disable notifications from writers."""
        if self._is_notify_enabled and not enable:
            self._is_notify_enabled = False
            await database.disable_notify()
        elif enable and not self._is_notify_enabled:
            self._is_notify_enabled = await database.enable_notify()
            if self._is_notify_enabled:
                # Transactions that committed before sent no notification: one more round fetches their events.
                self._round_started_at = -math.inf
                self.wake_up()

    async def _wait(self) -> None:
        """Wait until the next poll is due."""
        if not self._is_notify_enabled:
            is_unavailable = self._publisher.circuit.failures > 0
            await asyncio.sleep(UNAVAILABLE_POLL_SECONDS if is_unavailable else self._polling.poll_seconds)
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(POLL_SECONDS):
                await self._wakeup.wait()
