"""Redis away, hanging, answering errors: requests go on, limited by the process, until it counts again."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
import redis

from api.dev.valkey import Valkey
from api.ratelimit.limiter import LOCAL_SECONDS, REDIS_SECONDS
from tests.api.support import new_address, unlimited
from tests.support import Api, long_window, running, wait_until

AWAY = "Redis is away, this process limits by itself"
BACK = "Redis is back"


@pytest.fixture(scope="module")
def own(directory: Path) -> Iterator[Valkey]:
    """A Valkey that has been started once, and so has a port, but does not run."""
    server = Valkey(directory / "valkey-away")
    with server:
        pass
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="module")
def api(new_api: Callable[..., Api], shared_database: str, own: Valkey) -> Iterator[Api]:
    """An API that has started without its Redis, which came then."""
    with running(new_api(shared_database, REDIS_URL=own.url(), RATE_LIMIT_WINDOW=long_window())) as api:
        assert_limited(api)
        own.start()
        yield api


@pytest.fixture(autouse=True)
def redis_counts(api: Api, own: Valkey) -> None:
    """Each test begins with a Redis that counts, whatever was before."""
    wait_until(lambda: is_counted(api, own))


def is_counted(api: Api, own: Valkey) -> bool:
    """Whether the count of a request arrives in Redis."""
    address = new_address()
    with unlimited(api) as client:
        assert client.get("/api/nope").status_code == 404
    with api.client(**{"X-Forwarded-For": address}) as client:
        assert client.get("/api/nope").status_code == 404
    return bool(counts_of(own, address))


def counts_of(own: Valkey, address: str) -> list[str]:
    with redis.Redis.from_url(own.url(), decode_responses=True) as client:
        return [key for key in client.keys("*") if address.removesuffix("1") in key]


def assert_limited(api: Api) -> None:
    with api.client() as client:
        assert [client.get("/api/chats").status_code for _ in range(12)] == [200] * 10 + [429] * 2


def seconds_of(client: httpx.Client) -> float:
    before = time.monotonic()
    assert client.get("/api/nope").status_code == 404
    return time.monotonic() - before


def news(api: Api, before: int) -> str:
    """What the log says since it had that size."""
    return api.log.read_text()[before:]


def test_an_api_that_started_without_redis_counts_there_when_it_has_come(api: Api, own: Valkey) -> None:
    assert AWAY in api.log.read_text()
    assert is_counted(api, own)


def test_while_redis_is_away_each_process_limits_by_itself(api: Api, own: Valkey) -> None:
    log = len(api.log.read_text())
    own.kill()
    assert_limited(api)
    assert_limited(api)
    wait_until(lambda: AWAY in news(api, log))
    own.start()
    wait_until(lambda: is_counted(api, own))
    assert_limited(api)
    said = news(api, log)
    assert (said.count(AWAY), said.count(BACK)) == (1, 1)
    assert "Traceback" not in said


def test_a_redis_that_hangs_costs_one_second_once_and_does_not_hold_up_the_end(
    new_api: Callable[..., Api], shared_database: str, own: Valkey
) -> None:
    api = new_api(shared_database, REDIS_URL=own.url(), RATE_LIMIT_WINDOW=long_window())
    with running(api), unlimited(api) as client:
        assert own.child is not None
        assert api.child is not None
        os.kill(own.child.pid, signal.SIGSTOP)
        try:
            assert seconds_of(client) < 1.5
            begin, slowest = time.monotonic(), 0.0
            while time.monotonic() - begin < LOCAL_SECONDS + REDIS_SECONDS / 2:  # then it looks whether Redis is back
                slowest = max(slowest, seconds_of(client))
            assert slowest < REDIS_SECONDS / 2
            os.kill(api.child.pid, signal.SIGTERM)
            wait_until(lambda: api.child is not None and api.child.exit_code is not None, seconds=5)
            assert api.child.exit_code == 0
        finally:
            os.kill(own.child.pid, signal.SIGCONT)


def test_a_key_of_another_type_is_no_error_to_the_client(api: Api, own: Valkey) -> None:
    address = new_address()
    with api.client(**{"X-Forwarded-For": address}) as client:
        assert client.get("/api/chats").status_code == 200
        (key,) = counts_of(own, address)
        with redis.Redis.from_url(own.url()) as server:
            server.delete(key)
            server.lpush(key, "x")
        assert [client.get("/api/chats").status_code for _ in range(11)] == [200] * 10 + [429]


def test_a_redis_that_answers_errors_is_as_good_as_away(api: Api, own: Valkey) -> None:
    log = len(api.log.read_text())
    with redis.Redis.from_url(own.url()) as client:
        client.config_set("maxmemory", 1)
        try:
            assert_limited(api)
            assert_limited(api)
        finally:
            client.config_set("maxmemory", 0)
    assert AWAY in news(api, log)
