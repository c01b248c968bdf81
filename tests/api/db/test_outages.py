"""Outages of PostgreSQL: requests get 503, and are served again as soon as PostgreSQL is available."""

import asyncio
import os
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import psycopg
import pytest

from api.db.pool import Database
from api.dev.postgres import Postgres
from api.dev.process import find_free_port
from api.settings import Settings
from tests.api.outages import suspended
from tests.api.support import expect_error, unlimited_client, wait_for_status
from tests.api_process import Api, running, scrape
from tests.waiting import wait_until


@pytest.mark.parametrize("end", [Postgres.stop, Postgres.kill], ids=["stopped", "killed"])
def test_requests_get_503_while_postgresql_is_unavailable(
    api: Api, postgres: Postgres, end: Callable[[Postgres], None]
) -> None:
    with unlimited_client(api) as client:
        assert client.get("/api/chats").status_code == 200
        end(postgres)
        try:
            # A backend that outlives a killed postmaster may execute one more statement.
            for path in ("/api/chats", "/api/chats/1", "/readyz"):
                response = wait_for_status(client, path, 503)
                assert expect_error(response, 503)["message"] == "The service is not available just now."
                assert response.headers["retry-after"] == "1"
            assert client.get("/healthz").status_code == 200
            expect_error(client.get("/api/nope"), 404)
            expect_error(client.get("/api/chats", headers={"Authorization": ""}), 401)
        finally:
            postgres.start()
        wait_until(lambda: client.get("/api/chats").status_code == 200)
        wait_for_status(client, "/readyz", 200)


def test_probes_of_a_hanging_postgresql_hold_one_connection(
    new_api: Callable[..., Api], shared_database: str, postgres: Postgres
) -> None:
    port = find_free_port()
    api = new_api(shared_database, METRICS_PORT=str(port))

    def used() -> float:
        of = partial(scrape, port, "parley_database_connections", server="primary")
        return of(state="used") + of(state="waiting")

    with running(api), unlimited_client(api, "") as client, ThreadPoolExecutor(20) as threads:
        wait_for_status(client, "/readyz", 200)
        counts = []
        with suspended(postgres):
            wait_for_status(client, "/readyz", 503)
            for _ in range(3):
                responses = [threads.submit(client.get, "/readyz") for _ in range(20)]
                counts.append(used())
                assert {response.result().status_code for response in responses} == {503}
            assert client.get("/healthz").status_code == 200
        assert max(counts) <= 1
        wait_for_status(client, "/readyz", 200)


def test_each_broken_connection_fails_one_request_at_most(api: Api, postgres: Postgres) -> None:
    kill = "select count(pg_terminate_backend(pid, 5000)) from pg_stat_activity where usename = 'app'"
    with unlimited_client(api) as client, psycopg.connect(postgres.url("postgres"), autocommit=True) as dba:
        wait_until(lambda: client.get("/api/chats").status_code == 200)
        killed = dba.execute(kill).fetchone()
        assert killed is not None
        assert killed[0] > 0
        statuses = [client.get("/api/chats").status_code for _ in range(killed[0] + 3)]
        assert set(statuses) <= {200, 503}
        assert statuses[-3:] == [200] * 3


def test_readyz_fails_when_row_level_security_no_longer_applies(api: Api, postgres: Postgres) -> None:
    with unlimited_client(api) as client, psycopg.connect(postgres.url("postgres"), autocommit=True) as dba:
        wait_for_status(client, "/readyz", 200)
        dba.execute("alter role app bypassrls")
        try:
            error = expect_error(wait_for_status(client, "/readyz", 503), 503)
        finally:
            dba.execute("alter role app nobypassrls")
        assert "role" not in error["message"]
        wait_for_status(client, "/readyz", 200)


def test_hanging_postgresql_does_not_delay_the_shutdown(
    new_api: Callable[..., Api], shared_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    new_api(shared_database).export_environment(monkeypatch)

    async def close_suspended() -> None:
        database = await Database.connect(Settings.load())
        backend = int(await database.fetch_value("select pg_backend_pid()"))
        os.kill(backend, signal.SIGSTOP)
        try:
            async with asyncio.timeout(5):
                await database.close()
        finally:
            os.kill(backend, signal.SIGCONT)

    asyncio.run(close_suspended())
