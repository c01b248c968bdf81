"""From the outbox to the publisher: fetches the next events of all chats, and acknowledges those that were published.

Events are fetched from the head of each chat's queue. A round visits all chats with queued events in turn, some of them
at each fetch, so a chat with many events holds up no other. A round starts at least once a second. Between rounds only
the chats of the latest events are visited, which costs the same whatever was published and deleted before.
"""

import asyncio
import contextlib
import math
from collections import Counter

from listener.outbox import MAX_EVENTS_PER_CHAT, FetchResult, Outbox
from listener.pacing import Pacing
from listener.publisher import BATCH, PATIENCE_SECONDS, Publisher
from listener.pusher import Pusher

MAX_EVENTS = 4000  # fetched and not published: more than the open requests carry, even if few chats have all of them
POLL_SECONDS = 1  # between two polls while the relay waits for notifications, and between two rounds
FAILING_POLL_SECONDS = 0.1  # between two polls while Pusher fails
FIRST_CHAT = "00000000-0000-0000-0000-000000000000"  # a round starts after it


class Relay:
    """The work of the listener that leads. `patience` overrides the publisher's PATIENCE_SECONDS."""

    def __init__(self, pusher: Pusher, patience: float = PATIENCE_SECONDS) -> None:
        self._interrupted = asyncio.Event()
        self._publisher = Publisher(pusher, self.interrupt, patience)
        self._reset()

    def _reset(self) -> None:
        self._pacing = Pacing()
        self._is_notified = False  # writers notify, so there is no need to poll often
        self._round_position: str | None = None  # the last chat that the round visited; None between rounds
        self._round_started_at = self._polled_at = -math.inf

    @property
    def is_failing(self) -> bool:
        """Whether the last request to Pusher failed and there are events to publish."""
        return self._publisher.circuit.failures > 0 and self._publisher.events > 0

    def interrupt(self) -> None:
        """End a wait."""
        self._interrupted.set()

    async def run(self, outbox: Outbox, stopping: asyncio.Event) -> None:
        """Publish events until `stopping` is set. Raises what the outbox raises.

        In either case no request is open afterwards.
        """
        publisher = self._publisher
        self._reset()
        # A crash of PostgreSQL may have undone its last acknowledgements. Those that it has not received are of later
        # events, and are dropped too: the events published again are then a chat's last ones, without a gap.
        publisher.published.clear()
        publisher.dead_letters.clear()
        await outbox.on_notification(self.interrupt)
        publisher.start(outbox)
        try:
            while not stopping.is_set():
                self._interrupted.clear()
                await self._poll(outbox)
                await self._wait()
            publisher.stop()
            while publisher.requests:  # Polling keeps the lead until the last of them ends.
                await asyncio.wait(publisher.requests, timeout=POLL_SECONDS)
                await self._acknowledge(outbox)
            await self._acknowledge(outbox)
        finally:
            publisher.stop()
            await publisher.settle()

    async def _poll(self, outbox: Outbox) -> None:
        """Acknowledge and fetch events, hand them to the publisher, and decide how to wait for the next ones."""
        publisher = self._publisher
        await self._dead_letter(outbox)
        now = asyncio.get_running_loop().time()
        room = max(0, MAX_EVENTS - publisher.events)
        if not (room or publisher.published or now - self._polled_at >= POLL_SECONDS):
            return
        self._polled_at = now
        fetched = await self._fetch(outbox, room, now)
        publisher.dispatch()
        self._pacing.record(fetched, asyncio.get_running_loop().time())
        is_behind = self._round_position is not None or publisher.needs_refill or publisher.circuit.failures > 0
        await self._set_notify(outbox, enable=not (is_behind or self._pacing.is_busy or fetched >= BATCH))

    async def _fetch(self, outbox: Outbox, room: int, now: float) -> int:
        """Acknowledge published events and fetch up to `room` others; return how many were fetched."""
        publisher = self._publisher
        is_round_due = publisher.needs_refill or now - self._round_started_at >= POLL_SECONDS
        if room and is_round_due and self._round_position is None:
            self._round_position, self._round_started_at = FIRST_CHAT, now
            publisher.needs_refill = False
        position = self._round_position
        held = {
            queue.chat_id: queue.last_id if queue.accepts_more else None
            for queue in publisher.queues.values()
            if room and (position is None or queue.chat_id > position)
        }
        published, publisher.published = publisher.published, []
        result = await outbox.ack_and_fetch_events(published, position, held, room)
        if room:
            self._enqueue(result)
        return len(result.events)

    def _enqueue(self, result: FetchResult) -> None:
        publisher = self._publisher
        publisher.enqueue(result.events)
        for chat, count in Counter(event.chat_id for event in result.events).items():
            queue = publisher.queues[chat]
            queue.has_more = count == MAX_EVENTS_PER_CHAT or chat == result.next_chat
            publisher.needs_refill |= queue.needs_refill
        if self._round_position is not None:
            self._round_position = result.next_chat
        elif result.next_chat is not None:
            publisher.needs_refill = True

    async def _acknowledge(self, outbox: Outbox) -> None:
        publisher = self._publisher
        published, publisher.published = publisher.published, []
        await outbox.ack_and_fetch_events(published)
        await self._dead_letter(outbox)

    async def _dead_letter(self, outbox: Outbox) -> None:
        dead_letters = self._publisher.dead_letters
        while dead_letters:
            await outbox.dead_letter(*dead_letters[0])
            del dead_letters[0]

    async def _set_notify(self, outbox: Outbox, *, enable: bool) -> None:
        """Have writers notify, or not."""
        if self._is_notified and not enable:
            self._is_notified = False
            await outbox.disable_notify()
        elif enable and not self._is_notified:
            self._is_notified = await outbox.enable_notify()
            if self._is_notified:
                # Events that were committed before notified nobody: a last round finds them.
                self._round_started_at = -math.inf
                self.interrupt()

    async def _wait(self) -> None:
        if not self._is_notified:
            failures = self._publisher.circuit.failures
            await asyncio.sleep(FAILING_POLL_SECONDS if failures else self._pacing.poll_seconds)
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(POLL_SECONDS):
                await self._interrupted.wait()
