"""Dead letters: handles errors of Pusher, and decides when to give up publishing an event or terminating connections.

- An event that Pusher rejects in a request of its own (PERMANENT_STATUSES in pusher.py) is dead-lettered at once. If
  Pusher has not accepted a request recently and rejects a probe too, the rejection is attributed to the account or the
  configuration instead, and the event is retried.
- An event that fails in requests of its own is dead-lettered after more than MAX_FAILURES failures over more than
  DEAD_LETTER_AFTER_SECONDS. A failure counts only if Pusher has accepted another request since the previous one.
- Transient errors (TRANSIENT_STATUSES in pusher.py, or no response) never dead-letter an event: it is retried until it
  is published.

After a rejection or failure of a request with several events, each of them is sent again in a request of its own, to
find the invalid one.

The termination of a removed member's connections is given up without its events, and only while a probe shows that
Pusher works. It is given up at once if Pusher rejects it or has no such route (MISSING_ROUTE_STATUSES), and otherwise
after as many failures as an event. During an overload (OVERLOAD_STATUSES, or no response) it is retried. While the
probe succeeds, failures of terminations delay no requests of other kinds.
"""

import asyncio
import logging

from listener.backoff import CircuitBreaker, FailureCount
from listener.chat_queues import Batches, ChatQueue, ChatQueues
from listener.metrics import DEAD_LETTERED, TERMINATIONS_GIVEN_UP
from listener.pusher import (
    MISSING_ROUTE_STATUSES,
    OVERLOAD_STATUSES,
    FailedError,
    PusherClient,
    PusherError,
    RejectedError,
)
from listener.terminations import Termination

logger = logging.getLogger("parley.listener")

# For this time after a success, a rejection is attributed to the event. Later, a probe decides.
REJECTION_TRUST_SECONDS = 60
MAX_FAILURES = 5
DEAD_LETTER_AFTER_SECONDS = 30.0


class DeadLetters:
    """Handles errors of Pusher, and collects dead letters. `dead_letter_after` overrides DEAD_LETTER_AFTER_SECONDS."""

    def __init__(
        self, pusher: PusherClient, circuit: CircuitBreaker, queues: ChatQueues, dead_letter_after: float
    ) -> None:
        self.pending: list[tuple[int, str]] = []  # ids and errors of the events to dead-letter in the database
        self._pusher, self._circuit, self._queues = pusher, circuit, queues
        self._dead_letter_after = dead_letter_after
        self._logged_statuses: set[int] = set()  # of terminations that were given up since one succeeded

    async def handle_rejection(self, batches: Batches, started_at: float, error: RejectedError) -> None:
        """Handle a permanent error of a request that was sent at `started_at`."""
        is_trusted = self._circuit.succeeded_at > started_at - REJECTION_TRUST_SECONDS
        if not (is_trusted or await self._pusher.probe()):
            self._circuit.record_failure(started_at, asyncio.get_running_loop().time(), error)
            return
        self._circuit.record_success(asyncio.get_running_loop().time())
        isolate(batches)
        if queue := find_queue_of_single_event(batches):
            self._dead_letter_first_event(queue, error)

    def handle_failure(self, batches: Batches, started_at: float, error: Exception) -> None:
        """Handle any other error of a request that was sent at `started_at`."""
        now = asyncio.get_running_loop().time()
        self._circuit.record_failure(started_at, now, error)
        if isinstance(error, FailedError) and error.is_transient:
            return
        isolate(batches)
        queue = find_queue_of_single_event(batches)
        # Without a success since its last failure, another failure of the event may be due to Pusher.
        if queue and (not queue.failures.count or self._circuit.succeeded_at > queue.failures.last_at):
            queue.failures.record(now)
            if self._has_failed_for_too_long(queue.failures):
                self._dead_letter_first_event(queue, error)

    async def handle_termination_error(self, termination: Termination, started_at: float, error: Exception) -> bool:
        """Handle an error of a termination that was requested at `started_at`; return whether it is given up."""
        status = error.status if isinstance(error, PusherError) else None
        is_available = await self._pusher.probe()
        now = asyncio.get_running_loop().time()
        if not is_available:
            self._circuit.record_failure(started_at, now, error)
            return False
        self._circuit.record_success(now)
        termination.failures.record(now)
        if status is None or status in OVERLOAD_STATUSES:
            if termination.failures.count == 1:
                logger.warning("Pusher does not terminate connections now, requests will be retried: %r", str(error))
            return False
        is_permanent = isinstance(error, RejectedError) or status in MISSING_ROUTE_STATUSES
        if not (is_permanent or self._has_failed_for_too_long(termination.failures)):
            return False
        TERMINATIONS_GIVEN_UP.inc()
        if status not in self._logged_statuses:
            self._logged_statuses.add(status)
            consequence = "removed members receive a chat's events until their connection ends"
            logger.error("Pusher does not terminate connections, so %s: %r", consequence, str(error))
        return True

    def record_termination(self) -> None:
        """Record that Pusher terminates connections, so that the next error is logged again."""
        self._logged_statuses.clear()

    def _has_failed_for_too_long(self, failures: FailureCount) -> bool:
        return failures.count > MAX_FAILURES and failures.last_at - failures.first_at > self._dead_letter_after

    def _dead_letter_first_event(self, queue: ChatQueue, error: Exception) -> None:
        event = self._queues.pop(queue)
        logger.error("Dead-lettered event %s (%s): %r", event.id, event.name, str(error))
        if event.terminated_user is None:
            self.pending.append((event.id, str(error)))
        else:  # If the listener ends before the termination, the next one fetches the event again.
            event.error = str(error)
        DEAD_LETTERED.labels(event.name).inc()


def isolate(batches: Batches) -> None:
    """Have each event of a request sent again in a request of its own."""
    for queue, batch in batches:
        queue.isolate(len(batch))


def find_queue_of_single_event(batches: Batches) -> ChatQueue | None:
    """Return the queue of the only event of a request; None if the request had several events."""
    (queue, batch), *others = batches
    return queue if not others and len(batch) == 1 else None
