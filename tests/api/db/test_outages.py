"""PostgreSQL away: requests are told to come back, and are served again as soon as it is back."""

import asyncio
import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial

import psutil
import psycopg
import pytest

from api.db.pool import Database
from api.dev.postgres import Postgres
from api.dev.process import find_free_port
from api.settings import Settings
from tests.api.support import becomes, refusal, unlimited
from tests.support import Api, running, scraped, wait_until


@pytest.mark.parametrize("end", [Postgres.stop, Postgres.kill], ids=["stopped", "killed"])
def test_while_postgresql_is_away_the_answer_is_503(
    api: Api, postgres: Postgres, end: Callable[[Postgres], None]
) -> None:
    with unlimited(api) as client:
        assert client.get("/api/chats").status_code == 200
        end(postgres)
        try:
            for path in ("/api/chats", "/api/chats/1", "/readyz"):
                response = becomes(client, path, 503) if path == "/readyz" else client.get(path)
                assert refusal(response, 503)["message"] == "The service is not available just now."
                assert response.headers["retry-after"] == "1"
            assert client.get("/healthz").status_code == 200
            refusal(client.get("/api/nope"), 404)
            refusal(client.get("/api/chats", headers={"Authorization": ""}), 401)
        finally:
            postgres.start()
        wait_until(lambda: client.get("/api/chats").status_code == 200)
        becomes(client, "/readyz", 200)


@contextmanager
def suspended(postgres: Postgres) -> Iterator[None]:
    """PostgreSQL with all its processes stopped: connections open, and nothing responds."""
    assert postgres.child
    server = psutil.Process(postgres.child.pid)
    processes = [server, *server.children()]
    try:
        for process in processes:
            process.suspend()
        yield
    finally:
        for process in processes:
            process.resume()


def test_a_postgresql_that_hangs_is_not_ready_and_holds_one_connection(
    new_api: Callable[..., Api], shared_database: str, postgres: Postgres
) -> None:
    port = find_free_port()
    api = new_api(shared_database, METRICS_PORT=str(port))

    def used() -> float:
        of = partial(scraped, port, "parley_database_connections", server="primary")
        return of(state="used") + of(state="waiting")

    with running(api), unlimited(api, "") as client, ThreadPoolExecutor(20) as threads:
        becomes(client, "/readyz", 200)
        seen = []
        with suspended(postgres):
            becomes(client, "/readyz", 503)
            for _ in range(3):
                responses = [threads.submit(client.get, "/readyz") for _ in range(20)]
                seen.append(used())
                assert {response.result().status_code for response in responses} == {503}
            assert client.get("/healthz").status_code == 200
        assert max(seen) <= 1
        becomes(client, "/readyz", 200)


def test_a_connection_that_broke_costs_one_request_at_most(api: Api, postgres: Postgres) -> None:
    kill = "select count(pg_terminate_backend(pid, 5000)) from pg_stat_activity where usename = 'app'"
    with unlimited(api) as client, psycopg.connect(postgres.url("postgres"), autocommit=True) as dba:
        wait_until(lambda: client.get("/api/chats").status_code == 200)
        killed = dba.execute(kill).fetchone()
        assert killed is not None
        assert killed[0] > 0
        statuses = [client.get("/api/chats").status_code for _ in range(killed[0] + 3)]
        assert set(statuses) <= {200, 503}
        assert statuses[-3:] == [200] * 3


def test_a_database_that_is_no_longer_fit_is_not_ready(api: Api, postgres: Postgres) -> None:
    with unlimited(api) as client, psycopg.connect(postgres.url("postgres"), autocommit=True) as dba:
        becomes(client, "/readyz", 200)
        dba.execute("alter role app bypassrls")
        try:
            error = refusal(becomes(client, "/readyz", 503), 503)
        finally:
            dba.execute("alter role app nobypassrls")
        assert "role" not in error["message"]
        becomes(client, "/readyz", 200)


def test_a_postgresql_that_hangs_does_not_hold_up_the_end(
    new_api: Callable[..., Api], shared_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    new_api(shared_database).lend_environment(monkeypatch)

    async def open_hang_close() -> None:
        database = await Database.connect(Settings.load())
        backend = int(await database.call("select pg_backend_pid()"))
        os.kill(backend, signal.SIGSTOP)
        try:
            async with asyncio.timeout(5):
                await database.close()
        finally:
            os.kill(backend, signal.SIGCONT)

    asyncio.run(open_hang_close())
