"""The publisher sends queued events to Pusher: in order within a chat, concurrently across chats, with retries.

A request has the first events of some chats, and until it completes, those chats are in no other request
(chat_queues.py). A failed request is retried after a backoff (backoff.py). Events that cannot be published are
dead-lettered (dead_letters.py).
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable

from listener.backoff import CircuitBreaker, backoff
from listener.chat_queues import Batches, ChatQueue, ChatQueues
from listener.database import ListenerDatabase
from listener.dead_letters import DeadLetters
from listener.leadership import has_lease
from listener.metrics import PUBLISHED
from listener.pusher import MAX_BATCH_EVENTS, FailedError, PusherClient, RejectedError

logger = logging.getLogger("parley.listener")

MAX_REQUESTS = 16  # open at once
ACK_DELAY_SECONDS = 0.02  # One statement acknowledges the requests that end within this time.
TIMER_RESOLUTION_SECONDS = 0.001  # A timer of the event loop may expire this much early.


class Publisher:
    """Sends requests to Pusher. `on_progress` is called when there are events to acknowledge or to dead-letter."""

    def __init__(self, pusher: PusherClient, on_progress: Callable[[], None], dead_letter_after: float) -> None:
        self.queues = ChatQueues()
        self.unacknowledged: list[int] = []  # ids of published events
        self.circuit = CircuitBreaker()
        self.dead_letters = DeadLetters(pusher, self.circuit, self.queues, dead_letter_after)
        self.requests: set[asyncio.Task[None]] = set()
        self._pusher, self._on_progress = pusher, on_progress
        self._database: ListenerDatabase | None = None

    def start(self, database: ListenerDatabase) -> None:
        """Allow requests while the leader's connection to the database has the lease."""
        self._database = database

    def stop(self) -> None:
        """Send no further requests. Open requests continue."""
        self._database = None

    async def drain(self) -> None:
        """Wait for open requests, and then clear all queues."""
        if self.requests:
            await asyncio.wait(self.requests)
        self.queues.clear()

    def dispatch(self) -> None:
        """Send requests until there are no ready events or no further requests are allowed now."""
        loop = asyncio.get_running_loop()
        while self._database and self.queues.has_ready and len(self.requests) < self._max_requests:
            if not has_lease(self._database) or loop.time() < self.circuit.open_until:
                break
            request = loop.create_task(self._send(self.queues.acquire_batches(MAX_BATCH_EVENTS)))
            self.requests.add(request)
            request.add_done_callback(self._on_request_done)

    @property
    def _max_requests(self) -> int:
        return 1 if self.circuit.failures else MAX_REQUESTS

    def _on_request_done(self, request: asyncio.Task[None]) -> None:
        self.requests.discard(request)
        self.dispatch()

    async def _send(self, batches: Batches) -> None:
        loop = asyncio.get_running_loop()
        started_at = loop.time()
        try:
            is_published = await self._pusher.send([event for _, batch in batches for event in batch])
        except RejectedError as error:
            await self.dead_letters.handle_rejection(batches, started_at, error)
        except Exception as error:  # Catch everything: no event may be lost, and no queue may stall.
            if not isinstance(error, FailedError):
                logger.exception("A request to Pusher failed unexpectedly")
            self.dead_letters.handle_failure(batches, started_at, error)
        else:
            self.circuit.record_success(loop.time())
            if is_published:
                self._complete(batches)
        for queue, _ in batches:
            self._release(queue)
        if self.circuit.failures:
            loop.call_at(self.circuit.open_until + TIMER_RESOLUTION_SECONDS, self.dispatch)
        loop.call_later(ACK_DELAY_SECONDS, self._report_progress)

    def _complete(self, batches: Batches) -> None:
        """Remove published events from their queues, to be acknowledged."""
        for queue, batch in batches:
            for _ in batch:
                self.unacknowledged.append(self.queues.pop(queue).id)
        for name, count in Counter(event.name for _, batch in batches for event in batch).items():
            PUBLISHED.labels(name).inc(count)

    def _release(self, queue: ChatQueue) -> None:
        """Release a queue after its request; if its first event failed in a request of its own, after a backoff."""
        if queue.failures:
            asyncio.get_running_loop().call_later(backoff(queue.failures), self._on_backoff_end, queue)
        else:
            self.queues.release(queue)

    def _on_backoff_end(self, queue: ChatQueue) -> None:
        self.queues.release(queue)
        self.dispatch()

    def _report_progress(self) -> None:
        if self.unacknowledged or self.dead_letters.pending:
            self._on_progress()
