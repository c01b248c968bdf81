"""When rejected clients should return: each waiter of an address at the time of a slot of its own.

The sliding window frees its slots one after another. If all waiters of an address returned for the first of them, all
but one would be rejected again. The times are kept in the memory of each process, so waiters whose requests reach
different workers may get the same time.
"""

import math
from collections import Counter, OrderedDict, deque

MAX_WAITING_KEYS = 10_000  # whose waiters a process remembers; the least recently rejected are forgotten first


class Waiters:
    """The times, by key, at which clients were told to return, in Unix time in milliseconds and in order."""

    def __init__(self, limit: int, window_ms: int) -> None:
        self._limit, self._window_ms = limit, window_ms
        self._times: OrderedDict[str, deque[int]] = OrderedDict()

    def schedule(self, key: str, now_ms: int, first_wait: int, current: int, previous: int) -> int:
        """Return after how many whole seconds a client should return, and remember that time.

        `first_wait` is the number of seconds until the first slot; `current` and `previous` are the counts of the
        windows. The result is at most one window longer than `first_wait`. Clients for whom that is too short share the
        last time, and are not remembered.
        """
        times = self._times.pop(key, deque())
        while times and times[0] <= now_ms:
            times.popleft()
        last_wait = first_wait + math.ceil(self._window_ms / 1000)
        wait = max(first_wait, math.ceil((times[-1] - now_ms) / 1000)) if times else first_wait
        if wait < last_wait:
            window = now_ms // self._window_ms
            counts = Counter(time // self._window_ms for time in times)
            counts.update({window: current, window - 1: previous})
            slot = self._find_slot(now_ms + 1000 * wait, counts)
            wait = min(max(wait, math.floor((slot - now_ms) / 1000) + 1), last_wait)
        if wait < last_wait:
            times.append(now_ms + 1000 * wait)
        self._times[key] = times
        if len(self._times) > MAX_WAITING_KEYS:
            self._times.popitem(last=False)
        return wait

    def _find_slot(self, start_ms: int, counts: Counter[int]) -> float:
        """Return a time after which a request is allowed, in the window of `start_ms` or a later one.

        `counts` has the requests of each window, with those of the waiters.
        """
        window = start_ms // self._window_ms
        while counts[window] >= self._limit:
            window += 1
        weight = (self._limit - counts[window]) / max(counts[window - 1], 1)  # of the previous window, at the most
        return (window + max(1 - weight, 0)) * self._window_ms
