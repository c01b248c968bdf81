"""Records of recent writes: what is recorded, and how the loss of records is detected."""

import asyncio
import json
import re
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path

import psycopg
import pytest
import redis

from api.db.recent_writes import EPOCH_KEY, RecentWrites, build_keys
from api.dev.valkey import Valkey
from api.routes import ROUTES, Route
from api.settings import Settings
from tests.api.db.replica.cluster import MAX_LAG, Cluster, chatting, persisted, uses_replica
from tests.api.outages import killed
from tests.api.ratelimit.redis_outages import OUTAGES, Servers
from tests.api.route_examples import name_of, new_route_examples
from tests.api_process import Api
from tests.service_name import ServiceName
from tests.tokens import new_user
from tests.waiting import wait_until


@pytest.mark.parametrize("route", ROUTES, ids=name_of)
def test_every_write_is_recorded_without_the_user_id(cluster: Cluster, api: Api, route: Route) -> None:
    with new_route_examples(api) as route_examples, redis.Redis.from_url(cluster.valkey.url()) as client:
        (record_key,) = build_keys(json.dumps({"sub": route_examples.ids["owner"]}))
        client.delete(record_key)
        assert route_examples.request(route_examples.owner, route).status_code == route.status
        assert bool(client.exists(record_key)) is route.is_write
        if route.is_write:
            assert MAX_LAG * 1000 < client.pttl(record_key) <= 2 * MAX_LAG * 1000
        assert route_examples.ids["owner"] not in str(client.keys("parley:*"))


def test_session_is_recorded_by_a_digest_of_its_digest() -> None:
    digests = [sha256(token).hexdigest() for token in (b"one", b"other")]
    record_keys = build_keys(json.dumps({"session_digests": digests}))
    assert len(set(record_keys)) == 2
    assert not any(digest in record_key for digest in digests for record_key in record_keys)


def test_write_that_took_longer_than_the_maximum_lag_is_recorded_again(cluster: Cluster, api: Api) -> None:
    with (
        chatting(cluster, api) as (chat, owner, _),
        redis.Redis.from_url(cluster.valkey.url()) as client,
        psycopg.connect(cluster.primary.url("parley")) as dba,
        ThreadPoolExecutor() as pool,
    ):
        (record_key,) = build_keys(json.dumps({"sub": owner.get("/api/profile").json()["user"]["id"]}))
        dba.execute("lock table parley.messages in exclusive mode")
        sent = pool.submit(chat.send, owner, "late")
        wait_until(lambda: client.pttl(record_key) < MAX_LAG * 1000 * 0.9)
        dba.rollback()
        assert sent.result() > MAX_LAG
        assert client.pttl(record_key) > MAX_LAG * 1000


def test_lost_records_are_detected_after_a_flush(cluster: Cluster, api: Api) -> None:
    with chatting(cluster, api) as (chat, owner, member), cluster.paused():
        chat.send(owner, "after")
        assert chat.contents(member) == ["before"]
        with redis.Redis.from_url(cluster.valkey.url()) as client:
            assert client.exists(EPOCH_KEY)
            client.flushall()
        assert chat.contents(owner) == ["after", "before"]
        wait_until(lambda: not uses_replica(api))
    with redis.Redis.from_url(cluster.valkey.url()) as client:
        assert client.exists(EPOCH_KEY)


def test_lost_records_are_detected_after_a_restart_from_an_old_snapshot(
    cluster: Cluster, api: Api, other_api: Api
) -> None:
    with (
        persisted(cluster.valkey) as client,
        chatting(cluster, api, other_api) as (chat, owner, owner_there, member, member_there),
        cluster.paused(),
    ):
        epoch = client.get(EPOCH_KEY)
        chat.send(owner, "after")
        assert chat.contents(member) == chat.contents(member_there) == ["before"]
        with killed(cluster.valkey):
            pass
        for reader in (owner, owner_there):
            assert chat.contents(reader) == ["after", "before"]
        assert client.get(EPOCH_KEY) == epoch


class ReliableWrites:
    """Recent writes with a long lifetime that are reliable at once, and that no monitor checks."""

    TTL_SECONDS = 60.0

    def __init__(self, cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
        cluster.new_api().export_environment(monkeypatch)

    async def __aenter__(self) -> RecentWrites:
        self._recent_writes = RecentWrites(Settings.load(), self.TTL_SECONDS)
        await self._recent_writes._check_epoch()
        self._recent_writes._epoch_since -= self.TTL_SECONDS
        assert self._recent_writes.is_reliable
        return self._recent_writes

    async def __aexit__(self, *_: object) -> None:
        await self._recent_writes.close()


@pytest.fixture
def reliable_writes(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> ReliableWrites:
    return ReliableWrites(cluster, monkeypatch)


def test_one_recorded_session_of_two_is_sufficient(reliable_writes: ReliableWrites) -> None:
    one, other, third = (sha256(new_user().encode()).hexdigest() for _ in range(3))

    async def check() -> list[bool]:
        async with reliable_writes as recent_writes:
            assert await recent_writes.record(json.dumps({"session_digests": [one]}))
            pairs = ([one, other], [other, one], [other, third])
            return [await recent_writes.has_none(json.dumps({"session_digests": pair})) for pair in pairs]

    assert asyncio.run(check()) == [False, False, True]


def test_restart_of_redis_makes_records_unreliable(cluster: Cluster, reliable_writes: ReliableWrites) -> None:
    identity = json.dumps({"sub": new_user()})

    async def check() -> bool:
        async with reliable_writes as recent_writes:
            assert await recent_writes.has_none(identity)
            assert await recent_writes.record(identity)
            with killed(cluster.valkey):
                pass
            return await recent_writes.has_none(identity)

    with persisted(cluster.valkey):
        assert not asyncio.run(check())


def test_without_a_run_id_every_new_connection_makes_records_unreliable(
    cluster: Cluster, reliable_writes: ReliableWrites, monkeypatch: pytest.MonkeyPatch
) -> None:
    identity, login = json.dumps({"sub": new_user()}), new_user("login")
    monkeypatch.setenv("REDIS_URL", re.sub("//.*@", f"//{login}:word@", cluster.valkey.url()))

    async def check() -> list[bool]:
        async with reliable_writes as recent_writes:
            connected = await recent_writes.has_none(identity)
            await recent_writes._redis.connection_pool.disconnect()
            return [connected, await recent_writes.has_none(identity)]

    with redis.Redis.from_url(cluster.valkey.url()) as client:
        client.acl_setuser(login, enabled=True, passwords="+word", commands=["+@all", "-info"], keys="*")
        assert asyncio.run(check()) == [True, False]


def test_records_that_become_unreliable_during_a_request_are_not_trusted(
    cluster: Cluster, reliable_writes: ReliableWrites
) -> None:
    identity = json.dumps({"sub": new_user()})

    async def check() -> bool:
        async with reliable_writes as recent_writes:
            with redis.Redis.from_url(cluster.valkey.url()) as client:
                client.delete(EPOCH_KEY)
            task = asyncio.create_task(recent_writes.has_none(identity))
            asyncio.get_running_loop().call_soon(recent_writes._invalidate)  # while it waits for Redis
            return await task

    assert not asyncio.run(check())


@pytest.mark.parametrize("reply", ["READONLY", "MISCONF", "OOM", "NOREPLICAS", "failover"])
def test_recent_writes_recover_from_error_replies(
    directory: Path, cluster: Cluster, monkeypatch: pytest.MonkeyPatch, reply: str
) -> None:
    """A connection to a server that replies with errors is not used again: it may be the former primary."""
    identity = json.dumps({"sub": new_user()})

    async def check(servers: Servers) -> list[bool]:
        recent_writes = RecentWrites(Settings.load(), 60.0)
        recorded = []

        async def record() -> None:
            recorded.append(await recent_writes.record(identity))
            await recent_writes._check_epoch()

        await recent_writes._check_epoch()
        await record()
        outage = servers.failed_over() if reply == "failover" else OUTAGES[reply](servers)
        with outage:
            await record()
            if reply == "failover":
                await record()
                assert servers.other_admin.exists(*build_keys(identity))
        for _ in range(2):  # the first closes the connection to the server that is a replica again
            await recent_writes._check_epoch()
        await record()
        await recent_writes.close()
        return recorded

    with (
        Valkey(directory / "valkey-records") as valkey,
        Valkey(directory / "valkey-records-other") as other,
        ServiceName(valkey.port) as name,
    ):
        servers = Servers(valkey, other, name)
        cluster.new_api(REDIS_URL=servers.url).export_environment(monkeypatch)
        assert asyncio.run(check(servers)) == [True, False, True] + [True] * (reply == "failover")
