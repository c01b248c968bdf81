"""Dead letters: handles errors of Pusher, and decides when to give up publishing an event.

- An event that Pusher rejects in a request of its own (PERMANENT_STATUSES in pusher.py) is dead-lettered at once. If
  Pusher has not accepted a request recently and rejects a probe too, the rejection is attributed to the account or the
  configuration instead, and the event is retried.
- An event that fails in requests of its own is dead-lettered after more than MAX_FAILURES failures over more than
  DEAD_LETTER_AFTER_SECONDS. A failure counts only if Pusher has accepted another request since the previous one.
- Transient errors (TRANSIENT_STATUSES in pusher.py, or no response) never dead-letter an event: it is retried until it
  is published.

After a rejection or failure of a request with several events, each of them is sent again in a request of its own, to
find the invalid one.
"""

import asyncio
import logging

from listener.backoff import CircuitBreaker
from listener.chat_queues import Batches, ChatQueue, ChatQueues
from listener.metrics import DEAD_LETTERED
from listener.pusher import FailedError, PusherClient, RejectedError

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

    async def handle_rejection(self, batches: Batches, started_at: float, error: RejectedError) -> None:
        """Handle a permanent error of a request that was sent at `started_at`."""
        is_trusted = self._circuit.succeeded_at > started_at - REJECTION_TRUST_SECONDS
        if not (is_trusted or await self._pusher.probe()):
            self._circuit.record_failure(started_at, asyncio.get_running_loop().time(), error)
            return
        self._circuit.record_success(asyncio.get_running_loop().time())
        isolate(batches)
        if queue := find_queue_of_single_event(batches):
            self._give_up_first_event(queue, error)

    def handle_failure(self, batches: Batches, started_at: float, error: Exception) -> None:
        """Handle any other error of a request that was sent at `started_at`."""
        now = asyncio.get_running_loop().time()
        self._circuit.record_failure(started_at, now, error)
        if isinstance(error, FailedError) and error.is_transient:
            return
        isolate(batches)
        queue = find_queue_of_single_event(batches)
        # Without a success since its last failure, another failure of the event may be due to Pusher.
        if queue and (not queue.failures or self._circuit.succeeded_at > queue.last_failed_at):
            queue.record_failure(now)
            if queue.failures > MAX_FAILURES and now - queue.first_failed_at > self._dead_letter_after:
                self._give_up_first_event(queue, error)

    def _give_up_first_event(self, queue: ChatQueue, error: Exception) -> None:
        event = self._queues.pop(queue)
        logger.error("Dead-lettered event %s (%s): %r", event.id, event.name, str(error))
        self.pending.append((event.id, str(error)))
        DEAD_LETTERED.labels(event.name).inc()


def isolate(batches: Batches) -> None:
    """Have each event of a request sent again in a request of its own."""
    for queue, batch in batches:
        queue.isolate(len(batch))


def find_queue_of_single_event(batches: Batches) -> ChatQueue | None:
    """Return the queue of the only event of a request; None if the request had several events."""
    (queue, batch), *others = batches
    return queue if not others and len(batch) == 1 else None
