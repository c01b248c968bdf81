"""Where the time of a request goes: what is under way in it notes its spans here.

Each request sets `current` anew, since a connection's requests are answered one after another in one task. A task that
is made during a request keeps that request's: one that works for others too is given a context of its own, or, where a
library makes it, outlives the request, which is then over.
"""

from contextvars import ContextVar
from time import perf_counter_ns

Span = tuple[str, int, int]  # its kind, and from when to when it took, in nanoseconds of perf_counter_ns()


class Timings:
    """The spans of one request, in the order of their ends."""

    __slots__ = ("begun", "is_over", "request_id", "spans")

    def __init__(self, request_id: str) -> None:
        self.request_id, self.begun = request_id, perf_counter_ns()
        self.spans: list[Span] = []
        self.is_over = False

    def server_timing(self, now: int) -> str:
        """The header Server-Timing, in milliseconds.

        To a tenth: finer than that, it would help those who guess at session tokens by how long a refusal takes.
        """
        header = ""
        for name, begun, ended in (*self.spans, ("total", self.begun, now)):
            tenths = (ended - begun) // 100_000
            header += f"{name};dur={tenths // 10}.{tenths % 10}, "
        return header[:-2]


current: ContextVar[Timings | None] = ContextVar("current", default=None)


class timed:  # noqa: N801 (it is used as a function)
    """Notes how long a block takes, whatever ends it, if a request is under way."""

    __slots__ = ("_begun", "_name")

    def __init__(self, name: str) -> None:
        self._name = name

    def __enter__(self) -> None:
        self._begun = perf_counter_ns()

    def __exit__(self, *_: object) -> None:
        if timings := current.get():
            timings.spans.append((self._name, self._begun, perf_counter_ns()))
