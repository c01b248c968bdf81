"""Throughput and latency of reads, alone and beside other load."""

import socket
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext

from tests import images
from tests.bench.clients import Load, Result, request
from tests.bench.contenders import seconds_of
from tests.bench.dataset import user_id
from tests.bench.stress_site import SEARCH, SEND, Site
from tests.bench.workloads import requests
from tests.tokens import token
from tests.waiting import wait_until

OTHERS = 4  # clients of each kind
IDLE, UNREAD = 1000, 200  # connections


def uploads() -> list[bytes]:
    """Images of 5 MB, each of another user."""
    sent = []
    for user in range(OTHERS):
        photo = images.encode(images.draw_noise(2048, 2048, user), "JPEG", quality=93)
        image = images.pad(photo[: images.MAX_BYTES], images.MAX_BYTES)
        body = b'--x\r\nContent-Disposition: form-data; name="image"\r\n\r\n' + image + b"\r\n--x--\r\n"
        form, length = "multipart/form-data; boundary=x", str(len(body))
        path, who = "/api/profile/image", token(user_id(user))
        sent.append(request("POST", path, who, Content_Type=form, Content_Length=length) + body)
    return sent


@contextmanager
def open_sockets(site: Site, number: int, sent: bytes) -> Iterator[None]:
    """Connections on which something was asked for, and no more than the first byte of the answer read."""
    with ExitStack() as stack:
        for _ in range(number):
            connection = stack.enter_context(socket.socket())
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.connect(("127.0.0.1", site.api.port))
            connection.sendall(sent)
            connection.recv(1)
        yield


class Reads:
    """The figures of all rounds."""

    def __init__(self, site: Site, seconds: float) -> None:
        self._site, self._seconds = site, seconds
        self._rows: dict[str, list[tuple[float, ...]]] = defaultdict(list)
        self._ratios: dict[str, list[float]] = defaultdict(list)
        self._notes: dict[str, str] = {}
        self._images = uploads()

    def others(self, seed: int) -> dict[str, Load]:
        """What goes on beside reads, a little longer."""
        kinds = {
            "writers": (requests(self._site.data, SEND, seed), {201}),
            "uploads": (self._images, {200, 503}),
            "searches": (requests(self._site.data, SEARCH, seed), {200}),
        }
        seconds = self._seconds + 1
        return {
            name: Load(self._site.api.port, sent, OTHERS, seconds, statuses=frozenset(statuses))
            for name, (sent, statuses) in kinds.items()
        }

    def measure_round(self, seed: int) -> None:
        """Each of the scenes, once, and the reads alone before and after it."""
        others = self.others(seed)
        healthz = request("GET", "/healthz", "")
        scenes: dict[str, tuple[AbstractContextManager[None], list[Load]]] = {
            **{f"beside {name}": (nullcontext(), [load]) for name, load in others.items()},
            "beside all of these": (nullcontext(), list(others.values())),
            f"beside {IDLE:,} idle connections": (open_sockets(self._site, IDLE, healthz), []),
            f"beside {UNREAD} unread answers": (open_sockets(self._site, UNREAD, self._site.page), []),
        }
        before = self._measure("alone", seed, [])
        for name, (surroundings, loads) in scenes.items():
            memory = self._site.rss
            with surroundings:
                if not loads:
                    self._notes[name] = self._note(memory)
                beside = self._measure(name, seed, loads)
            after = self._measure("alone", seed, [])
            self._ratios[name].append(2 * beside / (before + after))
            before = after

    def _measure(self, name: str, seed: int, loads: list[Load]) -> float:
        """The 99th percentile."""
        pending = [self._site.start(load) for load in loads]
        result = self._site.start(self._site.reads(seed, self._seconds)).result()
        rates = [accepted(done.result()) for done in pending]
        figures = (result.rate, result.percentile(50), result.percentile(99))
        self._rows[name].append((*figures, *rates))
        print(f"{name}: {result.rate:,.0f} a second", file=sys.stderr, flush=True)
        return figures[2]

    def _note(self, memory: float) -> str:
        wait_until(lambda: self._site.connections("used") == 0)
        more, cpu = self._site.rss - memory, self._idle_cpu()
        return f"{more:.0f} MiB more, {cpu:.1%} of a core, no connection to PostgreSQL used"

    def _idle_cpu(self) -> float:
        begun, cpu = time.monotonic(), seconds_of(self._site.process)
        time.sleep(1)
        return (seconds_of(self._site.process) - cpu) / (time.monotonic() - begun)

    def print(self) -> None:
        """The table."""
        print(f"{'reads':36} {'a second':>8} {'p50, ms':>8} {'p99, ms':>8} {'p99 ratio':>9}"
              "  others a second (writers, uploads, searches); notes")  # fmt: skip
        for name, rows in self._rows.items():
            rate, p50, p99, *others = (statistics.median(column) for column in zip(*rows, strict=True))
            ratio = statistics.median(self._ratios.get(name, [1]))
            rates = ", ".join(f"{other:,.1f}" for other in others)
            print(f"{name:36} {rate:8,.0f} {p50:8.2f} {p99:8.2f} {ratio:9.2f}  {rates}{self._notes.get(name, '')}")


def accepted(result: Result) -> float:
    """Requests a second that were not refused, as uploads are that would wait too long."""
    return sum(number for status, number in result.statuses.items() if status < 300) / result.seconds
