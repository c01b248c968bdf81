"""Redis unavailable, hanging, or replying with errors: each process enforces the rate limit meanwhile."""

import os
import re
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
import redis

from api.dev.valkey import Valkey
from api.ratelimit.limiter import REDIS_RETRY_SECONDS
from api.ratelimit.redis_connection import REDIS_TIMEOUT_SECONDS
from tests.api.support import new_address, unlimited_client
from tests.api_process import Api, choose_long_window, running
from tests.waiting import wait_until

UNAVAILABLE_ERRORS = "Redis is unavailable; this process enforces the rate limit by its own counts"
AVAILABLE = "Redis is available again"


@pytest.fixture(scope="module")
def own_valkey(directory: Path) -> Iterator[Valkey]:
    """A Valkey that does not run, but has been started once and so has a port."""
    server = Valkey(directory / "valkey-outage")
    with server:
        pass
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="module")
def api(new_api: Callable[..., Api], shared_database: str, own_valkey: Valkey) -> Iterator[Api]:
    """An API that has started before its Redis."""
    with running(new_api(shared_database, REDIS_URL=own_valkey.url(), RATE_LIMIT_WINDOW=choose_long_window())) as api:
        assert_limited(api)
        own_valkey.start()
        yield api


@pytest.fixture(autouse=True)
def redis_counts(api: Api, own_valkey: Valkey) -> None:
    """Begin each test with a Redis that counts."""
    wait_until(lambda: is_counted(api, own_valkey))


def is_counted(api: Api, own_valkey: Valkey) -> bool:
    """Return whether Redis counts a request."""
    address = new_address()
    with unlimited_client(api) as client:
        assert client.get("/api/nope").status_code == 404
    with api.client(**{"X-Forwarded-For": address}) as client:
        assert client.get("/api/nope").status_code == 404
    return bool(get_counts(own_valkey, address))


def get_counts(own_valkey: Valkey, address: str) -> list[str]:
    with redis.Redis.from_url(own_valkey.url(), decode_responses=True) as client:
        return [key for key in client.keys("*") if address.removesuffix("1") in key]


def assert_limited(api: Api) -> None:
    with api.client() as client:
        assert [client.get("/api/chats").status_code for _ in range(12)] == [200] * 10 + [429] * 2


def measure_limit(client: httpx.Client) -> float:
    """Send a request; return the seconds that its rate limit took, by Server-Timing."""
    response = client.get("/api/nope")
    assert response.status_code == 404
    timings = dict(re.findall(r"(\w+);dur=([0-9.]+)", response.headers["server-timing"]))
    limit, total = float(timings["limit"]) / 1000, float(timings["total"]) / 1000
    assert total - limit < REDIS_TIMEOUT_SECONDS / 2
    return limit


def new_lines(api: Api, before: int) -> str:
    """Return what was logged since the log had that size."""
    return api.log.read_text()[before:]


def test_api_started_without_redis_uses_it_once_it_is_available(api: Api, own_valkey: Valkey) -> None:
    assert UNAVAILABLE_ERRORS in api.log.read_text()
    assert is_counted(api, own_valkey)


def test_without_redis_each_process_enforces_the_limit(api: Api, own_valkey: Valkey) -> None:
    log = len(api.log.read_text())
    own_valkey.kill()
    assert_limited(api)
    assert_limited(api)
    wait_until(lambda: UNAVAILABLE_ERRORS in new_lines(api, log))
    own_valkey.start()
    wait_until(lambda: is_counted(api, own_valkey))
    assert_limited(api)
    lines = new_lines(api, log)
    assert (lines.count(UNAVAILABLE_ERRORS), lines.count(AVAILABLE)) == (1, 1)
    assert "Traceback" not in lines


def test_hanging_redis_delays_one_request_and_not_the_shutdown(
    new_api: Callable[..., Api], shared_database: str, own_valkey: Valkey
) -> None:
    api = new_api(shared_database, REDIS_URL=own_valkey.url(), RATE_LIMIT_WINDOW=choose_long_window())
    with running(api), unlimited_client(api) as client:
        assert own_valkey.child is not None
        assert api.child is not None
        os.kill(own_valkey.child.pid, signal.SIGSTOP)
        try:
            assert REDIS_TIMEOUT_SECONDS / 2 < measure_limit(client) < 1.5
            started_at, slowest = time.monotonic(), 0.0
            while (
                time.monotonic() - started_at < REDIS_RETRY_SECONDS + REDIS_TIMEOUT_SECONDS / 2
            ):  # a probe of Redis is due in between
                slowest = max(slowest, measure_limit(client))
            assert slowest < REDIS_TIMEOUT_SECONDS / 2
            os.kill(api.child.pid, signal.SIGTERM)
            wait_until(lambda: api.child is not None and api.child.exit_code is not None, seconds=5)
            assert api.child.exit_code == 0
        finally:
            os.kill(own_valkey.child.pid, signal.SIGCONT)


def test_key_of_another_type_causes_no_error_response(api: Api, own_valkey: Valkey) -> None:
    address = new_address()
    with api.client(**{"X-Forwarded-For": address}) as client:
        assert client.get("/api/chats").status_code == 200
        (key,) = get_counts(own_valkey, address)
        with redis.Redis.from_url(own_valkey.url()) as server:
            server.delete(key)
            server.lpush(key, "x")
        assert [client.get("/api/chats").status_code for _ in range(11)] == [200] * 10 + [429]


def test_redis_that_replies_with_errors_counts_as_unavailable(api: Api, own_valkey: Valkey) -> None:
    log = len(api.log.read_text())
    with redis.Redis.from_url(own_valkey.url()) as client:
        client.config_set("maxmemory", 1)
        try:
            assert_limited(api)
            assert_limited(api)
        finally:
            client.config_set("maxmemory", 0)
    assert UNAVAILABLE_ERRORS in new_lines(api, log)
