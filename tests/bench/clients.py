"""Many clients of an HTTP server at once, in a process of their own: how many answers a second, after how long.

Each client has one connection that it keeps, and sends its next request when it has the answer to the one before. It
sends finished bytes and reads of an answer no more than its status and length, so that what is measured is the server.

    load = Load(port, [request("GET", "/api/chats", token("ada"))], connections=16, seconds=5)
    result = measured(load)  # here
    with apart() as start:  # or beside what goes on here
        result = start(load).result()
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

SECONDS_FOR_AN_ANSWER = 60
END_OF_HEAD = b"\r\n\r\n"
LENGTH = b"\r\ncontent-length: "


@dataclass
class Load:
    """What clients send, in this order, from the beginning again after the last one: for some seconds, or so many."""

    port: int
    requests: Sequence[bytes]
    connections: int = 16
    seconds: float = 5
    count: int | None = None  # of requests in all, in place of seconds
    statuses: frozenset[int] = frozenset({200})  # any other ends it


@dataclass
class Result:
    """What came of it. `cpu` is the seconds that the clients themselves used."""

    seconds: float
    cpu: float
    latencies: "array[float]" = field(repr=False)  # in seconds, as they came
    statuses: Counter[int]

    @property
    def requests(self) -> int:
        """How many were answered."""
        return len(self.latencies)

    @property
    def rate(self) -> float:
        """Answers a second."""
        return self.requests / self.seconds

    def percentile(self, percent: int) -> float:
        """Milliseconds within which so many of a hundred were answered."""
        return percentile(self.latencies, percent)


Start = Callable[[Load], Future[Result]]


def percentile(seconds: Sequence[float], percent: int) -> float:
    """Milliseconds that so many of a hundred did not exceed."""
    return 1000 * statistics.quantiles(seconds, n=100)[percent - 1]


class UnexpectedError(Exception):
    """An answer that is none, or has another status than it should."""


def request(method: str, path: str, token: str, body: dict[str, Any] | None = None, **headers: str) -> bytes:
    """The bytes of a request of a user's."""
    content = b"" if body is None else json.dumps(body, ensure_ascii=False).encode()
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", f"Authorization: Bearer {token}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    if body is not None:
        lines += ["Content-Type: application/json", f"Content-Length: {len(content)}"]
    return "\r\n".join(lines).encode() + END_OF_HEAD + content


class Crowd:
    """All clients of a load."""

    def __init__(self, load: Load) -> None:
        self.load = load
        self.next_request = itertools.cycle(load.requests).__next__
        self.latencies: array[float] = array("d")
        self.statuses: Counter[int] = Counter()
        self.sent = 0
        self.deadline = float("inf")
        self.working = 0
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def is_over(self, now: float) -> bool:
        """Whether nothing more is to be sent."""
        return now >= self.deadline or self.sent == self.load.count

    def leave(self) -> None:
        """One client has its last answer."""
        self.working -= 1
        if not self.working and not self.ended.done():
            self.ended.set_result(None)

    def fail(self, why: str) -> None:
        """Ends it for all."""
        if not self.ended.done():
            self.ended.set_exception(UnexpectedError(why))

    async def wait(self) -> None:
        """Until all have their last answer; raises UnexpectedError, also when no answer comes any more."""
        answered = -1
        while not self.ended.done() and len(self.latencies) > answered:
            answered = len(self.latencies)
            await asyncio.wait([self.ended], timeout=SECONDS_FOR_AN_ANSWER)
        self.fail(f"{self.working} requests without an answer")
        self.ended.result()


class Client(asyncio.Protocol):
    """One connection."""

    def __init__(self, crowd: Crowd) -> None:
        self._crowd = crowd
        self._latencies, self._statuses = crowd.latencies, crowd.statuses
        self._head = b""  # of an answer, as far as it has come
        self._missing = 0  # bytes of a body
        self._sent_at = 0.0
        self._is_idle = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def send(self, now: float) -> None:
        """Sends the next request, or none."""
        crowd = self._crowd
        if crowd.is_over(now):
            self._is_idle = True
            crowd.leave()
            return
        self._is_idle = False
        crowd.sent += 1
        self._sent_at = now
        self._transport.write(crowd.next_request())

    def data_received(self, data: bytes) -> None:
        if self._missing:
            self._missing -= len(data)
        else:
            head = self._head = self._head + data
            end = head.find(END_OF_HEAD)
            if end < 0:
                return
            self._missing = self._length(head[: end + 2].lower()) - (len(head) - end - 4)
            self._note(int(head[9:12]))
        if self._missing < 0:
            self._crowd.fail(f"more than one answer to a request: {self._head!r}")
        elif not self._missing:
            self._head = b""
            now = time.perf_counter()
            self._latencies.append(now - self._sent_at)
            self.send(now)

    def _length(self, head: bytes) -> int:
        at = head.find(LENGTH)
        if at >= 0:
            return int(head[at + len(LENGTH) : head.index(b"\r\n", at + 2)])
        if b"\r\ntransfer-encoding:" in head:
            self._crowd.fail(f"an answer without a Content-Length: {head!r}")
        return 0

    def _note(self, status: int) -> None:
        self._statuses[status] += 1
        if status not in self._crowd.load.statuses:
            self._crowd.fail(f"status {status}: {self._head.decode(errors='replace')}")

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._is_idle:
            self._crowd.fail(f"the server closed a connection before its answer: {exc}")

    def close(self) -> None:
        self._is_idle = True
        self._transport.abort()


async def _measured(load: Load) -> Result:
    crowd = Crowd(load)
    loop = asyncio.get_running_loop()
    clients: list[Client] = []
    try:
        for _ in range(load.connections):
            _, client = await loop.create_connection(lambda: Client(crowd), "127.0.0.1", load.port)
            clients.append(client)
        crowd.working = len(clients)
        begun, cpu = time.perf_counter(), time.process_time()
        if load.count is None:
            crowd.deadline = begun + load.seconds
        for client in clients:
            client.send(time.perf_counter())
        await crowd.wait()
        return Result(time.perf_counter() - begun, time.process_time() - cpu, crowd.latencies, crowd.statuses)
    finally:
        for client in clients:
            client.close()


def measured(load: Load) -> Result:
    """Sends a load from this process; raises UnexpectedError."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_measured(load))


@contextmanager
def apart(processes: int = 1) -> Iterator[Start]:
    """Gives what sends a load from another process, each of which sends one at a time, and ends with this one."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, context, signal.signal, (signal.SIGINT, signal.SIG_IGN)) as pool:
        yield lambda load: pool.submit(measured, load)
