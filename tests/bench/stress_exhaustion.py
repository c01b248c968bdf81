"""What requests get while all connections to PostgreSQL wait for a lock, and how the API recovers."""

import http.client
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import psycopg

from tests.bench.clients import Load, Result, request
from tests.bench.dataset import USERS, user_id
from tests.bench.stress_site import Site
from tests.tokens import token
from tests.waiting import wait_until

CROWD = 1500  # requests at once, while all connections to PostgreSQL are busy
LOCKED_SECONDS = 7


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
