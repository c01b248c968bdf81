"""A rate limit that a Next.js app shares with Parley: the README's example with @upstash/ratelimit."""

import asyncio
import re
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api.dev.valkey import Valkey
from api.settings import Settings
from tests import ROOT
from tests.api.ratelimit.test_limiter import get_times, open_limiter
from tests.api.support import new_address
from tests.api_process import Api
from tests.e2e.npm import Npm, Program

PROGRAM = Path(__file__).with_name("shared_budget.mjs")
PACKAGES = {"@upstash/ratelimit": "2.2.0", "ioredis": "6.0.0"}
(EXAMPLE,) = re.findall(r"```js\n(.*?Ratelimit.*?)```", (ROOT / "README.md").read_text(), flags=re.DOTALL)
LIMIT = '(10, "10 s")'
PREFIX = Settings.model_fields["rate_limit_prefix"].default  # as in the example

Decision = tuple[bool, dict[str, str]]  # whether a request is allowed, and the headers


def select_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Return the headers that the responses of the app have too."""
    return {name: headers[name] for name in ("X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset")}


class App:
    """The Next.js app: the example, with another limit and window."""

    def __init__(self, program: Program) -> None:
        self._program = program

    def send_requests(
        self, address: str, limit: int, window: str, now: int | None = None, times: int = 1
    ) -> list[Decision]:
        """Send a number of requests at once; return the decisions."""
        assert LIMIT in EXAMPLE
        example = EXAMPLE.replace(LIMIT, f'({limit}, "{window}")')
        return [
            (allowed, headers) for allowed, headers in self._program.do("sendRequests", example, address, times, now)
        ]


@pytest.fixture(scope="module")
def app(valkey: Valkey, npm: Npm) -> Iterator[App]:
    with Program(PROGRAM, npm.install(PACKAGES)) as program:
        program.do("connect", valkey.url())
        yield App(program)


@settings(max_examples=100)
@given(
    limit=st.integers(1, 100),
    window_ms=st.sampled_from([7001, 10_000, 3_600_000]),  # even the shortest one outlasts the test in Valkey
    bursts=st.lists(st.tuples(st.floats(0, 1.5), st.integers(1, 50), st.booleans()), max_size=20),
)
def test_app_and_api_make_the_same_decisions_alone_and_in_turns(
    app: App, valkey: Valkey, limit: int, window_ms: int, bursts: list[tuple[float, int, bool]]
) -> None:
    address = uuid4().hex

    async def compare() -> None:
        async with open_limiter(valkey.url(), limit, window_ms, PREFIX) as parley:

            async def send_to_parley(suffix: str, now: int, times: int) -> list[Decision]:
                decisions = [await parley.consume(address + suffix, now) for _ in range(times)]
                return [(decision.allowed, select_headers(decision.headers)) for decision in decisions]

            def send_to_app(suffix: str, now: int, times: int) -> list[Decision]:
                return app.send_requests(address + suffix, limit, f"{window_ms} ms", now, times)

            _, *moments = get_times([step for step, _, _ in bursts], window_ms)
            for now, (_, times, is_for_app) in zip(moments, bursts, strict=True):
                combined = (
                    send_to_app(" of both", now, times) if is_for_app else await send_to_parley(" of both", now, times)
                )
                assert (
                    send_to_app(" of the app", now, times) == await send_to_parley(" of Parley", now, times) == combined
                )

    asyncio.run(compare())


@pytest.mark.parametrize("version", [4, 6])
def test_app_and_api_share_a_budget(app: App, api: Api, version: int) -> None:
    limit, window = 10, f"{api.environment['RATE_LIMIT_WINDOW']} s"

    def new_addresses() -> tuple[str, str]:
        """Return the address of a request, and the identifier that the app uses for it."""
        address = api.headers()["X-Forwarded-For"] if version == 4 else new_address()
        return address, address if version == 4 else address.removesuffix("1") + "/64"

    with api.client() as client, ThreadPoolExecutor(20) as threads:

        def send_to_api(address: str) -> Decision:
            response = client.get("/api/chats", headers={"X-Forwarded-For": address})
            assert response.status_code in {200, 429}
            return response.status_code == 200, select_headers(response.headers)

        address, identifier = new_addresses()
        decisions = [
            send_to_api(address) if n % 2 else app.send_requests(identifier, limit, window)[0] for n in range(limit + 4)
        ]
        assert [allowed for allowed, _ in decisions] == [True] * limit + [False] * 4
        assert [int(headers["X-RateLimit-Remaining"]) for _, headers in decisions] == [
            *range(limit - 1, -1, -1),
            0,
            0,
            0,
            0,
        ]
        assert len({headers["X-RateLimit-Reset"] for _, headers in decisions}) == 1

        address, identifier = new_addresses()
        pending = [threads.submit(send_to_api, address) for _ in range(50)]
        decisions = app.send_requests(identifier, limit, window, times=50) + [future.result() for future in pending]
        assert sum(allowed for allowed, _ in decisions) == limit
