"""The limiter's arithmetic, in Redis and in the process: both are held against the contract's formula in Python."""

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
from api.ratelimit.limiter import LOCAL_ADDRESSES, Decision, LocalCounts, RateLimiter
from api.ratelimit.redis_connection import RedisPipe

NOON = 1_795_435_200_000  # a start of a window, of each length below
WINDOW = 10_000
LENGTHS = st.sampled_from([1000, 10_000, 3_600_000])


class Model:
    """The contract's formula for one address."""

    def __init__(self, limit: int, window_ms: int, counts: dict[int, int] | None = None) -> None:
        self.limit, self.window_ms, self.counts = limit, window_ms, counts or {}

    def used(self, now_ms: int) -> int:
        window, into_window = divmod(now_ms, self.window_ms)
        share = 1 - into_window / self.window_ms
        return math.floor(share * self.counts.get(window - 1, 0)) + self.counts.get(window, 0)

    def take(self, now_ms: int) -> bool:
        if self.used(now_ms) >= self.limit:
            return False
        window = now_ms // self.window_ms
        self.counts[window] = self.counts.get(window, 0) + 1
        return True


@pytest.fixture(scope="module")
def server(valkey: Valkey) -> Iterator["redis.Redis"]:
    """A look into Redis."""
    with redis.Redis.from_url(valkey.url(), decode_responses=True) as client:
        yield client


@pytest.fixture(scope="module")
def url(valkey: Valkey) -> str:
    return valkey.url()


@asynccontextmanager
async def limiter(
    url: str, limit: int = 10, window_ms: int = WINDOW, prefix: str = "test"
) -> AsyncIterator[RateLimiter]:
    made = RateLimiter(RedisPipe(url, 5), limit, window_ms, prefix)
    try:
        yield made
    finally:
        await made.close()


def take_all(url: str, times: list[int], limit: int = 10, window_ms: int = WINDOW, address: str = "") -> list[Decision]:
    """The decisions on one address's requests at these times, one after another."""

    async def take() -> list[Decision]:
        async with limiter(url, limit, window_ms) as made:
            return [await made.take(address or uuid4().hex, time) for time in times]

    address = address or uuid4().hex
    return asyncio.run(take())


def keys_of(address: str, now_ms: int, window_ms: int) -> tuple[str, str]:
    """The keys of the current and the previous window."""
    window = now_ms // window_ms
    return f"test:{address}:{window}", f"test:{address}:{window - 1}"


@settings(max_examples=40)
@given(limit=st.integers(1, 12), window_ms=LENGTHS, steps=st.lists(st.floats(0, 1.2), max_size=40))
def test_redis_counts_as_the_formula_says(url: str, limit: int, window_ms: int, steps: list[float]) -> None:
    times = times_of(steps, window_ms)
    model = Model(limit, window_ms)
    for time, decision in zip(times, take_all(url, times, limit, window_ms), strict=True):
        assert decision.allowed == model.take(time)
        assert decision.remaining == max(0, limit - model.used(time))
        assert decision.reset == (time // window_ms + 1) * window_ms


@settings(max_examples=40)
@given(limit=st.integers(1, 12), window_ms=LENGTHS, steps=st.lists(st.floats(0, 1.2), max_size=60))
def test_a_process_by_itself_counts_the_same(limit: int, window_ms: int, steps: list[float]) -> None:
    model, local = Model(limit, window_ms), LocalCounts()
    for time in times_of(steps, window_ms):
        window, into_window = divmod(time, window_ms)
        allowed, current, previous = local.take("address", window, into_window / window_ms, limit)
        assert bool(allowed) == model.take(time)
        assert current == model.counts.get(window, 0)
        assert previous == model.counts.get(window - 1, 0)


def times_of(steps: list[float], window_ms: int) -> list[int]:
    """Times that begin at noon and advance by these shares of a window."""
    times = [NOON]
    for step in steps:
        times.append(times[-1] + round(step**4 * window_ms))  # short steps mostly, so that windows fill
    return times


@settings(max_examples=40)
@given(
    limit=st.integers(1, 50),
    window_ms=LENGTHS,
    into_window=st.floats(0, 1, exclude_max=True),
    current=st.integers(0, 150),
    previous=st.integers(0, 150),
)
def test_whoever_waits_as_told_is_let_in_and_a_second_before_was_not(
    url: str, server: "redis.Redis", limit: int, window_ms: int, into_window: float, current: int, previous: int
) -> None:
    address, now = uuid4().hex, NOON + int(into_window * window_ms)
    for key, count in zip(keys_of(address, now, window_ms), (current, previous), strict=True):
        server.set(key, count, ex=60)
    decision, *_ = take_all(url, [now], limit, window_ms, address)
    window = now // window_ms
    model = Model(limit, window_ms, {window: current + decision.allowed, window - 1: previous})
    if decision.remaining:
        assert decision.wait == math.ceil((decision.reset - now) / 1000)
        return
    assert model.used(now + 1000 * decision.wait) < limit
    assert decision.wait == 1 or model.used(now + 1000 * (decision.wait - 1) - 1) >= limit


def item_of(field: str) -> tuple[str, Any]:
    """The one item of a structured field, which is a list of strings, and its parameters."""
    ((name, parameters),) = cast("Any", http_sf.parse(field.encode(), tltype="list"))
    assert isinstance(name, str)
    return name, parameters


@settings(max_examples=40)
@given(limit=st.integers(1, 12), window_ms=LENGTHS, steps=st.lists(st.floats(0, 1.2), max_size=40))
def test_headers_say_the_same_in_the_old_and_the_new_way(
    url: str, limit: int, window_ms: int, steps: list[float]
) -> None:
    for decision in take_all(url, times_of(steps, window_ms), limit, window_ms):
        told = {
            "X-RateLimit-Limit": str(limit),
            "X-RateLimit-Remaining": str(decision.remaining),
            "X-RateLimit-Reset": str(decision.reset),
        }
        headers = decision.headers
        assert item_of(headers.pop("RateLimit-Policy")) == ("default", {"q": limit, "w": window_ms // 1000})
        assert item_of(headers.pop("RateLimit")) == ("default", {"r": decision.remaining, "t": decision.wait})
        assert headers == (told if decision.allowed else told | {"Retry-After": str(decision.wait)})
        assert decision.wait > 0


@pytest.mark.parametrize(("window_ms", "seconds"), [(1000, 1), (1001, 2), (1500, 2), (2000, 2), (86_400_000, 86_400)])
def test_a_window_is_told_in_whole_seconds_and_never_as_a_shorter_one(url: str, window_ms: int, seconds: int) -> None:
    (decision,) = take_all(url, [NOON], window_ms=window_ms)
    assert item_of(decision.headers["RateLimit-Policy"]) == ("default", {"q": 10, "w": seconds})


def test_a_full_window_lets_nobody_in_until_it_fades_in_the_next(url: str) -> None:
    times = [NOON] * 11 + [NOON + WINDOW - 1, NOON + WINDOW, NOON + WINDOW + 1, NOON + WINDOW + 1, NOON + WINDOW + 1001]
    allowed = [decision.allowed for decision in take_all(url, times)]
    assert allowed == [True] * 10 + [False, False, False, True, False, True]


def test_what_was_refused_does_not_count(url: str, server: "redis.Redis") -> None:
    address = uuid4().hex
    decisions = take_all(url, [NOON] * 30, address=address)
    assert [decision.remaining for decision in decisions] == [*range(9, -1, -1)] + [0] * 20
    assert server.get(keys_of(address, NOON, WINDOW)[0]) == "10"


def test_keys_are_those_of_upstash_and_do_not_stay(url: str, server: "redis.Redis") -> None:
    def now() -> int:
        seconds, microseconds = server.time()
        return int(seconds) * 1000 + int(microseconds) // 1000

    address, begun = uuid4().hex, now()
    take_all(url, [NOON, NOON + WINDOW], address=address)
    ended = now()
    keys = [f"test:{address}:{(NOON + passed) // WINDOW}" for passed in (0, WINDOW)]
    assert sorted(server.keys(f"*{address}*")) == sorted(keys)
    for key in keys:
        assert begun <= server.pexpiretime(key) - (2 * WINDOW + 1000) <= ended


def test_a_request_is_one_command(url: str, server: "redis.Redis") -> None:
    address = uuid4().hex

    async def take() -> None:
        async with limiter(url) as made:
            await made.take(address, NOON)
            server.echo("begin")
            for _ in range(20):
                await made.take(address, NOON)
            server.echo("end")

    with server.monitor() as monitor:  # type: ignore[no-untyped-call]
        asyncio.run(take())
        commands = []
        while (command := monitor.next_command())["command"] != "ECHO end":
            commands.append(command)
    begin = [command["command"] for command in commands].index("ECHO begin")
    of_clients = [c["command"] for c in commands[begin + 1 :] if c["client_type"] != "lua"]
    assert [command.split()[0] for command in of_clients] == ["EVAL"] * 20


def test_of_any_number_at_once_just_the_limit_passes(url: str) -> None:
    async def take() -> list[Decision]:
        async with limiter(url) as one, limiter(url) as two, limiter(url) as three:
            address = uuid4().hex
            return await asyncio.gather(*(made.take(address, NOON) for _ in range(100) for made in (one, two, three)))

    decisions = asyncio.run(take())
    assert sorted(d.remaining for d in decisions if d.allowed) == list(range(10))
    assert sum(d.allowed for d in decisions) == 10


def test_a_cancelled_request_leaves_the_others_alone(url: str) -> None:
    async def take() -> list[Decision]:
        async with limiter(url) as made:
            tasks = [asyncio.create_task(made.take(uuid4().hex)) for _ in range(20)]
            await asyncio.wait([*tasks[:1]], return_when=asyncio.FIRST_COMPLETED, timeout=0)
            for task in tasks[::2]:
                task.cancel()
            return await asyncio.gather(*tasks[1::2])

    assert all(decision.allowed for decision in asyncio.run(take()))


def test_addresses_and_prefixes_have_budgets_of_their_own(url: str) -> None:
    async def take() -> list[bool]:
        address = uuid4().hex
        async with limiter(url, 1, prefix="one") as one, limiter(url, 1, prefix="two") as two:
            asked = [one.take(address), one.take(address), two.take(address), one.take(address + "x")]
            return [decision.allowed for decision in await asyncio.gather(*asked)]

    assert asyncio.run(take()) == [True, False, True, True]


def test_a_process_remembers_a_bounded_number_of_addresses() -> None:
    local = LocalCounts()
    for n in range(LOCAL_ADDRESSES + 100):
        assert local.take(str(n), 1, 0, 10) == (1, 1, 0)
    assert len(local.current) == LOCAL_ADDRESSES
    assert local.take(str(n), 1, 0, 10) == (1, 2, 0)
