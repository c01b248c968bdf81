"""Failures of Pusher: their count, the backoff, and the circuit breaker, which stops requests during an outage."""

import logging
import math
import random
from dataclasses import dataclass

logger = logging.getLogger("parley.listener")

MIN_BACKOFF_SECONDS = 0.1
MAX_BACKOFF_SECONDS = 5.0


def backoff(failures: int) -> float:
    """Return the seconds to wait after this many failures in a row: exponential, with jitter."""
    seconds = min(MIN_BACKOFF_SECONDS * 2.0 ** min(failures - 1, 10), MAX_BACKOFF_SECONDS)
    return seconds * random.uniform(0.5, 1)  # noqa: S311 (no secret)


@dataclass(slots=True)
class FailureCount:
    """Consecutive failures of an event or a termination; the times of the first and the last are the event loop's."""

    count: int = 0
    first_at: float = 0
    last_at: float = 0

    def record(self, now: float) -> None:
        """Record a failure."""
        if not self.count:
            self.first_at = now
        self.count += 1
        self.last_at = now


class CircuitBreaker:
    """Stops requests after a failure. Then a single request is sent after each backoff, until one succeeds."""

    def __init__(self) -> None:
        self.failures = 0  # in a row
        self.succeeded_at = -math.inf
        self.open_until = 0.0  # when the next request may be sent
        self._failed_at = 0.0

    def record_success(self, now: float) -> None:
        """Close the circuit."""
        if self.failures:
            logger.warning("Pusher is available again")
        self.failures = 0
        self.succeeded_at = now

    def record_failure(self, started_at: float, now: float, error: Exception) -> None:
        """Open the circuit, after the failure of a request that was sent at `started_at`.

        A request that was sent before the previous failure changes nothing: both have the same cause.
        """
        if started_at < self._failed_at:
            return
        if not self.failures:
            logger.warning("Pusher is unavailable, requests will be retried: %r", str(error))
        self.failures += 1
        self._failed_at = now
        self.open_until = now + backoff(self.failures)
