"""Error replies of Redis: each process counts meanwhile, and Redis counts again when the cause has ended.

Each reply is provoked on a real server, also by a failover: the connection leads to the former primary until it is
closed, and new connections, by the same name, lead to its successor.
"""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from api.dev.process import find_free_port
from api.dev.valkey import Valkey
from api.ratelimit.limiter import RateLimiter
from api.ratelimit.redis_connection import REDIS_ERRORS, RedisConnection, encode_command
from tests.api.ratelimit.redis_outages import OUTAGES, Servers
from tests.api.support import LIMIT_HEADERS, new_address, unlimited_client
from tests.api_process import Api, choose_long_window, read_log, running, scrape
from tests.service_name import ServiceName
from tests.waiting import wait_until

UNAVAILABLE = "Redis is unavailable; this process enforces the rate limit by its own counts: "
AVAILABLE = "Redis is available again; all processes share the rate limit"
LIMIT = 10


@pytest.fixture(scope="module")
def servers(directory: Path) -> Iterator[Servers]:
    with (
        Valkey(directory / "valkey-errors") as valkey,
        Valkey(directory / "valkey-errors-other") as other,
        ServiceName(valkey.port) as name,
    ):
        yield Servers(valkey, other, name)


@pytest.fixture(scope="module")
def api(new_api: Callable[..., Api], shared_database: str, servers: Servers) -> Iterator[Api]:
    options = {"RATE_LIMIT_WINDOW": choose_long_window(), "METRICS_PORT": str(find_free_port())}
    with running(new_api(shared_database, REDIS_URL=servers.url, **options)) as api:
        yield api


def is_counted(api: Api, valkey_client: Any) -> bool:
    """Return whether this Redis counts a request."""
    address = new_address()
    with unlimited_client(api) as client:
        client.get("/api/nope", headers={"X-Forwarded-For": address})
        client.event_hooks = {"request": []}
        assert client.get("/api/nope", headers={"X-Forwarded-For": address}).status_code == 404
    return bool(list(valkey_client.scan_iter(f"*{address.removesuffix('1')}*")))


def assert_limited(api: Api) -> None:
    """Check that a client sees nothing of the outage."""
    with api.client() as client:
        responses = [client.get("/api/nope") for _ in range(LIMIT + 2)]
    assert [response.status_code for response in responses] == [404] * LIMIT + [429] * 2
    assert [int(response.headers["X-RateLimit-Remaining"]) for response in responses] == [
        *range(LIMIT - 1, -1, -1),
        0,
        0,
    ]
    assert all(response.headers.keys() >= LIMIT_HEADERS for response in responses)
    assert len({response.headers["X-RateLimit-Reset"] for response in responses}) == 1


def is_named(outage: str, event: str) -> bool:
    """Return whether a logged event reports that Redis is unavailable, and names the reply of this outage."""
    return event.startswith(UNAVAILABLE) and outage.split(maxsplit=1)[0] in event


def count_decisions(api: Api, counted_by: str) -> float:
    return scrape(int(api.environment["METRICS_PORT"]), "parley_rate_limit_decisions_total", counted_by=counted_by)


def is_fallback(api: Api) -> bool:
    return scrape(int(api.environment["METRICS_PORT"]), "parley_rate_limit_fallback") == 1


def new_events(api: Api, before: int) -> list[str]:
    return [line["event"] for line in read_log(api.log)[before:]]


@pytest.mark.parametrize("outage", OUTAGES)
def test_error_reply_is_an_outage_that_ends_without_a_restart(servers: Servers, api: Api, outage: str) -> None:
    wait_until(lambda: is_counted(api, servers.admin) and not is_fallback(api))
    lines = len(read_log(api.log))
    with OUTAGES[outage](servers):

        def has_noticed() -> bool:
            with unlimited_client(api) as client:
                assert client.get("/api/nope").status_code == 404
            return is_fallback(api)

        wait_until(has_noticed)
        by_redis, by_process = count_decisions(api, "redis"), count_decisions(api, "process")
        assert_limited(api)
        assert count_decisions(api, "redis") == by_redis
        assert count_decisions(api, "process") == by_process + LIMIT + 2
        wait_until(lambda: has_noticed() and any(is_named(outage, event) for event in new_events(api, lines)))
        assert httpx.get(f"{api.url}/readyz").status_code == 200
    wait_until(lambda: is_counted(api, servers.admin) and not is_fallback(api))
    assert_limited(api)
    assert new_events(api, lines)[-1] == AVAILABLE
    assert "Traceback" not in api.log.read_text()


def test_failover_leads_to_the_new_primary(servers: Servers, api: Api) -> None:
    wait_until(lambda: is_counted(api, servers.admin))
    lines = len(read_log(api.log))
    with servers.failed_over():
        wait_until(lambda: is_counted(api, servers.other_admin) and not is_fallback(api))
        assert_limited(api)
        assert f"{UNAVAILABLE}ReplyError READONLY" in new_events(api, lines)
    wait_until(lambda: is_counted(api, servers.admin) and not is_fallback(api))


ERROR_REPLIES = [
    "ASK 1 127.0.0.1:1",
    "BUSY Redis is busy running a script",
    "CLUSTERDOWN The cluster is down",
    "CROSSSLOT Keys in request don't hash to the same slot",
    "ERR max number of clients reached",
    "ERR unknown command",
    "EXECABORT Transaction discarded",
    "LOADING Redis is loading the dataset in memory",
    "MASTERDOWN Link with MASTER is down",
    "MISCONF Redis is configured to save RDB snapshots",
    "MOVED 1 127.0.0.1:1",
    "NOAUTH Authentication required.",
    "NOPERM this user has no permissions",
    "NOREPLICAS Not enough good replicas to write.",
    "NOSCRIPT No matching script.",
    "OOM command not allowed when used memory > 'maxmemory'.",
    "READONLY You can't write against a read only replica.",
    "TRYAGAIN Multiple keys request during rehashing of slot",
    "UNKILLABLE Sorry the script already executed write commands",
    "WRONGPASS invalid username-password pair",
    "WRONGTYPE Operation against a key holding the wrong kind of value",
    "FUTURE an error of a later version",
]


@pytest.mark.parametrize("reply", ERROR_REPLIES)
def test_every_error_reply_ends_the_connection(reply: str) -> None:
    """The first connection replies only with the error, and the next one counts."""
    connections = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(writer)
        is_first = len(connections) == 1
        while (sent := await reader.read(65_536)) and b"INCR" not in sent:
            writer.write(b"+OK\r\n" * sent.count(b"*"))
        while sent:
            writer.write(b"-%b\r\n" % reply.encode() if is_first else b":1\r\n")
            sent = await reader.read(65_536)
        writer.close()

    async def count() -> int:
        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            connection = RedisConnection(f"redis://127.0.0.1:{port}/0?protocol=2&lib_name=&lib_version=", 5)
            with pytest.raises(REDIS_ERRORS):
                await connection.execute(encode_command("INCR", "key"))
            counted = int(await connection.execute(encode_command("INCR", "key")))
            await connection.close()
            for writer in connections:
                await writer.wait_closed()
            return counted

    assert asyncio.run(count()) == 1
    assert len(connections) == 2


def test_password_that_redis_gets_later_is_an_outage(servers: Servers) -> None:
    """A URL without a password: NOAUTH. The connections that were open before remain authenticated."""

    async def count() -> list[str]:
        limiter = RateLimiter(RedisConnection(f"redis://127.0.0.1:{servers.valkey.port}/0", 5), LIMIT, 10_000, "test")
        counted_by = [(await limiter.consume(uuid4().hex)).counted_by]
        servers.set_rules("resetpass >{password}")
        counted_by.append((await limiter.consume(uuid4().hex)).counted_by)
        servers.admin.client_kill_filter(_type="normal", skipme=True)
        while not limiter.is_redis_unavailable:
            counted_by.append((await limiter.consume(uuid4().hex)).counted_by)
        await limiter.close()
        return counted_by

    servers.set_rules("nopass")
    try:
        first, after_rotation, *_, last = asyncio.run(count())
    finally:
        servers.set_rules("resetpass >{password}")
    assert (first, after_rotation, last) == ("redis", "redis", "process")
