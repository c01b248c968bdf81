"""From the queues of chats to Pusher: in order within a chat, chats side by side, each event until Pusher accepts it.

A request carries the first events of some queues, and those queues wait for its end. So a chat's events are published
in order, and no chat waits for another. A failed request is sent again after a backoff, which grows while all requests
fail. Events that were rejected together are sent again one by one, to find the one at fault, which is dead-lettered.
"""

import asyncio
import logging
from collections import Counter, deque
from collections.abc import Callable, Iterable
from typing import TypeAlias

from listener.chat_queue import ChatQueue
from listener.metrics import DEAD_LETTERED, PUBLISHED
from listener.outbox import Event, Outbox
from listener.pacing import CircuitBreaker, backoff
from listener.pusher import FailedError, Pusher, RejectedError

logger = logging.getLogger("parley.listener")

BATCH = 10  # events that Pusher accepts in one request
MAX_REQUESTS = 16  # open at once
ACK_SECONDS = 0.02  # within which published events are acknowledged, together
LEASE_SECONDS = 4  # after the last response of the database, for which no other listener can have become the leader
# After a success, a rejection is the event's fault for so long, and not that of the configuration.
TRUST_SECONDS = 60
# An event that fails so often, and for so long, while others succeed, is dead-lettered.
MAX_FAILURES = 5
PATIENCE_SECONDS = 30.0

Batches: TypeAlias = list[tuple[ChatQueue, list[Event]]]


class Publisher:
    """The queues of chats, and the open requests to Pusher.

    `on_progress` is called when there are events to acknowledge or to dead-letter. `patience` overrides
    PATIENCE_SECONDS.
    """

    def __init__(self, pusher: Pusher, on_progress: Callable[[], None], patience: float) -> None:
        self.queues: dict[str, ChatQueue] = {}  # by chat
        self.events = 0  # in all queues
        self.needs_refill = False  # the outbox may have events of a chat whose queue accepts more
        self.published: list[int] = []  # ids of events to acknowledge
        self.dead_letters: list[tuple[int, str]] = []  # ids of events to dead-letter, with the error
        self.circuit = CircuitBreaker()
        self.requests: set[asyncio.Task[None]] = set()
        self._pusher, self._on_progress, self._patience = pusher, on_progress, patience
        self._ready: deque[ChatQueue] = deque()
        self._outbox: Outbox | None = None

    def start(self, outbox: Outbox) -> None:
        """Allow requests, as long as this outbox responds."""
        self._outbox = outbox

    def stop(self) -> None:
        """Send no further requests. Those that are open end by themselves."""
        self._outbox = None

    async def settle(self) -> None:
        """Wait for open requests and forget all queues."""
        if self.requests:
            await asyncio.wait(self.requests)
        self.queues.clear()
        self._ready.clear()
        self.events = 0

    def enqueue(self, events: Iterable[Event]) -> None:
        """Add fetched events to the queues of their chats."""
        for event in events:
            queue = self.queues.get(event.chat_id)
            if queue is None:
                queue = self.queues[event.chat_id] = ChatQueue(event.chat_id)
            queue.append(event)
            self.events += 1
            if not queue.is_scheduled:
                queue.is_scheduled = True
                self._ready.append(queue)

    # Requests

    def dispatch(self) -> None:
        """Send as many requests as may be open now."""
        loop = asyncio.get_running_loop()
        while self._outbox and self._ready and len(self.requests) < (1 if self.circuit.failures else MAX_REQUESTS):
            now = loop.time()
            if now - self._outbox.responded_at > LEASE_SECONDS or now < self.circuit.open_until:
                break
            request = loop.create_task(self._send(self._next_batches()))
            self.requests.add(request)
            request.add_done_callback(self._end_request)

    def _end_request(self, request: asyncio.Task[None]) -> None:
        self.requests.discard(request)
        self.dispatch()

    def _next_batches(self) -> Batches:
        """Return the queues of the next request, each with its events in it."""
        batches: Batches = []
        room = BATCH
        while self._ready and room:
            queue = self._ready[0]
            batch = queue.batch(room)
            if not batch and batches:
                break
            self._ready.popleft()
            batches.append((queue, batch or [queue.events[0]]))
            if not batch:
                break
            room -= len(batch)
        return batches

    async def _send(self, batches: Batches) -> None:
        loop = asyncio.get_running_loop()
        started_at = loop.time()
        try:
            is_published = await self._pusher.send([event for _, batch in batches for event in batch])
        except RejectedError as error:
            if self.circuit.succeeded_at > started_at - TRUST_SECONDS or await self._pusher.is_accepting():
                self._record_success()
                self._isolate_rejected(batches, str(error))
            else:
                self._record_failure(started_at, error)
        except Exception as error:  # of any kind: no event may be lost, and no chat wait for ever
            if not isinstance(error, FailedError):
                logger.exception("A request to Pusher failed unexpectedly")
            self._record_failure(started_at, error)
            if getattr(error, "is_suspect", True):
                self._isolate_failed(batches, str(error))
        else:
            self._record_success()
            if is_published:
                self._complete(batches)
        for queue, _ in batches:
            self._reschedule(queue)
        loop.call_later(ACK_SECONDS, self._report_progress)

    def _report_progress(self) -> None:
        if self.published or self.dead_letters:
            self._on_progress()

    def _complete(self, batches: Batches) -> None:
        for queue, batch in batches:
            for _ in batch:
                self.published.append(self._pop(queue).id)
        for name, count in Counter(event.name for _, batch in batches for event in batch).items():
            PUBLISHED.labels(name).inc(count)

    def _pop(self, queue: ChatQueue) -> Event:
        """Remove the first event of a queue, which was published or is given up."""
        event = queue.pop()
        self.events -= 1
        self.needs_refill = self.needs_refill or queue.needs_refill
        return event

    def _reschedule(self, queue: ChatQueue) -> None:
        """Make a queue that was in a request ready again, behind the others; after a failure of its own, later."""
        if queue.failures:
            asyncio.get_running_loop().call_later(backoff(queue.failures), self._end_backoff, queue)
        elif queue.events:
            self._ready.append(queue)
        else:
            del self.queues[queue.chat_id]

    def _end_backoff(self, queue: ChatQueue) -> None:
        if self.queues.get(queue.chat_id) is queue:
            self._ready.append(queue)
            self.dispatch()

    # Failures

    def _isolate_rejected(self, batches: Batches, error: str) -> None:
        """Dead-letter an event that was rejected by itself; isolate those that were rejected together."""
        (queue, batch), *others = batches
        if not others and len(batch) == 1:
            self._dead_letter(queue, error)
        else:
            for queue, batch in batches:
                queue.isolated = len(batch)

    def _isolate_failed(self, batches: Batches, error: str) -> None:
        """Isolate events that failed while others may succeed; dead-letter one that went on failing by itself."""
        for queue, batch in batches:
            queue.isolated = max(queue.isolated, len(batch))
        (queue, batch), *others = batches
        if not others and len(batch) == 1 and (not queue.failures or self.circuit.succeeded_at > queue.last_failed_at):
            queue.record_failure(asyncio.get_running_loop().time())
            if queue.failures > MAX_FAILURES and queue.last_failed_at - queue.first_failed_at > self._patience:
                self._dead_letter(queue, error)

    def _dead_letter(self, queue: ChatQueue, error: str) -> None:
        event = self._pop(queue)
        logger.error("Dead-lettered event %s (%s): %r", event.id, event.name, error)
        self.dead_letters.append((event.id, error))
        DEAD_LETTERED.labels(event.name).inc()

    def _record_success(self) -> None:
        if self.circuit.failures:
            logger.warning("Pusher is available again")
        self.circuit.record_success(asyncio.get_running_loop().time())

    def _record_failure(self, started_at: float, error: Exception) -> None:
        loop = asyncio.get_running_loop()
        is_first = not self.circuit.failures
        if not self.circuit.record_failure(started_at, loop.time()):
            return
        if is_first:
            logger.warning("Pusher is unavailable, requests will be retried: %r", str(error))
        loop.call_later(self.circuit.open_until - loop.time() + 0.001, self.dispatch)
