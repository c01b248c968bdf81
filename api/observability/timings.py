"""The timings of a request: the code that handles it records spans here.

Each request sets `current_timings`, because one task handles all requests of a connection in turn. A task that is
created during a request inherits its timings: a task that serves several requests must run in an empty context. Tasks
that libraries create may outlive the request, whose timings are then finished.
"""

from contextvars import ContextVar
from time import perf_counter_ns

Span = tuple[str, int, int]  # name, start and end, in nanoseconds of perf_counter_ns()


class Timings:
    """The spans of one request, in the order of their ends."""

    __slots__ = ("is_finished", "request_id", "spans", "start")

    def __init__(self, request_id: str) -> None:
        self.request_id, self.start = request_id, perf_counter_ns()
        self.spans: list[Span] = []
        self.is_finished = False

    def format_server_timing(self, now: int) -> str:
        """Return the value of the Server-Timing header, in milliseconds with one decimal.

        More decimals would help attackers who guess session tokens by the duration of rejections.
        """
        header = ""
        for name, start, end in (*self.spans, ("total", self.start, now)):
            tenths = (end - start) // 100_000
            header += f"{name};dur={tenths // 10}.{tenths % 10}, "
        return header[:-2]


current_timings: ContextVar[Timings | None] = ContextVar("current_timings", default=None)


class measure:  # noqa: N801 (a context manager that reads like a function)
    """Record the duration of a block as a span of the current request, if any, even if the block raises."""

    __slots__ = ("_name", "_start")

    def __init__(self, name: str) -> None:
        self._name = name

    def __enter__(self) -> None:
        self._start = perf_counter_ns()

    def __exit__(self, *_: object) -> None:
        if timings := current_timings.get():
            timings.spans.append((self._name, self._start, perf_counter_ns()))
