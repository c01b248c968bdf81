"""Writes that Redis cannot record: their responses wait for Redis, for replication, or for the maximum lag."""

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from threading import Event
from typing import Any

import psycopg
import pytest

from api.db.pool import Database
from api.db.replica import POLLS_PER_MAX_LAG, Replica
from api.dev.process import Server, find_free_port
from api.ratelimit.redis_connection import REDIS_TIMEOUT_SECONDS
from api.settings import Settings
from tests.api.db.replica.cluster import MAX_LAG, NO_CACHE, NOT_USED, Cluster, chatting, replica_log
from tests.api.outages import killed, suspended
from tests.api.support import get_user_id, unlimited_client
from tests.api_process import Api, running
from tests.tokens import new_user
from tests.waiting import wait_until


@pytest.mark.parametrize("outage", [killed, suspended])
def test_primary_serves_reads_while_redis_is_unavailable(
    cluster: Cluster, api: Api, other_api: Api, outage: Callable[[Server], Any]
) -> None:
    with chatting(cluster, api, other_api) as (chat, owner, owner_there, member, _), outage(cluster.valkey):
        chat.send(owner, "after")
        assert chat.contents(owner_there) == ["after", "before"]
        assert chat.send(owner, "soon") < REDIS_TIMEOUT_SECONDS  # no write waits for Redis again
        with cluster.paused():
            # Without Redis and replication, the write is certain to be visible only after the maximum lag.
            assert MAX_LAG <= chat.send(owner, "late") < 2 * MAX_LAG
            for client in (owner, owner_there, member):
                assert chat.contents(client) == ["late", "soon", "after", "before"]
        wait_until(lambda: replica_log(api)[-1].startswith(f"{NOT_USED}Redis is unavailable"))


def test_write_without_redis_waits_for_the_replica(cluster: Cluster, api: Api) -> None:
    cut_off = cluster.new_api(REDIS_URL=f"redis://127.0.0.1:{find_free_port()}/0")
    with running(cut_off), chatting(cluster, api, cut_off) as (chat, owner, owner_there, member, _):
        wait_until(partial(replica_log, cut_off))
        assert chat.send(owner_there, "after") < MAX_LAG / 2
        assert chat.contents(owner) == ["after", "before"]
        with cluster.paused():
            chat.send(owner, "recorded")
            assert chat.contents(member) == ["after", "before"]  # this API does use the replica
            assert MAX_LAG <= chat.send(owner_there, "unrecorded") < 2 * MAX_LAG
            assert chat.contents(owner)[0] == "unrecorded"


def test_write_waits_only_while_redis_is_unavailable(cluster: Cluster) -> None:
    max_lag = 20.0
    with running(cluster.new_api(DATABASE_REPLICA_MAX_LAG=str(max_lag))) as api, unlimited_client(api) as client:
        wait_until(partial(replica_log, api))
        with cluster.paused(), ThreadPoolExecutor() as pool:
            with killed(cluster.valkey):
                assert client.get("/api/chats").status_code == 200
                wait_until(lambda: "Redis is unavailable" in api.log.read_text())
                posted = pool.submit(client.post, "/api/chats", json={"title": "Plans"})
                count = "select count(*) from parley.chats where owner_id = %s"
                wait_until(lambda: cluster.on_primary(count, get_user_id(client, **NO_CACHE)) == 1)
                assert not posted.done()
            assert posted.result(max_lag / 2).status_code == 201


def test_writes_that_wait_for_redis_hold_no_slot(cluster: Cluster) -> None:
    options = {"DATABASE_REPLICA_MAX_LAG": "20", "DATABASE_POOL_SIZE": "1"}  # one write at a time
    with running(cluster.new_api(**options)) as api, unlimited_client(api) as client:
        wait_until(partial(replica_log, api))
        with cluster.paused(), ThreadPoolExecutor() as pool:
            with killed(cluster.valkey):
                user = get_user_id(client, **NO_CACHE)
                wait_until(lambda: "Redis is unavailable" in api.log.read_text())
                posted = [pool.submit(client.post, "/api/chats", json={"title": "Plans"}) for _ in range(3)]
                count = "select count(*) from parley.chats where owner_id = %s"
                wait_until(lambda: cluster.on_primary(count, user) == 3)
                assert not any(future.done() for future in posted)
                assert client.get("/api/profile").status_code == 200
            assert [future.result(10).status_code for future in posted] == [201] * 3


def test_unavailable_replica_is_not_polled_faster(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    nowhere = f"127.0.0.1:{find_free_port()}"
    cluster.new_api(DATABASE_REPLICA_MAX_LAG="1", REDIS_URL=f"redis://{nowhere}").export_environment(monkeypatch)
    polls = 0

    class Counting(Database):
        async def fetch_value(self, statement: str, *arguments: Any) -> Any:
            nonlocal polls
            polls += 1
            return await super().fetch_value(statement, *arguments)

    async def change() -> None:
        settings = Settings.load()
        primary = await Counting.connect(settings)
        replica = Replica.start(settings, f"postgresql://app:app@{nowhere}/parley", primary)
        async with replica.guard_write(json.dumps({"sub": new_user()})):
            pass
        await replica.close()
        await primary.close()

    asyncio.run(change())
    assert 1 < polls <= 2 * POLLS_PER_MAX_LAG


@contextmanager
def delayed(cluster: Cluster, milliseconds: int) -> Iterator[None]:
    """Delay the replay of each commit, while another connection commits all the time."""
    stop = Event()

    def commit() -> None:
        with psycopg.connect(cluster.primary.url("parley"), autocommit=True) as dba:
            while not stop.is_set():
                dba.execute("select pg_logical_emit_message(true, 'parley', 'something')")

    def delay(value: str) -> None:
        with psycopg.connect(cluster.replica.url("parley"), autocommit=True) as dba:
            dba.execute(f"alter system set recovery_min_apply_delay = {value}")
            dba.execute("select pg_reload_conf()")

    with ThreadPoolExecutor() as pool:
        delay(str(milliseconds))
        committing = pool.submit(commit)
        try:
            yield
        finally:
            stop.set()
            committing.result()
            delay("default")


def test_write_without_redis_waits_for_the_replication_lag(cluster: Cluster) -> None:
    with (
        running(cluster.new_api(REDIS_URL=f"redis://127.0.0.1:{find_free_port()}/0")) as api,
        unlimited_client(api) as owner,
    ):
        wait_until(partial(replica_log, api))
        with delayed(cluster, 800):
            started_at = time.monotonic()
            assert owner.post("/api/chats", json={"title": "Plans"}).status_code == 201
            assert 0.7 < time.monotonic() - started_at < MAX_LAG * 0.8
