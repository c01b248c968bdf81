"""The relay moves events from the outbox to the publisher, and acknowledges published ones.

It fetches events in rounds. A round visits all chats with unpublished events once, in the order of their ids and in
several fetches, and fetches the first events of each chat: a chat with many events delays no other. A round starts at
least once a second. A fetch between two rounds visits only the chats of the latest events. Its cost does not depend on
how many events were published and deleted before.
"""

import asyncio
import contextlib
import math

from listener.database import ListenerDatabase
from listener.dead_letters import DEAD_LETTER_AFTER_SECONDS
from listener.polling import AdaptivePolling
from listener.publisher import Publisher
from listener.pusher import MAX_BATCH_EVENTS, PusherClient

# Fetched and not yet published. With MAX_EVENTS_PER_CHAT of each chat, these are still more chats than MAX_REQUESTS.
MAX_EVENTS = 4000
POLL_SECONDS = 1  # between two polls while the relay waits for notifications, and between two rounds; renews the lease
UNAVAILABLE_POLL_SECONDS = 0.1  # between two polls while Pusher is unavailable
FIRST_CHAT = "00000000-0000-0000-0000-000000000000"  # A round starts after this id.


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
        """False while there are events to publish and the last request to Pusher failed."""
        return self._publisher.circuit.failures == 0 or self._publisher.queues.event_count == 0

    def wake_up(self) -> None:
        """Poll now instead of waiting for a notification."""
        self._wakeup.set()

    async def run(self, database: ListenerDatabase, stop_event: asyncio.Event) -> None:
        """Publish events until `stop_event` is set or the database fails, and then drain open requests.

        Raises DATABASE_ERRORS.
        """
        publisher = self._publisher
        self._reset()
        # A crash of PostgreSQL may have undone the last acknowledgements. The pending ones are of later events. Drop
        # these too: a chat's last events are then published again as a whole, without a gap.
        publisher.unacknowledged.clear()
        publisher.dead_letters.unstored.clear()
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
        capacity = max(0, MAX_EVENTS - publisher.queues.event_count)
        if not (capacity or publisher.unacknowledged or now - self._polled_at >= POLL_SECONDS):
            return
        self._polled_at = now
        fetched_count = await self._fetch(database, capacity, now)
        publisher.dispatch()
        self._polling.record(fetched_count, asyncio.get_running_loop().time())
        is_behind = self._round_position is not None or publisher.queues.needs_refill or publisher.circuit.failures > 0
        is_busy = self._polling.is_busy or fetched_count >= MAX_BATCH_EVENTS
        await self._set_notify(database, enable=not (is_behind or is_busy))

    async def _fetch(self, database: ListenerDatabase, capacity: int, now: float) -> int:
        """Acknowledge published events and fetch up to `capacity` others; return how many were fetched."""
        queues = self._publisher.queues
        is_round_due = queues.needs_refill or now - self._round_started_at >= POLL_SECONDS
        if capacity and is_round_due and self._round_position is None:
            self._round_position, self._round_started_at = FIRST_CHAT, now
            queues.needs_refill = False
        held = queues.get_held(self._round_position) if capacity else {}
        acked = self._pop_unacknowledged()
        fetched = await database.ack_and_fetch_events(acked, self._round_position, held, capacity)
        if capacity:
            queues.enqueue(fetched)
            if self._round_position is not None:
                self._round_position = fetched.next_chat
            elif fetched.next_chat is not None:
                queues.needs_refill = True
        return len(fetched.events)

    async def _acknowledge(self, database: ListenerDatabase) -> None:
        await database.ack_and_fetch_events(self._pop_unacknowledged())
        await self._flush_dead_letters(database)

    def _pop_unacknowledged(self) -> list[int]:
        acked, self._publisher.unacknowledged = self._publisher.unacknowledged, []
        return acked

    async def _flush_dead_letters(self, database: ListenerDatabase) -> None:
        unstored = self._publisher.dead_letters.unstored
        while unstored:
            await database.dead_letter(*unstored[0])
            del unstored[0]

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
