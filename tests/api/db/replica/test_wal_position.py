"""Which server is used as the replica: WAL positions, other servers, restarts and promotions."""

import asyncio
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import pytest

from api.db.replica import ReplicaSession
from api.db.wal_position import GET_WAL_POSITION, WalPosition, WrongServerError
from api.dev.valkey import Valkey
from api.settings import Settings
from tests.api.db.replica.cluster import (
    NOT_USED,
    QUICK,
    USED,
    Cluster,
    chatting,
    fetch_one,
    replica_log,
    uses_replica,
)
from tests.api.support import unlimited_client
from tests.api_process import running
from tests.servers import migrate, new_postgres, new_replica
from tests.waiting import wait_until


def test_replica_is_reported_behind_only_after_the_maximum_lag(cluster: Cluster) -> None:
    with cluster.paused():
        cluster.on_primary("select pg_logical_emit_message(true, 'parley', 'something')")
        with running(cluster.new_api()) as api:
            wait_until(lambda: "behind" in "".join(replica_log(api)))
            assert replica_log(api) == [
                f"{NOT_USED}the replication lag is not yet known",
                f"{NOT_USED}the replica is more than 2 s behind",
            ]


def test_server_that_is_not_the_replica_is_not_used(cluster: Cluster) -> None:
    for url, problem in (
        (cluster.primary.url("parley", "app", "app"), "the server is not a replica, or was promoted"),
        (cluster.replica.url("postgres", "app", "app"), "the server is a replica of another database"),
        (cluster.replica.url("parley", "app", "hidden-word"), "the replica is unavailable: InvalidPasswordError"),
    ):
        api = cluster.new_api(DATABASE_REPLICA_URL=url)
        with running(api), unlimited_client(api) as client:
            wait_until(partial(replica_log, api))
            assert client.get("/api/chats").status_code == 200
            assert replica_log(api) == [NOT_USED + problem]
            assert "hidden-word" not in api.log.read_text()


def test_idle_replica_is_not_behind_at_the_end_of_a_segment(cluster: Cluster) -> None:
    def is_adjusted() -> bool:
        cluster.on_primary("select pg_switch_wal()")
        written = cluster.on_primary("select pg_current_wal_insert_lsn() - '0/0'")
        replayed = cluster.on_replica("select pg_last_wal_replay_lsn() - '0/0'")
        positions = cluster.on_primary(GET_WAL_POSITION)["lsn"], cluster.on_replica(GET_WAL_POSITION)["lsn"]
        return (written - replayed, *positions) == (40, replayed, replayed)

    wait_until(is_adjusted)


def test_wal_positions_are_compared_within_one_timeline() -> None:
    def position(**changes: Any) -> WalPosition:
        fields: dict[str, Any] = {
            "backend": 0,
            "started": "",
            "is_replica": True,
            "system": 1,
            "timeline": "00000003",
            "database": 2,
            "epoch": "e",
            "lsn": 4,
        }
        return WalPosition(**fields | changes)

    position().check_primary(position(is_replica=False))
    for changes in ({"system": 9}, {"database": 9}, {"epoch": "f"}, {"timeline": "9"}, {"is_replica": False}):
        with pytest.raises(WrongServerError):
            position(**changes).check_primary(position(is_replica=False))
    with pytest.raises(WrongServerError):
        position().check_primary(position())


# As with some managed services: the owner is not a superuser, and may not execute the functions that identify clusters
# and timelines.
MANAGED = """
    create role managed;
    revoke execute on function pg_control_system(), pg_control_checkpoint(), pg_walfile_name(pg_lsn) from public;
    grant create on schema parley to managed;
    alter function parley.system_identifier() owner to managed;
    alter function parley.timeline() owner to managed;
"""


def test_replica_of_a_managed_service_is_used(directory: Path) -> None:
    with (
        new_postgres(directory / "managed", **QUICK) as primary,
        Valkey(directory / "valkey-managed") as valkey,
    ):
        migrate(primary)
        with psycopg.connect(primary.url("parley"), autocommit=True) as dba:
            dba.execute(MANAGED)
        with new_replica(directory / "managed-replica", primary, **QUICK) as replica:
            cluster = Cluster(directory, primary, replica, valkey)
            for server in (cluster.on_primary, cluster.on_replica):
                assert (server(GET_WAL_POSITION)["system"], server(GET_WAL_POSITION)["timeline"]) == (None, None)
            with running(cluster.new_api()) as api, chatting(cluster, api) as (chat, owner, _):
                wait_until(lambda: uses_replica(api))
                chat.send(owner, "after")
                assert owner.get("/api/events").status_code == 200


@pytest.mark.parametrize("changes", [{}, {"lsn": 2**62}, {"started": "before"}], ids=str)
def test_connection_to_an_older_position_is_not_used(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any]
) -> None:
    cluster.new_api().export_environment(monkeypatch)

    async def fetch() -> int:
        standby = await ReplicaSession.connect(Settings.load(), cluster.replica.url("parley", "app", "app"))
        try:
            standby._position = replace(standby._position, **changes)
            return int(await standby.database.fetch_value("select 1"))
        finally:
            standby.terminate()

    if not changes:
        assert asyncio.run(fetch()) == 1
        return
    with pytest.raises(WrongServerError):
        asyncio.run(fetch())


def test_promoted_replica_is_no_longer_used(cluster: Cluster, directory: Path) -> None:
    with new_replica(directory / "promoted", cluster.primary, **QUICK) as replica:
        api = cluster.new_api(DATABASE_REPLICA_URL=replica.url("parley", "app", "app"))
        with running(api), chatting(cluster, api) as (chat, owner, member):
            wait_until(lambda: uses_replica(api))
            assert fetch_one(replica.url("parley"), "select pg_promote()")
            wait_until(lambda: replica_log(api)[-1] == f"{NOT_USED}the server is not a replica, or was promoted")
            chat.send(owner, "after")
            assert chat.contents(member) == ["after", "before"]
        assert replica_log(api)[-2:] == [USED, f"{NOT_USED}the server is not a replica, or was promoted"]
