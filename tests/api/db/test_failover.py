"""A failover of PostgreSQL behind one name: the former primary comes back as a replica, or a replica is promoted."""

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from api.dev.postgres import Postgres
from api.dev.valkey import Valkey
from tests.api.db.replica.cluster import QUICK
from tests.api.support import expect_error, post_chat, unlimited_client, wait_for_status
from tests.api_process import Api, running
from tests.servers import migrate, new_postgres, new_replica
from tests.service_name import ServiceName
from tests.waiting import wait_until


@pytest.fixture
def primary(directory: Path) -> Iterator[Postgres]:
    with new_postgres(directory / "failover-primary", **QUICK) as primary:
        migrate(primary)
        yield primary


def end_sessions(server: Postgres) -> None:
    with psycopg.connect(server.url("postgres"), autocommit=True) as dba:
        dba.execute("select pg_terminate_backend(pid, 5000) from pg_stat_activity where usename = 'app'")


def test_sessions_leave_a_replica_and_use_a_promoted_one(directory: Path, primary: Postgres, valkey: Valkey) -> None:
    with (
        new_replica(directory / "failover-replica", primary, **QUICK) as replica,
        ServiceName(primary.port) as name,
        running(
            Api(
                directory,
                primary.url("parley", "app", "app").replace(str(primary.port), str(name.port)),
                valkey.url(),
                DATABASE_POOL_SIZE="2",
            )
        ) as api,
        unlimited_client(api) as client,
    ):
        assert post_chat(client).status_code == 201
        # The name leads to the replica, as a stale DNS record does after a failover: sessions are read-only.
        name.target = replica.port
        end_sessions(primary)
        wait_for_status(client, "/readyz", 503)
        expect_error(post_chat(client), 503)
        # The name is right again; the sessions on the replica are still open, and would stay so.
        name.target = primary.port
        wait_until(lambda: post_chat(client).status_code == 201)
        wait_for_status(client, "/readyz", 200)
        # The replica is promoted while the API uses it.
        name.target = replica.port
        end_sessions(primary)
        expect_error(wait_for_status(client, "/readyz", 503), 503)
        with psycopg.connect(replica.url("postgres"), autocommit=True) as dba:
            assert dba.execute("select pg_promote()").fetchone() == (True,)
        wait_until(lambda: post_chat(client).status_code == 201)
        wait_for_status(client, "/readyz", 200)
