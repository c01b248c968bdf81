"""What strain does to the API: to its memory, to reads beside what others do, and without a connection to PostgreSQL.
`python -m tests.bench.strain [--scale 0.1] [--seconds 4] [--rounds 3] [--requests 1000000]`

First so many mixed requests are sent while the memory of the API's process is looked at, and of its connections in
PostgreSQL, which stay the same; with `--requests 0` not.

Reads are pages of 50, as in tests.bench.throughput, by READERS clients, each of which waits for its answer: alone, then
while others send messages, upload images of 5 MB, search, all of this, hold connections without a word, or don't read
their answers of 3 MB. All take turns in each round. Figures are medians of the rounds, ratios those to the mean of the
reads alone before and after: clients, API and PostgreSQL share the machine's cores.

At last a table is locked, so that many requests at once wait for connections that are all in use, and one more asks.
"""

import argparse
import http.client
import socket
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass

import psutil
import psycopg

from api.__main__ import allow_connections
from api.dev.process import free_port
from api.dev.valkey import Valkey
from tests import images
from tests.bench.clients import Load, Result, Start, apart, request
from tests.bench.contenders import parley, seconds_of
from tests.bench.dataset import USERS, Data, loaded, user_id
from tests.bench.kinds import KINDS, requests
from tests.support import Api, call, new_chat, running, scraped, token, wait_until

PROCESSES = 4  # of clients
READERS = 4
OTHERS = 4  # clients of each kind
IDLE, UNREAD = 1000, 200  # connections
CROWD = 1500  # requests at once, while all connections to PostgreSQL are busy
LOCKED_SECONDS = 7
SAMPLES = 20
MIB = 1024 * 1024
PAGE, SEND, SEARCH = KINDS


@dataclass(frozen=True)
class Site:
    """What is strained."""

    data: Data
    api: Api
    start: Start
    process: psutil.Process
    page: bytes  # a request for 3 MB

    @property
    def rss(self) -> float:
        """MiB of memory of the API's process."""
        return self.process.memory_info().rss / MIB

    @property
    def backend(self) -> float:
        """MiB of the largest of the API's connections in PostgreSQL, without what all share."""
        with psycopg.connect(self.data.postgres.url("parley")) as dba:
            pids = dba.execute("select pid from pg_stat_activity where usename = 'app'").fetchall()
        memory = [psutil.Process(pid).memory_info() for (pid,) in pids]
        return max(each.rss - getattr(each, "shared", 0) for each in memory) / MIB

    def connections(self, state: str) -> float:
        """To PostgreSQL."""
        port = int(self.api.environment["METRICS_PORT"])
        return scraped(port, "parley_database_connections", server="primary", state=state)

    def reads(self, seed: int, seconds: float) -> Load:
        return Load(self.api.port, requests(self.data, PAGE, seed), READERS, seconds)


@contextmanager
def site(scale: float) -> Iterator[Site]:
    """The API with one worker, and the data."""
    with apart(PROCESSES) as start, loaded(scale) as data, Valkey(data.directory / "valkey") as valkey:
        with psycopg.connect(data.postgres.url("parley"), autocommit=True) as dba:
            chat = new_chat(dba, user_id(0))
            for _ in range(100):
                call(dba, user_id(0), "send_message", chat, {"content": "x" * 32_768})
        api = parley(data, valkey, workers=1)
        api.environment["METRICS_PORT"] = str(free_port())
        page = request("GET", f"/api/chats/{chat}/messages?limit=100", token(user_id(0)))
        with running(api):
            assert api.child
            yield Site(data, api, start, psutil.Process(api.child.pid), page)


def uploads() -> list[bytes]:
    """Images of 5 MB, each of another user."""
    sent = []
    for user in range(OTHERS):
        photo = images.encoded(images.noise(2048, 2048, user), "JPEG", quality=93)
        image = images.padded(photo[: images.MAX_BYTES], images.MAX_BYTES)
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


def health(site: Site, goes_on: Callable[[], bool]) -> list[float]:
    """Milliseconds that GET /healthz took, again and again."""
    connection = http.client.HTTPConnection("127.0.0.1", site.api.port, timeout=60)
    times = []
    while goes_on():
        begun = time.perf_counter()
        connection.request("GET", "/healthz")
        connection.getresponse().read()
        times.append(1000 * (time.perf_counter() - begun))
        time.sleep(0.01)
    return times


def exhaust(site: Site) -> None:
    """Asks for what is locked, more often than there are connections; prints what came of it, and what comes after."""
    asked = [request("GET", "/api/chats", token(user_id(user))) for user in range(USERS)]
    load = Load(site.api.port, asked, CROWD, count=CROWD, statuses=frozenset({200, 503}))
    before = site.rss
    with ThreadPoolExecutor() as threads:
        with psycopg.connect(site.data.postgres.url("parley")) as locker:
            locker.execute("lock table parley.chats in access exclusive mode")
            crowd = site.start(load)
            wait_until(lambda: site.connections("used") == site.connections("max"))
            begun = time.monotonic()
            times = threads.submit(health, site, lambda: time.monotonic() < begun + LOCKED_SECONDS)
            one_more = threads.submit(refusal, site)
            healthy, memory = times.result(), site.rss
            locker.rollback()
        result = crowd.result()
    unlocked = time.perf_counter()
    ask_once(site, asked[0])
    recovered = time.perf_counter() - unlocked
    wait_until(lambda: site.connections("used") == 0)
    reads = site.start(site.reads(0, 2)).result()
    print(
        f"{CROWD} requests at once for what is locked for {LOCKED_SECONDS} s, {site.connections('max'):.0f} connections"
    )
    print(f"answers: {dict(result.statuses)}, after {spread(result)}; {memory - before:.0f} MiB more")
    print(f"one more, when no connection was free: {one_more.result()}")
    print(f"GET /healthz meanwhile: at most {max(healthy):.0f} ms, median {statistics.median(healthy):.1f} ms")
    print(f"afterwards: the same is answered within {1000 * recovered:.0f} ms, no connection is used;"
          f" {reads.rate:,.0f} reads a second, p99 {reads.percentile(99):.2f} ms")  # fmt: skip


def spread(result: Result) -> str:
    """Of latencies, in seconds."""
    marks = (1, 25, 50, 75, 99)
    return ", ".join(f"{result.percentile(mark) / 1000:.2f}" for mark in marks) + f" s ({marks} of 100)"


def refusal(site: Site) -> str:
    """What a request is told that finds all connections in use, and when."""
    connection = http.client.HTTPConnection("127.0.0.1", site.api.port, timeout=60)
    begun = time.perf_counter()
    connection.request("GET", "/api/chats", headers={"Authorization": f"Bearer {token(user_id(0))}"})
    response = connection.getresponse()
    response.read()
    seconds = time.perf_counter() - begun
    return f"{response.status}, Retry-After: {response.headers['Retry-After']}, after {seconds:.2f} s"


def ask_once(site: Site, sent: bytes) -> None:
    """Raises if it is not answered with 200."""
    site.start(Load(site.api.port, [sent], 1, count=1)).result()


def store_response(site: Site, number: int) -> None:
    """Sends requests of all kinds; prints the memory after each part, and how it grew in the second half."""
    each = [requests(site.data, kind, seed=1) for kind in KINDS]
    mixed = [one for pages, send, search in zip(*each, strict=True) for one in (pages, pages, send, pages, search)]
    samples = [(0.0, site.rss, site.backend)]
    for part in range(1, SAMPLES + 1):
        count = number // SAMPLES
        result = site.start(Load(site.api.port, mixed, 16, count=count, statuses=frozenset({200, 201}))).result()
        samples.append((part * count / 100_000, site.rss, site.backend))
        _, api, backend = samples[-1]
        print(f"{part * count:10,} requests: API {api:7.1f} MiB, largest connection in PostgreSQL {backend:7.1f} MiB"
              f" ({result.rate:,.0f} a second)", flush=True)  # fmt: skip
    sent, *memory = zip(*samples[SAMPLES // 2 :], strict=True)
    api, backend = (statistics.linear_regression(sent, grown).slope for grown in memory)
    print(f"growth in the second half, in 100,000 requests: API {api:.2f} MiB, connection {backend:.2f} MiB")


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", type=float, default=0.1)
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--requests", type=int, default=1_000_000)
    arguments = parser.parse_args()
    allow_connections()
    with site(arguments.scale) as strained:
        if arguments.requests:  # first: what is free after a peak would hide that more is used
            store_response(strained, arguments.requests)
        reads = Reads(strained, arguments.seconds)
        for warm in [strained.start(strained.reads(0, 2)) for _ in range(PROCESSES)]:
            warm.result()
        for number in range(arguments.rounds):
            reads.measure_round(number)
        reads.print()
        exhaust(strained)


if __name__ == "__main__":
    main()
