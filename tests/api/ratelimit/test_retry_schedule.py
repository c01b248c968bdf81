"""Retry-After: each client of an address gets a different time, and is allowed if it returns then."""

import asyncio
import math
from uuid import uuid4

import pytest
import redis
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from api.dev.valkey import Valkey
from api.ratelimit.limiter import Decision
from api.ratelimit.retry_schedule import MAX_KEYS, RetrySchedule
from tests.api.ratelimit.test_limiter import NOON_MS, WINDOW_MS, consume_all, get_keys, open_limiter


@pytest.fixture(scope="module")
def redis_url(valkey: Valkey) -> str:
    return valkey.url()


def retry_after(decisions: list[Decision]) -> list[int]:
    """Return the seconds of the rejected requests."""
    return [decision.retry_after for decision in decisions if not decision.allowed]


def test_clients_get_one_slot_each_up_to_one_more_window(redis_url: str) -> None:
    decisions = consume_all(redis_url, [NOON_MS] * 25)
    assert [decision.allowed for decision in decisions] == [True] * 10 + [False] * 15
    assert retry_after(decisions) == [*range(11, 21), 21, 21, 21, 21, 21]
    assert {decision.wait_seconds for decision in decisions[10:]} == {11}
    assert {decision.headers["RateLimit"] for decision in decisions[10:]} == {'"default";r=0;t=11'}
    assert [decision.headers["Retry-After"] for decision in decisions[10:12]] == ["11", "12"]
    assert {decision.retry_after for decision in decisions[:10]} == {0}


def test_clients_that_have_returned_no_longer_count(redis_url: str) -> None:
    times = [NOON_MS] * 12 + [NOON_MS + 11_000, NOON_MS + 12_000, *[NOON_MS + 12_001] * 3]
    decisions = consume_all(redis_url, times)
    assert retry_after(decisions) == [11, 12, 1, 2]
    assert [decision.allowed for decision in decisions[12:]] == [True, True, True, False, False]


def test_addresses_have_schedules_of_their_own(redis_url: str) -> None:
    for _ in range(2):
        assert retry_after(consume_all(redis_url, [NOON_MS] * 12)) == [11, 12]


@settings(max_examples=100)
@given(
    limit=st.integers(1, 12),
    window_ms=st.sampled_from([1000, 10_000, 60_000]),
    into_window=st.floats(0, 1, exclude_max=True),
    current=st.integers(0, 14),
    previous=st.integers(0, 14),
    steps=st.lists(st.integers(0, 400), min_size=1, max_size=40),
)
@example(limit=10, window_ms=10_000, into_window=0.45, current=8, previous=5, steps=[0] * 30)
@example(limit=10, window_ms=10_000, into_window=0.85, current=9, previous=10, steps=[0] * 30)
def test_clients_that_return_at_their_times_are_allowed(
    redis_url: str, limit: int, window_ms: int, into_window: float, current: int, previous: int, steps: list[int]
) -> None:
    address, now = uuid4().hex, NOON_MS + int(into_window * window_ms)
    with redis.Redis.from_url(redis_url) as client:
        for key, count in zip(get_keys(address, now, window_ms), (current, previous), strict=True):
            client.set(key, count, ex=600)

    async def reject_and_return() -> None:
        time = now
        returns: list[int] = []
        async with open_limiter(redis_url, limit, window_ms) as limiter:
            for step in steps:
                time += step
                decision = await limiter.consume(address, time)
                assume(not (decision.allowed and returns))  # others take the slots of the clients
                if decision.allowed:
                    continue
                last = decision.wait_seconds + math.ceil(window_ms / 1000)
                assert decision.wait_seconds <= decision.retry_after <= last
                if decision.retry_after < last:
                    returns.append(time + 1000 * decision.retry_after)
            assume(not returns or time < min(returns))
            for return_time in sorted(returns):
                assert (await limiter.consume(address, return_time)).allowed

    asyncio.run(reject_and_return())


def test_times_of_a_limited_number_of_addresses_are_remembered() -> None:
    schedule = RetrySchedule(10, WINDOW_MS)
    for n in range(MAX_KEYS + 1):
        assert schedule.assign(str(n), NOON_MS, 11, 10, 0) == 11
    assert schedule.assign("1", NOON_MS, 11, 10, 0) == 12
    assert schedule.assign("0", NOON_MS, 11, 10, 0) == 11  # forgotten
    assert schedule.assign("1", NOON_MS, 11, 10, 0) == 13
    assert schedule.assign("2", NOON_MS, 11, 10, 0) == 11  # forgotten for 0


def test_times_before_the_clock_was_set_back_are_forgotten() -> None:
    schedule = RetrySchedule(10, WINDOW_MS)
    waits = [schedule.assign("key", now_ms, 5, 10, 5) for now_ms in [NOON_MS] * 3 + [NOON_MS - 3_600_000] * 3]
    assert waits[:3] == waits[3:]
    assert max(waits) <= 5 + WINDOW_MS // 1000
