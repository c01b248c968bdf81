"""Throughput and latency of reads, alone and with other load in the background."""

import socket
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext

from tests import images
from tests.bench.contenders import read_cpu_seconds
from tests.bench.dataset import user_id
from tests.bench.load_generator import Load, Result, build_request
from tests.bench.stress_target import SEARCH, SEND, Target
from tests.bench.workloads import build_requests
from tests.tokens import token
from tests.waiting import wait_until

BACKGROUND_CONNECTIONS = 4  # of each kind of load
IDLE_CONNECTIONS, UNREAD_CONNECTIONS = 1000, 200


def build_uploads() -> list[bytes]:
    """Return uploads of images of 5 MB, each of another user."""
    sent = []
    for user in range(BACKGROUND_CONNECTIONS):
        photo = images.encode(images.draw_noise(2048, 2048, user), "JPEG", quality=93)
        image = images.pad(photo[: images.MAX_BYTES], images.MAX_BYTES)
        body = b'--x\r\nContent-Disposition: form-data; name="image"\r\n\r\n' + image + b"\r\n--x--\r\n"
        form, length = "multipart/form-data; boundary=x", str(len(body))
        path, session = "/api/profile/image", token(user_id(user))
        sent.append(build_request("POST", path, session, Content_Type=form, Content_Length=length) + body)
    return sent


@contextmanager
def open_sockets(target: Target, number: int, sent: bytes) -> Iterator[None]:
    """Open connections, each with a response of which only the first byte is read."""
    with ExitStack() as stack:
        for _ in range(number):
            connection = stack.enter_context(socket.socket())
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.connect(("127.0.0.1", target.api.port))
            connection.sendall(sent)
            connection.recv(1)
        yield


class Reads:
    """Measures rounds, and has the figures of all of them."""

    def __init__(self, target: Target, seconds: float) -> None:
        self._target, self._seconds = target, seconds
        self._rows: dict[str, list[tuple[float, ...]]] = defaultdict(list)
        self._ratios: dict[str, list[float]] = defaultdict(list)
        self._notes: dict[str, str] = {}
        self._images = build_uploads()

    def background_loads(self, seed: int) -> dict[str, Load]:
        """Return the loads in the background of reads, which last a little longer."""
        kinds = {
            "writers": (build_requests(self._target.data, SEND, seed), {201}),
            "uploads": (self._images, {200, 503}),
            "searches": (build_requests(self._target.data, SEARCH, seed), {200}),
        }
        seconds = self._seconds + 1
        return {
            name: Load(self._target.api.port, sent, BACKGROUND_CONNECTIONS, seconds, statuses=frozenset(statuses))
            for name, (sent, statuses) in kinds.items()
        }

    def measure_round(self, seed: int) -> None:
        """Measure reads under each condition once, and alone before and after it."""
        background_loads = self.background_loads(seed)
        healthz = build_request("GET", "/healthz", "")
        conditions: dict[str, tuple[AbstractContextManager[None], list[Load]]] = {
            **{f"beside {name}": (nullcontext(), [load]) for name, load in background_loads.items()},
            "beside all of these": (nullcontext(), list(background_loads.values())),
            f"beside {IDLE_CONNECTIONS:,} idle connections": (
                open_sockets(self._target, IDLE_CONNECTIONS, healthz),
                [],
            ),
            f"beside {UNREAD_CONNECTIONS} unread responses": (
                open_sockets(self._target, UNREAD_CONNECTIONS, self._target.page),
                [],
            ),
        }
        before = self._measure("alone", seed, [])
        for name, (condition, loads) in conditions.items():
            memory = self._target.rss
            with condition:
                if not loads:
                    self._notes[name] = self._describe_memory(memory)
                beside = self._measure(name, seed, loads)
            after = self._measure("alone", seed, [])
            self._ratios[name].append(2 * beside / (before + after))
            before = after

    def _measure(self, name: str, seed: int, loads: list[Load]) -> float:
        """Measure reads; return the 99th percentile of the latency."""
        pending = [self._target.start_load(load) for load in loads]
        result = self._target.start_load(self._target.reads(seed, self._seconds)).result()
        rates = [accepted_rate(done.result()) for done in pending]
        figures = (result.rate, result.percentile(50), result.percentile(99))
        self._rows[name].append((*figures, *rates))
        print(f"{name}: {result.rate:,.0f} a second", file=sys.stderr, flush=True)
        return figures[2]

    def _describe_memory(self, memory: float) -> str:
        wait_until(lambda: self._target.connections("used") == 0)
        more, cpu = self._target.rss - memory, self._idle_cpu()
        return f"{more:.0f} MiB more, {cpu:.1%} of a core, no connection to PostgreSQL in use"

    def _idle_cpu(self) -> float:
        begun, cpu = time.monotonic(), read_cpu_seconds(self._target.process)
        time.sleep(1)
        return (read_cpu_seconds(self._target.process) - cpu) / (time.monotonic() - begun)

    def print(self) -> None:
        """Print the table."""
        print(f"{'reads':36} {'a second':>8} {'p50, ms':>8} {'p99, ms':>8} {'p99 ratio':>9}"
              "  background requests a second (writers, uploads, searches); notes")  # fmt: skip
        for name, rows in self._rows.items():
            rate, p50, p99, *others = (statistics.median(column) for column in zip(*rows, strict=True))
            ratio = statistics.median(self._ratios.get(name, [1]))
            rates = ", ".join(f"{other:,.1f}" for other in others)
            print(f"{name:36} {rate:8,.0f} {p50:8.2f} {p99:8.2f} {ratio:9.2f}  {rates}{self._notes.get(name, '')}")


def accepted_rate(result: Result) -> float:
    """Return the requests a second that were not rejected with 503, as uploads are that would wait too long."""
    return sum(number for status, number in result.statuses.items() if status < 300) / result.seconds
