"""The arithmetic of the rate limiter, in Redis and in the process, compared with the documented formula in Python."""

import asyncio
import math
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any, cast
from uuid import uuid4

import http_sf
import pytest
import redis
from hypothesis import given, settings
from hypothesis import strategies as st

from api.dev.valkey import Valkey
from api.ratelimit.limiter import MAX_LOCAL_KEYS, Decision, LocalCounts, RateLimiter
from api.ratelimit.redis_connection import RedisConnection

NOON_MS = 1_795_435_200_000  # in milliseconds; a window of each length below starts then
WINDOW_MS = 10_000
WINDOW_LENGTHS_MS = st.sampled_from([1000, 10_000, 3_600_000])


class Model:
    """The documented formula for one address."""

    def __init__(self, limit: int, window_ms: int, counts: dict[int, int] | None = None) -> None:
        self.limit, self.window_ms, self.counts = limit, window_ms, counts or {}

    def used(self, now_ms: int) -> int:
        window, into_window = divmod(now_ms, self.window_ms)
        share = 1 - into_window / self.window_ms
        return math.floor(share * self.counts.get(window - 1, 0)) + self.counts.get(window, 0)

    def consume(self, now_ms: int) -> bool:
        if self.used(now_ms) >= self.limit:
            return False
        window = now_ms // self.window_ms
        self.counts[window] = self.counts.get(window, 0) + 1
        return True


@pytest.fixture(scope="module")
def redis_client(valkey: Valkey) -> Iterator["redis.Redis"]:
    """A client that inspects Redis."""
    with redis.Redis.from_url(valkey.url(), decode_responses=True) as client:
        yield client


@pytest.fixture(scope="module")
def redis_url(valkey: Valkey) -> str:
    return valkey.url()


@asynccontextmanager
async def open_limiter(
    redis_url: str, limit: int = 10, window_ms: int = WINDOW_MS, prefix: str = "test"
) -> AsyncIterator[RateLimiter]:
    limiter = RateLimiter(RedisConnection(redis_url, 5), limit, window_ms, prefix)
    try:
        yield limiter
    finally:
        await limiter.close()


def consume_all(
    redis_url: str, times: list[int], limit: int = 10, window_ms: int = WINDOW_MS, address: str = ""
) -> list[Decision]:
    """Return the decisions on one address's requests at these times, one after another."""

    async def consume() -> list[Decision]:
        async with open_limiter(redis_url, limit, window_ms) as limiter:
            return [await limiter.consume(address or uuid4().hex, time) for time in times]

    address = address or uuid4().hex
    return asyncio.run(consume())


def get_keys(address: str, now_ms: int, window_ms: int) -> tuple[str, str]:
    """Return the keys of the current and the previous window."""
    window = now_ms // window_ms
    return f"test:{address}:{window}", f"test:{address}:{window - 1}"


@settings(max_examples=40)
@given(limit=st.integers(1, 12), window_ms=WINDOW_LENGTHS_MS, steps=st.lists(st.floats(0, 1.2), max_size=40))
def test_redis_counts_by_the_formula(redis_url: str, limit: int, window_ms: int, steps: list[float]) -> None:
    times = get_times(steps, window_ms)
    model = Model(limit, window_ms)
    for time, decision in zip(times, consume_all(redis_url, times, limit, window_ms), strict=True):
        assert decision.allowed == model.consume(time)
        assert decision.remaining == max(0, limit - model.used(time))
        assert decision.window_end == (time // window_ms + 1) * window_ms


@settings(max_examples=40)
@given(limit=st.integers(1, 12), window_ms=WINDOW_LENGTHS_MS, steps=st.lists(st.floats(0, 1.2), max_size=60))
def test_process_without_redis_counts_by_the_formula(limit: int, window_ms: int, steps: list[float]) -> None:
    model, local = Model(limit, window_ms), LocalCounts()
    for time in get_times(steps, window_ms):
        window, into_window = divmod(time, window_ms)
        allowed, current, previous = local.consume("address", window, into_window / window_ms, limit)
        assert bool(allowed) == model.consume(time)
        assert current == model.counts.get(window, 0)
        assert previous == model.counts.get(window - 1, 0)


def get_times(steps: list[float], window_ms: int) -> list[int]:
    """Return times that begin at noon and advance by these shares of a window."""
    times = [NOON_MS]
    for step in steps:
        times.append(times[-1] + round(step**4 * window_ms))  # short steps mostly, so that windows fill
    return times


@settings(max_examples=40)
@given(
    limit=st.integers(1, 50),
    window_ms=WINDOW_LENGTHS_MS,
    into_window=st.floats(0, 1, exclude_max=True),
    current=st.integers(0, 150),
    previous=st.integers(0, 150),
)
def test_retry_after_is_the_shortest_sufficient_wait(
    redis_url: str,
    redis_client: "redis.Redis",
    limit: int,
    window_ms: int,
    into_window: float,
    current: int,
    previous: int,
) -> None:
    address, now = uuid4().hex, NOON_MS + int(into_window * window_ms)
    for key, count in zip(get_keys(address, now, window_ms), (current, previous), strict=True):
        redis_client.set(key, count, ex=60)
    decision, *_ = consume_all(redis_url, [now], limit, window_ms, address)
    window = now // window_ms
    model = Model(limit, window_ms, {window: current + decision.allowed, window - 1: previous})
    if decision.remaining:
        assert decision.wait_seconds == math.ceil((decision.window_end - now) / 1000)
        return
    assert model.used(now + 1000 * decision.wait_seconds) < limit
    assert decision.wait_seconds == 1 or model.used(now + 1000 * (decision.wait_seconds - 1) - 1) >= limit


def parse_item(field: str) -> tuple[str, Any]:
    """Return the single string in a structured field, and its parameters."""
    ((name, parameters),) = cast("Any", http_sf.parse(field.encode(), tltype="list"))
    assert isinstance(name, str)
    return name, parameters


@settings(max_examples=40)
@given(limit=st.integers(1, 12), window_ms=WINDOW_LENGTHS_MS, steps=st.lists(st.floats(0, 1.2), max_size=40))
def test_upstash_headers_and_draft_headers_agree(
    redis_url: str, limit: int, window_ms: int, steps: list[float]
) -> None:
    for decision in consume_all(redis_url, get_times(steps, window_ms), limit, window_ms):
        expected = {
            "X-RateLimit-Limit": str(limit),
            "X-RateLimit-Remaining": str(decision.remaining),
            "X-RateLimit-Reset": str(decision.window_end),
        }
        headers = decision.headers
        assert parse_item(headers.pop("RateLimit-Policy")) == ("default", {"q": limit, "w": window_ms // 1000})
        assert parse_item(headers.pop("RateLimit")) == (
            "default",
            {"r": decision.remaining, "t": decision.wait_seconds},
        )
        assert headers == (expected if decision.allowed else expected | {"Retry-After": str(decision.retry_after)})
        assert decision.wait_seconds > 0


@pytest.mark.parametrize(("window_ms", "seconds"), [(1000, 1), (1001, 2), (1500, 2), (2000, 2), (86_400_000, 86_400)])
def test_window_in_the_policy_is_rounded_up_to_seconds(redis_url: str, window_ms: int, seconds: int) -> None:
    (decision,) = consume_all(redis_url, [NOON_MS], window_ms=window_ms)
    assert parse_item(decision.headers["RateLimit-Policy"]) == ("default", {"q": 10, "w": seconds})


def test_full_window_blocks_until_its_weight_declines(redis_url: str) -> None:
    times = [NOON_MS] * 11 + [
        NOON_MS + WINDOW_MS - 1,
        NOON_MS + WINDOW_MS,
        NOON_MS + WINDOW_MS + 1,
        NOON_MS + WINDOW_MS + 1,
        NOON_MS + WINDOW_MS + 1001,
    ]
    allowed = [decision.allowed for decision in consume_all(redis_url, times)]
    assert allowed == [True] * 10 + [False, False, False, True, False, True]


def test_rejected_requests_do_not_count(redis_url: str, redis_client: "redis.Redis") -> None:
    address = uuid4().hex
    decisions = consume_all(redis_url, [NOON_MS] * 30, address=address)
    assert [decision.remaining for decision in decisions] == [*range(9, -1, -1)] + [0] * 20
    assert redis_client.get(get_keys(address, NOON_MS, WINDOW_MS)[0]) == "10"


def test_keys_are_those_of_upstash_and_expire(redis_url: str, redis_client: "redis.Redis") -> None:
    def now() -> int:
        seconds, microseconds = redis_client.time()
        return int(seconds) * 1000 + int(microseconds) // 1000

    address, started = uuid4().hex, now()
    consume_all(redis_url, [NOON_MS, NOON_MS + WINDOW_MS], address=address)
    ended = now()
    keys = [f"test:{address}:{(NOON_MS + passed) // WINDOW_MS}" for passed in (0, WINDOW_MS)]
    assert sorted(redis_client.keys(f"*{address}*")) == sorted(keys)
    for key in keys:
        assert started <= redis_client.pexpiretime(key) - (2 * WINDOW_MS + 1000) <= ended


def test_request_needs_one_command(redis_url: str, redis_client: "redis.Redis") -> None:
    address = uuid4().hex

    async def consume() -> None:
        async with open_limiter(redis_url) as limiter:
            await limiter.consume(address, NOON_MS)
            redis_client.echo("begin")
            for _ in range(20):
                await limiter.consume(address, NOON_MS)
            redis_client.echo("end")

    with redis_client.monitor() as monitor:  # type: ignore[no-untyped-call]
        asyncio.run(consume())
        commands = []
        while (command := monitor.next_command())["command"] != "ECHO end":
            commands.append(command)
    begin = [command["command"] for command in commands].index("ECHO begin")
    of_clients = [c["command"] for c in commands[begin + 1 :] if c["client_type"] != "lua"]
    assert [command.split()[0] for command in of_clients] == ["EVAL"] * 20


def test_exactly_the_limit_of_any_number_of_simultaneous_requests_is_allowed(redis_url: str) -> None:
    async def consume() -> list[Decision]:
        async with open_limiter(redis_url) as one, open_limiter(redis_url) as two, open_limiter(redis_url) as three:
            address = uuid4().hex
            return await asyncio.gather(
                *(limiter.consume(address, NOON_MS) for _ in range(100) for limiter in (one, two, three))
            )

    decisions = asyncio.run(consume())
    assert sorted(d.remaining for d in decisions if d.allowed) == list(range(10))
    assert sum(d.allowed for d in decisions) == 10


def test_cancelled_request_does_not_affect_others(redis_url: str) -> None:
    async def consume() -> list[Decision]:
        async with open_limiter(redis_url) as limiter:
            tasks = [asyncio.create_task(limiter.consume(uuid4().hex)) for _ in range(20)]
            await asyncio.wait([*tasks[:1]], return_when=asyncio.FIRST_COMPLETED, timeout=0)
            for task in tasks[::2]:
                task.cancel()
            return await asyncio.gather(*tasks[1::2])

    assert all(decision.allowed for decision in asyncio.run(consume()))


def test_addresses_and_prefixes_have_budgets_of_their_own(redis_url: str) -> None:
    async def consume() -> list[bool]:
        address = uuid4().hex
        async with open_limiter(redis_url, 1, prefix="one") as one, open_limiter(redis_url, 1, prefix="two") as two:
            requests = [one.consume(address), one.consume(address), two.consume(address), one.consume(address + "x")]
            return [decision.allowed for decision in await asyncio.gather(*requests)]

    assert asyncio.run(consume()) == [True, False, True, True]


def test_process_counts_a_limited_number_of_addresses() -> None:
    local = LocalCounts()
    for n in range(MAX_LOCAL_KEYS + 100):
        assert local.consume(str(n), 1, 0, 10) == (1, 1, 0)
    assert len(local.current) == MAX_LOCAL_KEYS
    assert local.consume(str(n), 1, 0, 10) == (1, 2, 0)
