"""An HTTP load generator: sends requests on many connections at once, and measures the rate and latency of responses.

Each connection is kept alive, and sends its next request after the response to the previous one (a closed loop). It
sends prepared bytes, and parses only the status and the length of a response, so that the server is measured and not
the load generator.

    load = Load(port, [build_request("GET", "/api/chats", token("ada"))], connections=16, seconds=5)
    result = run_load(load)  # in this process
    with load_processes() as start_load:  # in another process, in the background
        result = start_load(load).result()
"""

import asyncio
import itertools
import json
import multiprocessing
import signal
import statistics
import time
from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import uvloop

RESPONSE_TIMEOUT_SECONDS = 60
END_OF_HEAD = b"\r\n\r\n"
CONTENT_LENGTH = b"\r\ncontent-length: "


@dataclass
class Load:
    """Requests, which are sent in this order and repeated from the beginning, for a duration or up to a count."""

    port: int
    requests: Sequence[bytes]
    connections: int = 16
    seconds: float = 5
    count: int | None = None  # the total number of requests, in place of `seconds`
    statuses: frozenset[int] = frozenset({200})  # any other aborts the load


@dataclass
class Result:
    """The measurements of a load. `cpu` is the CPU time of the load generator itself, in seconds."""

    seconds: float
    cpu: float
    latencies: "array[float]" = field(repr=False)  # in seconds, in the order of the responses
    statuses: Counter[int]

    @property
    def requests(self) -> int:
        """The number of responses."""
        return len(self.latencies)

    @property
    def rate(self) -> float:
        """Responses a second."""
        return self.requests / self.seconds

    def percentile(self, percent: int) -> float:
        """Return a percentile of the latencies in milliseconds."""
        return percentile(self.latencies, percent)


StartLoad = Callable[[Load], Future[Result]]


def percentile(seconds: Sequence[float], percent: int) -> float:
    """Return a percentile of latencies in seconds, converted to milliseconds."""
    return 1000 * statistics.quantiles(seconds, n=100)[percent - 1]


class UnexpectedResponseError(Exception):
    """A missing or malformed response, or one with an unexpected status."""


def build_request(method: str, path: str, token: str, body: dict[str, Any] | None = None, **headers: str) -> bytes:
    """Return the bytes of a request with a session token."""
    content = b"" if body is None else json.dumps(body, ensure_ascii=False).encode()
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", f"Authorization: Bearer {token}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    if body is not None:
        lines += ["Content-Type: application/json", f"Content-Length: {len(content)}"]
    return "\r\n".join(lines).encode() + END_OF_HEAD + content


class LoadRun:
    """The state that all connections of a load share."""

    def __init__(self, load: Load) -> None:
        self.load = load
        self.next_request = itertools.cycle(load.requests).__next__
        self.latencies: array[float] = array("d")
        self.statuses: Counter[int] = Counter()
        self.sent = 0
        self.deadline = float("inf")
        self.active = 0
        self.completed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def is_done(self, now: float) -> bool:
        """Whether no further request is to be sent."""
        return now >= self.deadline or self.sent == self.load.count

    def finish_connection(self) -> None:
        """Record that a connection has received its last response."""
        self.active -= 1
        if not self.active and not self.completed.done():
            self.completed.set_result(None)

    def fail(self, reason: str) -> None:
        """Abort the load on all connections."""
        if not self.completed.done():
            self.completed.set_exception(UnexpectedResponseError(reason))

    async def wait(self) -> None:
        """Wait for the last response of each connection. Raises UnexpectedResponseError, also after a timeout."""
        received = -1
        while not self.completed.done() and len(self.latencies) > received:
            received = len(self.latencies)
            await asyncio.wait([self.completed], timeout=RESPONSE_TIMEOUT_SECONDS)
        self.fail(f"{self.active} requests without a response")
        self.completed.result()


class LoadConnection(asyncio.Protocol):
    """A kept-alive HTTP/1.1 connection."""

    def __init__(self, run: LoadRun) -> None:
        self._run = run
        self._latencies, self._statuses = run.latencies, run.statuses
        self._head = b""  # of a response, as far as it was received
        self._remaining = 0  # bytes of the body that are still to be received
        self._sent_at = 0.0
        self._is_idle = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def send(self, now: float) -> None:
        """Send the next request, unless the load is done."""
        run = self._run
        if run.is_done(now):
            self._is_idle = True
            run.finish_connection()
            return
        self._is_idle = False
        run.sent += 1
        self._sent_at = now
        self._transport.write(run.next_request())

    def data_received(self, data: bytes) -> None:
        if self._remaining:
            self._remaining -= len(data)
        else:
            head = self._head = self._head + data
            end = head.find(END_OF_HEAD)
            if end < 0:
                return
            self._remaining = self._parse_length(head[: end + 2].lower()) - (len(head) - end - 4)
            self._record_status(int(head[9:12]))
        if self._remaining < 0:
            self._run.fail(f"more than one response to a request: {self._head!r}")
        elif not self._remaining:
            self._head = b""
            now = time.perf_counter()
            self._latencies.append(now - self._sent_at)
            self.send(now)

    def _parse_length(self, head: bytes) -> int:
        at = head.find(CONTENT_LENGTH)
        if at >= 0:
            return int(head[at + len(CONTENT_LENGTH) : head.index(b"\r\n", at + 2)])
        if b"\r\ntransfer-encoding:" in head:
            self._run.fail(f"a response without a Content-Length: {head!r}")
        return 0

    def _record_status(self, status: int) -> None:
        self._statuses[status] += 1
        if status not in self._run.load.statuses:
            self._run.fail(f"status {status}: {self._head.decode(errors='replace')}")

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._is_idle:
            self._run.fail(f"the server closed a connection before its response: {exc}")

    def close(self) -> None:
        self._is_idle = True
        self._transport.abort()


async def _run_load(load: Load) -> Result:
    run = LoadRun(load)
    loop = asyncio.get_running_loop()
    connections: list[LoadConnection] = []
    try:
        for _ in range(load.connections):
            _, connection = await loop.create_connection(lambda: LoadConnection(run), "127.0.0.1", load.port)
            connections.append(connection)
        run.active = len(connections)
        begun, cpu = time.perf_counter(), time.process_time()
        if load.count is None:
            run.deadline = begun + load.seconds
        for connection in connections:
            connection.send(time.perf_counter())
        await run.wait()
        return Result(time.perf_counter() - begun, time.process_time() - cpu, run.latencies, run.statuses)
    finally:
        for connection in connections:
            connection.close()


def run_load(load: Load) -> Result:
    """Run a load in this process. Raises UnexpectedResponseError."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_run_load(load))


@contextmanager
def load_processes(processes: int = 1) -> Iterator[StartLoad]:
    """Yield a function that runs a load in another process; each process runs one load at a time."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, context, signal.signal, (signal.SIGINT, signal.SIG_IGN)) as pool:
        yield lambda load: pool.submit(run_load, load)
