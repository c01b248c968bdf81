"""Adaptive polling: how often the relay polls the outbox, and when it waits for notifications instead.

DECISIONS.md in this directory explains why the listener does not always wait for notifications.
"""

# While events are frequent, the relay polls: a notification takes a lock in the commit of its writer.
BUSY_RATE = 200  # events a second above which they are frequent
QUIET_RATE = 100  # events a second at or below which they are no longer frequent
RATE_SECONDS = 0.1  # over which the rate is measured
# The interval between two polls grows with the rate: each poll then returns several events.
MIN_POLL_SECONDS = 0.002
MAX_POLL_SECONDS = 0.02
MAX_POLL_RATE = 2000  # events a second from which the interval is the longest


class AdaptivePolling:
    """Measures the rate of events, and adapts the polling interval."""

    def __init__(self) -> None:
        self.is_busy = False  # events are frequent
        self.poll_seconds = MIN_POLL_SECONDS
        self._event_count, self._measured_at = 0, 0.0

    def record(self, event_count: int, now: float) -> None:
        """Record how many events a poll returned."""
        self._event_count += event_count
        seconds = now - self._measured_at
        if seconds >= RATE_SECONDS:
            rate = self._event_count / seconds
            self.is_busy = rate > (QUIET_RATE if self.is_busy else BUSY_RATE)
            self.poll_seconds = max(MIN_POLL_SECONDS, MAX_POLL_SECONDS * min(rate / MAX_POLL_RATE, 1) ** 2)
            self._event_count, self._measured_at = 0, now
