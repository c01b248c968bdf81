"""How often to poll the outbox, and how long to leave Pusher alone after a failure.

DECISIONS.md in this directory explains why the listener does not always wait for notifications.
"""

import math
import random

# While events are frequent, the relay polls: a notification takes a lock in the commit of its writer.
BUSY_RATE = 200  # events a second from which they are frequent
QUIET_RATE = 100  # events a second up to which they are not
RATE_SECONDS = 0.1  # over which the rate is measured
# The interval between two polls grows with the rate: each poll then finds several events.
MIN_POLL_SECONDS = 0.002
MAX_POLL_SECONDS = 0.02
MAX_POLL_RATE = 2000  # events a second from which the interval is the longest
MIN_BACKOFF_SECONDS = 0.1
MAX_BACKOFF_SECONDS = 5.0


class Pacing:
    """The rate of events, and the polling that suits it."""

    def __init__(self) -> None:
        self.is_busy = False  # events are frequent
        self.poll_seconds = MIN_POLL_SECONDS
        self._events, self._measured_at = 0, 0.0

    def record(self, events: int, now: float) -> None:
        """Count events that were fetched just now."""
        self._events += events
        seconds = now - self._measured_at
        if seconds >= RATE_SECONDS:
            rate = self._events / seconds
            self.is_busy = rate > (QUIET_RATE if self.is_busy else BUSY_RATE)
            self.poll_seconds = max(MIN_POLL_SECONDS, MAX_POLL_SECONDS * min(rate / MAX_POLL_RATE, 1) ** 2)
            self._events, self._measured_at = 0, now


def backoff(failures: int) -> float:
    """Return the seconds to wait after this many failures in a row: exponential, with jitter."""
    seconds = min(MIN_BACKOFF_SECONDS * 2.0 ** min(failures - 1, 10), MAX_BACKOFF_SECONDS)
    return seconds * random.uniform(0.5, 1)  # noqa: S311 (no secret)


class CircuitBreaker:
    """Whether Pusher accepts requests. After a failure, one request at a time is sent, each after a backoff."""

    def __init__(self) -> None:
        self.failures = 0  # in a row
        self.succeeded_at = -math.inf
        self.open_until = 0.0  # when the next request may be sent
        self._failed_at = 0.0

    def record_success(self, now: float) -> None:
        """Close the circuit."""
        self.failures = 0
        self.succeeded_at = now

    def record_failure(self, started_at: float, now: float) -> bool:
        """Open the circuit, after the failure of a request that was sent at `started_at`.

        Return False for a request that was open at the last failure already: it shows nothing new.
        """
        if started_at < self._failed_at:
            return False
        self.failures += 1
        self._failed_at = now
        self.open_until = now + backoff(self.failures)
        return True
