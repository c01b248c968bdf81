"""Hosts with wrong clocks: they share the windows of Redis, accept fresh tokens, and report the skew."""

import asyncio
import math
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
import redis

from api.dev.process import find_free_port
from api.dev.valkey import Valkey
from api.observability.clocks import ServerClock
from api.ratelimit.limiter import RateLimiter
from api.ratelimit.redis_connection import RedisConnection
from tests.api_process import Api, read_log, running, scrape
from tests.tokens import new_user, token
from tests.waiting import wait_until

SKEW = 300  # seconds
PROGRAM = """
import runpy, time
real_time, real_time_ns = time.time, time.time_ns
time.time, time.time_ns = lambda: real_time() + {skew}, lambda: real_time_ns() + {skew} * 10**9
runpy.run_module("api", run_name="__main__")
"""
# Shorter than the skew, so that each host's clock is in another window. Of these lengths, use the one that ends last.
WINDOW = max(range(100, SKEW), key=lambda seconds: seconds - time.time() % seconds)


@pytest.fixture(scope="module")
def own_valkey(directory: Path) -> Iterator[Valkey]:
    with Valkey(directory / "valkey-clocks") as valkey:
        yield valkey


@pytest.fixture(scope="module")
def apis(
    directory: Path, new_api: Callable[..., Api], shared_database: str, own_valkey: Valkey
) -> Iterator[dict[int, Api]]:
    """APIs on hosts whose clocks are behind, right and ahead, by skew."""
    with ExitStack() as stack:
        apis = {}
        for skew in (-SKEW, 0, SKEW):
            options = {"RATE_LIMIT_WINDOW": str(WINDOW), "METRICS_PORT": str(find_free_port())}
            url = new_api(shared_database).environment["DATABASE_URL"]
            api = Api(directory, url, own_valkey.url(), **options)
            api.command = [sys.executable, "-W", "error", "-c", PROGRAM.format(skew=skew)]
            apis[skew] = stack.enter_context(running(api))
        yield apis


def request_in_turns(apis: dict[int, Api], requests: int) -> list[httpx.Response]:
    """Send requests of one client to the APIs in turns."""
    headers = next(iter(apis.values())).headers()
    in_turns = [*apis.values()] * requests
    return [httpx.get(f"{api.url}/api/chats", headers=headers) for api in in_turns[:requests]]


def test_hosts_with_wrong_clocks_share_one_budget(apis: dict[int, Api]) -> None:
    window_end = (time.time_ns() // 1_000_000 // (WINDOW * 1000) + 1) * WINDOW * 1000
    responses = request_in_turns(apis, 15)
    assert [response.status_code for response in responses] == [200] * 10 + [429] * 5
    assert [int(response.headers["X-RateLimit-Remaining"]) for response in responses] == [*range(9, -1, -1)] + [0] * 5
    assert {int(response.headers["X-RateLimit-Reset"]) for response in responses} == {window_end}
    assert all(int(response.headers["Retry-After"]) <= 3 * WINDOW for response in responses[10:])


def test_fresh_token_is_accepted_on_a_host_that_is_behind(apis: dict[int, Api]) -> None:
    issued_at = int(time.time())
    headers = {"Authorization": f"Bearer {token(new_user(), iat=issued_at, exp=issued_at + 3600)}"}
    for api in apis.values():
        response = httpx.get(f"{api.url}/api/profile", headers=api.headers() | headers)
        assert response.status_code == 200, response.text


def test_skew_is_logged_at_the_start_and_a_metric(apis: dict[int, Api]) -> None:
    for skew, api in apis.items():
        warnings = [line["event"] for line in read_log(api.log) if line["event"].startswith("The clock of ")]
        direction = "behind" if skew > 0 else "ahead of"
        advice = "synchronize the clocks of all hosts by NTP"
        assert len(warnings) == (2 if skew else 0)
        for server, name in {"redis": "Redis", "database": "the database"}.items():
            measured = scrape(int(api.environment["METRICS_PORT"]), "parley_clock_skew_seconds", server=server)
            assert measured == pytest.approx(-skew, abs=1)
            if skew:
                assert f"The clock of {name} is {SKEW}.0 s {direction} this host's: {advice}" in warnings


def test_without_redis_windows_follow_its_last_known_time(apis: dict[int, Api], own_valkey: Valkey) -> None:
    before = {response.headers["X-RateLimit-Reset"] for response in request_in_turns(apis, 3)}
    own_valkey.kill()
    try:
        after = {response.headers["X-RateLimit-Reset"] for response in request_in_turns(apis, 3)}
    finally:
        own_valkey.start()
    assert before == after
    wait_until(
        lambda: (
            request_in_turns(apis, 3)
            and not any(
                scrape(int(api.environment["METRICS_PORT"]), "parley_rate_limit_fallback") for api in apis.values()
            )
        )
    )


def test_clock_that_jumps_while_redis_is_away_gives_no_new_budget() -> None:
    async def count() -> int:
        redis_connection = RedisConnection(f"redis://127.0.0.1:{find_free_port()}", 5)
        limiter = RateLimiter(redis_connection, 10, WINDOW * 1000, "test")
        allowed = 0
        for n in range(30):
            allowed += (await limiter.consume("key")).allowed
            # As a probe does, of a server that was restarted or that is another one.
            redis_connection.clock.observe(time.time() + SKEW * (n % 2), time.monotonic(), time.monotonic())
        await limiter.close()
        return allowed

    assert asyncio.run(count()) == 10


def test_login_without_permission_for_time_is_limited_by_redis(own_valkey: Valkey) -> None:
    with redis.Redis.from_url(own_valkey.url()) as client:
        rules = {"enabled": True, "passwords": ["+limited"], "keys": ["*"]}
        client.acl_setuser("limited", **rules, commands=["+eval", "+get", "+incr", "+pexpire", "+select"])
        url = f"redis://limited:limited@127.0.0.1:{own_valkey.port}/0"

        async def count() -> tuple[str, bool]:
            limiter = RateLimiter(RedisConnection(url, 5), 10, 86_400_000, "test")
            decisions = [await limiter.consume(uuid4().hex) for _ in range(2)]
            is_known = not math.isnan(limiter._redis.clock.skew)
            await limiter.close()
            return decisions[-1].counted_by, is_known

        assert asyncio.run(count()) == ("redis", False)


def test_clock_is_estimated_from_responses() -> None:
    clock = ServerClock()
    assert math.isnan(clock.skew)
    assert clock.time() == pytest.approx(time.time(), abs=0.1)
    now, monotonic = time.time(), time.monotonic()
    for server_time, sent_at, received_at, skew in [
        (now, monotonic - 5, monotonic + 5, 0),  # a slow response proves no skew
        (now + 300, monotonic - 0.01, monotonic, 300),
        (now + 300, monotonic - 10, monotonic + 10, 300),
        (now + 280, monotonic - 10, monotonic + 10, 290),  # at least by this much the clock was set back
        (now - 300, monotonic, monotonic, -300),
    ]:
        clock.observe(server_time, sent_at, received_at)
        assert clock.skew == pytest.approx(skew, abs=0.5)
        assert clock.time() - time.time() == pytest.approx(skew, abs=0.5)
