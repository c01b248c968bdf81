"""The pool of connections: the queue for them, cancelled requests, and connections that broke or cannot be opened."""

import asyncio
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import asyncpg
import httpx
import psycopg
import pytest

from api.db.pool import ACQUIRE_TIMEOUT_SECONDS, MAX_WAITING_PER_CONNECTION, Database
from api.dev.postgres import Postgres
from api.dev.process import find_free_port
from api.settings import Settings
from tests.api.support import expect_error, locked_chats, read_status, request_head, unlimited_client, wait_for_status
from tests.api_process import Api, running, scrape
from tests.tokens import new_user
from tests.waiting import wait_until

CONNECTIONS = 2
REQUESTS = 30  # that are served before the test ends


@pytest.fixture(scope="module")
def database_name(new_database: Callable[[str], str]) -> str:
    return new_database(f"parley_{new_user().replace('-', '_')}")


@pytest.fixture(scope="module")
def small_pool_api(new_api: Callable[..., Api], database_name: str) -> Iterator[Api]:
    """An API with few connections to a database of its own."""
    options = {"DATABASE_POOL_SIZE": str(CONNECTIONS), "METRICS_PORT": str(find_free_port())}
    with running(new_api(database_name, **options)) as api:
        yield api


def request_chats(api: Api) -> socket.socket:
    """Open a connection on which a new user requests /api/chats."""
    connection = socket.create_connection(("127.0.0.1", api.port), timeout=20)
    connection.sendall(request_head("GET /api/chats HTTP/1.1", api.headers()))
    return connection


def count_connections(api: Api, state: str) -> float:
    return scrape(int(api.environment["METRICS_PORT"]), "parley_database_connections", server="primary", state=state)


def test_requests_get_connections_in_order_of_arrival(
    new_api: Callable[..., Api], database_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A request that arrives when a connection is released must not get it before those that have waited."""
    new_api(database_name, DATABASE_POOL_SIZE="1").export_environment(monkeypatch)
    served: list[int] = []

    async def serve() -> None:
        database = await Database.connect(Settings.load())
        loop = asyncio.get_running_loop()
        tasks: list[asyncio.Task[None]] = []
        is_over = asyncio.Event()

        async def request(number: int) -> None:
            await database.fetch_value("select 1")
            served.append(number)
            if len(served) == REQUESTS:
                is_over.set()

        def add_request() -> None:  # one in each iteration of the loop, up to the limit of waiting requests
            if len(tasks) < MAX_WAITING_PER_CONNECTION:
                tasks.append(loop.create_task(request(len(tasks))))
            if not is_over.is_set():
                loop.call_soon(add_request)

        add_request()
        async with asyncio.timeout(15):
            await is_over.wait()
        await asyncio.gather(*tasks)
        await database.close()

    asyncio.run(serve())
    assert len(served) >= REQUESTS
    assert served == sorted(served)


def test_open_connections_serve_when_no_more_can_be_opened(
    new_api: Callable[..., Api], database_name: str, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    new_api(database_name, DATABASE_POOL_SIZE="3").export_environment(monkeypatch)

    async def fetch(dba: psycopg.Connection[Any]) -> list[list[Any]]:
        database = await Database.connect(Settings.load())
        outcomes = []
        for limit, times in ((1, 3), (1, 1), (-1, 3)):
            dba.execute(f"alter database {database_name} connection limit {limit}")
            statements = (database.fetch_value("select 1") for _ in range(times))
            outcomes.append([type(value) for value in await asyncio.gather(*statements, return_exceptions=True)])
        assert database.connections == {"open": 3, "used": 0, "max": 3, "waiting": 0}
        await database.close()
        return outcomes

    with psycopg.connect(postgres.url("postgres"), autocommit=True) as dba:
        try:
            outcomes = asyncio.run(fetch(dba))
        finally:
            dba.execute(f"alter database {database_name} connection limit -1")
    rejected = asyncpg.TooManyConnectionsError
    assert outcomes == [[int, rejected, rejected], [int], [int, int, int]]


def test_connection_assigned_just_before_a_cancellation_is_passed_on(
    new_api: Callable[..., Api], database_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    new_api(database_name, DATABASE_POOL_SIZE="1").export_environment(monkeypatch)

    async def cancel() -> None:
        database = await Database.connect(Settings.load())
        pool = database._pool
        connection = await pool.acquire()
        waiting = asyncio.create_task(pool.acquire())
        loop = asyncio.get_running_loop()
        loop.call_soon(pool.release, connection)  # while the task waits
        loop.call_soon(waiting.cancel)  # after the connection is assigned, before the task runs
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert pool.acquire_nowait() is connection
        pool.release(connection)
        await database.close()

    asyncio.run(cancel())


def test_broken_connections_are_replaced(
    new_api: Callable[..., Api], database_name: str, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    new_api(database_name, DATABASE_POOL_SIZE="2").export_environment(monkeypatch)

    async def fetch() -> None:
        database = await Database.connect(Settings.load(), min_size=0)  # otherwise asyncpg replaces one at once
        statements = [database.fetch_value("select pg_backend_pid()") for _ in range(2)]
        pids = set(await asyncio.gather(*statements))
        assert len(pids) == 2
        with psycopg.connect(postgres.url("postgres"), autocommit=True) as dba:
            dba.execute("select pg_terminate_backend(pid, 5000) from unnest(%s::int[]) pid", [list(pids)])
        await asyncio.to_thread(wait_until, lambda: database.connections["open"] == 0)
        assert database.connections == {"open": 0, "used": 0, "max": 2, "waiting": 0}
        new = set(await asyncio.gather(*(database.fetch_value("select pg_backend_pid()") for _ in range(2))))
        assert len(new) == 2
        assert not new & pids
        assert database.connections == {"open": 2, "used": 0, "max": 2, "waiting": 0}
        await database.close()

    asyncio.run(fetch())


def test_disconnected_clients_leave_the_queue_for_connections(
    small_pool_api: Api, postgres: Postgres, database_name: str
) -> None:
    with ExitStack() as stack:
        with locked_chats(postgres.url(database_name)) as count_waiting:
            with ExitStack() as in_flight, ExitStack() as disconnected:
                for _ in range(CONNECTIONS):
                    in_flight.enter_context(request_chats(small_pool_api))
                wait_until(lambda: count_waiting() == CONNECTIONS)
                for _ in range(20):
                    disconnected.enter_context(request_chats(small_pool_api))
                wait_until(lambda: count_connections(small_pool_api, "waiting") == 20)
                disconnected.close()
                wait_until(lambda: count_connections(small_pool_api, "waiting") == 0)
                assert count_connections(small_pool_api, "used") == CONNECTIONS
            wait_until(lambda: count_connections(small_pool_api, "used") == 0)
            later = [stack.enter_context(request_chats(small_pool_api)) for _ in range(CONNECTIONS + 1)]
            wait_until(lambda: (count_waiting(), count_connections(small_pool_api, "waiting")) == (CONNECTIONS, 1))
        assert {read_status(connection) for connection in later} == {200}


def test_request_beyond_the_queue_for_connections_gets_503_at_once(
    small_pool_api: Api, postgres: Postgres, database_name: str
) -> None:
    with unlimited_client(small_pool_api) as client, ExitStack() as stack:
        with locked_chats(postgres.url(database_name)) as count_waiting:
            in_flight = [stack.enter_context(request_chats(small_pool_api)) for _ in range(CONNECTIONS)]
            wait_until(lambda: count_waiting() == CONNECTIONS)
            waiting = [
                stack.enter_context(request_chats(small_pool_api))
                for _ in range(CONNECTIONS * MAX_WAITING_PER_CONNECTION)
            ]
            wait_until(lambda: count_connections(small_pool_api, "waiting") == len(waiting))
            for path in ("/api/chats", "/readyz"):
                client.timeout = httpx.Timeout(ACQUIRE_TIMEOUT_SECONDS - 1)
                response = wait_for_status(client, path, 503)
                expect_error(response, 503)
                assert response.headers["retry-after"] == "1"
            assert client.get("/healthz").status_code == 200
        assert {read_status(connection) for connection in (*in_flight, *waiting)} == {200}
        assert client.get("/api/chats").status_code == 200
    assert (count_connections(small_pool_api, "waiting"), count_connections(small_pool_api, "used")) == (0, 0)
