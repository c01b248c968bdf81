"""The lag of the outbox by a monotonic clock, because the clock of the database may be set back.

The meter remembers which event was the newest at each poll. An event has been waiting at least since the first poll at
which it, or a later event, was the newest.
"""

from bisect import bisect_left

from listener.database import OutboxHealth

MAX_POLLS = 1000  # remembered; with more, every second one is forgotten


class LagMeter:
    """Measures for how many seconds the oldest event that is not published has been waiting."""

    def __init__(self) -> None:
        self._polls: list[tuple[int, float]] = []  # the newest event, and the time of the first poll with it

    def measure(self, health: OutboxHealth, now: float) -> float:
        """Return the longer of the lag by the database's clock and the lag by a monotonic one, whose time is `now`."""
        if health.oldest_event is None or health.newest_event is None:
            self._polls.clear()
            return 0
        del self._polls[: bisect_left(self._polls, (health.oldest_event,))]
        if not self._polls or self._polls[-1][0] < health.newest_event:
            self._polls.append((health.newest_event, now))
        if len(self._polls) > MAX_POLLS:
            del self._polls[1::2]
        return max(health.lag_seconds, now - self._polls[0][1])
