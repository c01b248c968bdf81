"""The clocks of Redis and of the database, compared with that of this host.

Rate limit windows follow the clock of Redis, so that hosts whose clocks differ share one budget.
"""

import logging
import math
import time
from time import monotonic

logger = logging.getLogger("parley.api")

MAX_SKEW_SECONDS = 1  # without a warning


class ServerClock:
    """The clock of a server, estimated from the times in its responses; before the first one, this host's clock.

    Between two responses, the estimate advances with this process's monotonic clock, which cannot be set.
    """

    def __init__(self) -> None:
        self._offset: float | None = None  # of the server's clock from the monotonic one, in seconds

    def observe(self, server_time: float, sent_at: float, received_at: float) -> None:
        """Correct the estimate by a response.

        `server_time` is the Unix time in it, in seconds. `sent_at` and `received_at` are the values of monotonic()
        before the request and after the response.
        """
        # The server read its clock between the two, so every offset in this range is possible. The estimate moves no
        # further than to the nearest one: it does not vary with the duration of requests.
        earliest, latest = server_time - received_at, server_time - sent_at
        offset = time.time() - monotonic() if self._offset is None else self._offset
        self._offset = min(max(offset, earliest), latest)

    def time(self) -> float:
        """Return the server's Unix time in seconds."""
        return time.time() if self._offset is None else monotonic() + self._offset

    @property
    def skew(self) -> float:
        """By how many seconds the server's clock is ahead of this host's; NaN before the first response."""
        return math.nan if self._offset is None else self._offset + monotonic() - time.time()

    def warn_about_skew(self, name: str) -> None:
        """Log a warning if the clocks differ by more than MAX_SKEW_SECONDS."""
        if abs(skew := self.skew) > MAX_SKEW_SECONDS:
            direction = "ahead of" if skew > 0 else "behind"
            message = "The clock of %s is %.1f s %s this host's: synchronize the clocks of all hosts by NTP"
            logger.warning(message, name, abs(skew), direction)


# Each process has its own estimates: first from its start, and then from the rate limiter and the readiness probe.
REDIS_CLOCK = ServerClock()
DATABASE_CLOCK = ServerClock()
