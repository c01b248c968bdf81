"""Outages of the replica or the primary: no request fails because of the replica, and the API stops in time."""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import httpx
import pytest

from api.db.pool import CANCEL_TIMEOUT_SECONDS, CLOSE_TIMEOUT_SECONDS, Database
from api.db.replica import REPLICA_TIMEOUT_SECONDS
from api.dev.postgres import Postgres
from api.settings import Settings
from tests.api.db.replica.cluster import MAX_LAG, NOT_USED, Cluster, chatting, replica_log, uses_replica
from tests.api.outages import killed, suspended
from tests.api.support import unlimited_client
from tests.api_process import Api, running
from tests.tokens import new_user
from tests.waiting import wait_until


@pytest.mark.parametrize("outage", [killed, suspended])
def test_no_request_fails_while_the_replica_is_unavailable(
    cluster: Cluster, api: Api, outage: Callable[[Postgres], Any]
) -> None:
    with chatting(cluster, api) as (chat, owner, member), ThreadPoolExecutor(4) as pool:
        wait_until(lambda: chat.contents(member) == ["before"])
        reads = [pool.submit(partial(chat.contents, client)) for client in (owner, member) * 50]
        with outage(cluster.replica):
            reads += [pool.submit(partial(chat.contents, client)) for client in (owner, member) * 50]
            assert {str(response.result()) for response in reads} == {"['before']"}
            wait_until(lambda: replica_log(api)[-1].startswith(f"{NOT_USED}the replica is unavailable"))
            started_at = time.monotonic()
            assert chat.contents(member) == ["before"]
            assert time.monotonic() - started_at < REPLICA_TIMEOUT_SECONDS
        wait_until(lambda: uses_replica(api), 30)
    assert "Traceback" not in api.log.read_text()


def test_cancelled_statement_does_not_wait_for_a_hanging_server(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster.new_api().export_environment(monkeypatch)

    async def measure() -> float:
        database = await Database.connect(Settings.load(), cluster.replica.url("parley", "app", "app"))
        with suspended(cluster.replica):
            started_at = time.monotonic()
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.1):
                    await database.fetch_value("select 1")
            seconds = time.monotonic() - started_at
        assert await database.fetch_value("select 1") == 1
        await database.close()
        return seconds

    assert asyncio.run(measure()) < 0.1 + 1.5 * CANCEL_TIMEOUT_SECONDS


def test_hanging_primary_does_not_prevent_the_shutdown(cluster: Cluster) -> None:
    with running(cluster.new_api()) as api, unlimited_client(api) as client, suspended(cluster.primary):
        with pytest.raises(httpx.ReadTimeout):
            client.get("/api/chats", timeout=MAX_LAG)
        started_at = time.monotonic()
        api.stop()
        # The pool is closed after the monitor of the replica and the cleaning of images.
        assert time.monotonic() - started_at < CLOSE_TIMEOUT_SECONDS + 2 * CANCEL_TIMEOUT_SECONDS + 1


def test_no_connection_to_a_replica_that_hung_is_left(cluster: Cluster) -> None:
    name = new_user("api")
    url = f"{cluster.replica.url('parley', 'app', 'app')}?application_name={name}"
    connections = "select count(*) from pg_stat_activity where application_name = %s"
    with running(cluster.new_api(DATABASE_REPLICA_URL=url)) as api, unlimited_client(api) as client:
        wait_until(lambda: uses_replica(api))
        assert client.get("/api/chats").status_code == 200  # the primary creates the new user
        wait_until(lambda: client.get("/api/chats").is_success and cluster.on_replica(connections, name) == 2)
        with suspended(cluster.replica):
            wait_until(lambda: replica_log(api)[-1].startswith(f"{NOT_USED}the replica is unavailable"))
        wait_until(lambda: uses_replica(api))
        wait_until(lambda: cluster.on_replica(connections, name) == 1)  # the monitor's


def test_replica_that_is_unavailable_at_the_start_is_used_later(cluster: Cluster) -> None:
    cluster.replica.stop()
    api = cluster.new_api()
    try:
        with running(api), unlimited_client(api) as client:
            assert client.get("/api/chats").status_code == 200
            wait_until(lambda: replica_log(api) == [f"{NOT_USED}the replica is unavailable: ConnectionRefusedError"])
            cluster.replica.start()
            wait_until(lambda: uses_replica(api))
            assert client.get("/api/chats").status_code == 200
    finally:
        if cluster.replica.child is None:
            cluster.replica.start()
