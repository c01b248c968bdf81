"""Retry-After of rejected requests: each client of an address gets a different time.

The sliding window frees its slots one after another. If all clients of an address returned for the first of them, all
but one would be rejected again. The times are kept in the memory of each process, so clients whose requests reach
different workers may get the same time.
"""

import math
from collections import Counter, OrderedDict, deque

MAX_KEYS = 10_000  # whose times a process remembers; the least recently rejected are forgotten first


class RetrySchedule:
    """The reserved times of each key, in Unix time in milliseconds, in order."""

    def __init__(self, limit: int, window_ms: int) -> None:
        self._limit, self._window_ms = limit, window_ms
        self._times: OrderedDict[str, deque[int]] = OrderedDict()

    def assign(self, key: str, now_ms: int, first_wait: int, current: int, previous: int) -> int:
        """Return the value of Retry-After in seconds, and reserve that time for the client.

        `first_wait` is the number of seconds until the first slot; `current` and `previous` are the counts of the
        windows. The result is at most one window longer than `first_wait`. Clients for whom that is too short share the
        last time, and are not remembered.
        """
        times = self._times.pop(key, deque())
        while times and times[0] <= now_ms:
            times.popleft()
        max_wait = first_wait + math.ceil(self._window_ms / 1000)
        while times and times[-1] > now_ms + 1000 * max_wait:  # The clock of Redis was set back.
            times.pop()
        wait = max(first_wait, math.ceil((times[-1] - now_ms) / 1000)) if times else first_wait
        if wait < max_wait:
            window = now_ms // self._window_ms
            counts = Counter(time // self._window_ms for time in times)
            counts.update({window: current, window - 1: previous})
            slot = self._find_slot(now_ms + 1000 * wait, counts)
            wait = min(max(wait, math.floor((slot - now_ms) / 1000) + 1), max_wait)
        if wait < max_wait:
            times.append(now_ms + 1000 * wait)
        self._times[key] = times
        if len(self._times) > MAX_KEYS:
            self._times.popitem(last=False)
        return wait

    def _find_slot(self, start_ms: int, counts: Counter[int]) -> float:
        """Return a time after which a request is allowed, in the window of `start_ms` or a later one.

        `counts` has the requests of each window, with the reserved times.
        """
        window = start_ms // self._window_ms
        while counts[window] >= self._limit:
            window += 1
        # The highest weight of the previous window at which a request is allowed.
        weight = (self._limit - counts[window]) / max(counts[window - 1], 1)
        return (window + max(1 - weight, 0)) * self._window_ms
