"""The publisher sends queued events to Pusher: in order within a chat, concurrently across chats, with retries.

A request has the first events of some chats, and until it completes, those chats are in no other request
(chat_queues.py). After the publications of a removal, the connections of the removed member are terminated
(terminations.py). A failed request is retried after a backoff (backoff.py). Events that cannot be published are
dead-lettered, and terminations that Pusher does not support are given up (dead_letters.py).

Of the kinds of requests that are ready, the one with the fewest open requests is sent first.
"""

import asyncio
import functools
import logging
from collections import Counter
from collections.abc import Callable

from listener.backoff import CircuitBreaker, backoff
from listener.chat_queues import Batches, ChatQueue, ChatQueues, RequestKind
from listener.database import ListenerDatabase
from listener.dead_letters import DeadLetters
from listener.leadership import has_lease
from listener.metrics import PUBLISHED
from listener.pusher import FailedError, PusherClient, RejectedError
from listener.terminations import Termination, Terminations

logger = logging.getLogger("parley.listener")

MAX_REQUESTS = 16  # open at once
# Lower limits for each kind leave requests for the other kinds.
MAX_EVENT_REQUESTS = 12  # of each kind of events
MAX_TERMINATION_REQUESTS = 8
ACK_DELAY_SECONDS = 0.02  # One statement acknowledges the requests that end within this time.
TIMER_RESOLUTION_SECONDS = 0.001  # A timer of the event loop may expire this much early.


class Publisher:
    """Sends requests to Pusher. `on_progress` is called when there are events to acknowledge or to dead-letter."""

    def __init__(self, pusher: PusherClient, on_progress: Callable[[], None], dead_letter_after: float) -> None:
        self.terminations = Terminations(self.dispatch)
        self.queues = ChatQueues(self.terminations)
        self.unacknowledged: list[int] = []  # ids of published events
        self.circuit = CircuitBreaker()
        self.dead_letters = DeadLetters(pusher, self.circuit, self.queues, dead_letter_after)
        self.requests: set[asyncio.Task[None]] = set()
        self._open: Counter[RequestKind] = Counter()  # requests by kind
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
        """Send requests until nothing is ready or no further requests are allowed now."""
        loop = asyncio.get_running_loop()
        while self._database and (kind := self._choose_kind()) is not None:
            if not has_lease(self._database) or loop.time() < self.circuit.open_until:
                break
            if kind is RequestKind.TERMINATION:
                request = loop.create_task(self._terminate(self.terminations.acquire()))
            else:
                request = loop.create_task(self._send(self.queues.acquire_batches(kind)))
            self.requests.add(request)
            self._open[kind] += 1
            request.add_done_callback(functools.partial(self._on_request_done, kind))

    def _choose_kind(self) -> RequestKind | None:
        """Return the kind of the next request, if one can be sent."""
        if len(self.requests) >= (1 if self.circuit.failures else MAX_REQUESTS):
            return None
        kinds = [kind for kind in self.queues.ready_kinds if self._open[kind] < MAX_EVENT_REQUESTS]
        if self.terminations.has_ready and self._open[RequestKind.TERMINATION] < MAX_TERMINATION_REQUESTS:
            kinds.append(RequestKind.TERMINATION)
        return min(kinds, key=self._open.__getitem__, default=None)

    def _on_request_done(self, kind: RequestKind, request: asyncio.Task[None]) -> None:
        self.requests.discard(request)
        self._open[kind] -= 1
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
        self._after_request()

    async def _terminate(self, termination: Termination) -> None:
        loop = asyncio.get_running_loop()
        started_at = loop.time()
        try:
            await self._pusher.terminate_connections(termination.user)
        except Exception as error:  # Catch everything: no chat may stall.
            if not isinstance(error, RejectedError | FailedError):
                logger.exception("A request to Pusher failed unexpectedly")
            is_ended = await self.dead_letters.handle_termination_error(termination, started_at, error)
        else:
            self.circuit.record_success(loop.time())
            self.dead_letters.record_termination()
            is_ended = True
        if is_ended:
            self.queues.end_termination(termination)
            events = [event for _, event in termination.removals]
            self.unacknowledged += [event.id for event in events if event.error is None]
            self.dead_letters.pending += [(event.id, event.error) for event in events if event.error is not None]
        else:
            self.terminations.retry(termination)
        self._after_request()

    def _after_request(self) -> None:
        loop = asyncio.get_running_loop()
        if self.circuit.failures:
            loop.call_at(self.circuit.open_until + TIMER_RESOLUTION_SECONDS, self.dispatch)
        loop.call_later(ACK_DELAY_SECONDS, self._report_progress)

    def _complete(self, batches: Batches) -> None:
        """Remove published events from their queues. They are acknowledged now, or when their termination ends."""
        for queue, batch in batches:
            for _ in batch:
                event = self.queues.pop(queue)
                if event.terminated_user is None:
                    self.unacknowledged.append(event.id)
        for name, count in Counter(event.name for _, batch in batches for event in batch).items():
            PUBLISHED.labels(name).inc(count)

    def _release(self, queue: ChatQueue) -> None:
        """Release a queue after its request; if its first event failed in a request of its own, after a backoff."""
        if queue.failures.count:
            asyncio.get_running_loop().call_later(backoff(queue.failures.count), self._on_backoff_end, queue)
        else:
            self.queues.release(queue)

    def _on_backoff_end(self, queue: ChatQueue) -> None:
        self.queues.release(queue)
        self.dispatch()

    def _report_progress(self) -> None:
        if self.unacknowledged or self.dead_letters.pending:
            self._on_progress()
