"""Responses while all connections to PostgreSQL wait for a lock, and the recovery of the API."""

import http.client
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import psycopg

from tests.bench.dataset import USERS, user_id
from tests.bench.load_generator import Load, Result, build_request
from tests.bench.stress_target import Target
from tests.tokens import token
from tests.waiting import wait_until

REQUESTS = 1500  # sent at once, while all connections to PostgreSQL are in use
LOCKED_SECONDS = 7


def poll_health(target: Target, is_running: Callable[[], bool]) -> list[float]:
    """Repeat GET /healthz; return the latencies in milliseconds."""
    connection = http.client.HTTPConnection("127.0.0.1", target.api.port, timeout=60)
    times = []
    while is_running():
        begun = time.perf_counter()
        connection.request("GET", "/healthz")
        connection.getresponse().read()
        times.append(1000 * (time.perf_counter() - begun))
        time.sleep(0.01)
    return times


def exhaust(target: Target) -> None:
    """Send more requests for a locked table than there are connections; print the responses and the recovery."""
    requests = [build_request("GET", "/api/chats", token(user_id(user))) for user in range(USERS)]
    load = Load(target.api.port, requests, REQUESTS, count=REQUESTS, statuses=frozenset({200, 503}))
    before = target.rss
    with ThreadPoolExecutor() as threads:
        with psycopg.connect(target.data.postgres.url("parley")) as locker:
            locker.execute("lock table parley.chats in access exclusive mode")
            blocked = target.start_load(load)
            wait_until(lambda: target.connections("used") == target.connections("max"))
            begun = time.monotonic()
            times = threads.submit(poll_health, target, lambda: time.monotonic() < begun + LOCKED_SECONDS)
            one_more = threads.submit(measure_rejection, target)
            healthy, memory = times.result(), target.rss
            locker.rollback()
        result = blocked.result()
    unlocked = time.perf_counter()
    send_once(target, requests[0])
    recovered = time.perf_counter() - unlocked
    wait_until(lambda: target.connections("used") == 0)
    reads = target.start_load(target.reads(0, 2)).result()
    print(
        f"{REQUESTS} requests at once for a table locked for {LOCKED_SECONDS} s,"
        f" {target.connections('max'):.0f} connections"
    )
    print(f"responses: {dict(result.statuses)}, after {format_latencies(result)}; {memory - before:.0f} MiB more")
    print(f"one more, while no connection was free: {one_more.result()}")
    print(f"GET /healthz meanwhile: at most {max(healthy):.0f} ms, median {statistics.median(healthy):.1f} ms")
    print(f"afterwards: the same request takes {1000 * recovered:.0f} ms, no connection is in use;"
          f" {reads.rate:,.0f} reads a second, p99 {reads.percentile(99):.2f} ms")  # fmt: skip


def format_latencies(result: Result) -> str:
    """Format percentiles of the latencies, in seconds."""
    percents = (1, 25, 50, 75, 99)
    return (
        ", ".join(f"{result.percentile(percent) / 1000:.2f}" for percent in percents) + f" s (percentiles {percents})"
    )


def measure_rejection(target: Target) -> str:
    """Send a request while all connections are in use; describe the response and its latency."""
    connection = http.client.HTTPConnection("127.0.0.1", target.api.port, timeout=60)
    begun = time.perf_counter()
    connection.request("GET", "/api/chats", headers={"Authorization": f"Bearer {token(user_id(0))}"})
    response = connection.getresponse()
    response.read()
    seconds = time.perf_counter() - begun
    return f"{response.status}, Retry-After: {response.headers['Retry-After']}, after {seconds:.2f} s"


def send_once(target: Target, sent: bytes) -> None:
    """Send a request. Raises UnexpectedResponseError unless the status is 200."""
    target.start_load(Load(target.api.port, [sent], 1, count=1)).result()
