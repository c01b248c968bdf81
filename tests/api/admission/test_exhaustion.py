"""All connections to PostgreSQL busy: who comes waits in line, for a while, and who goes away leaves it."""

import asyncio
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import asyncpg
import httpx
import psycopg
import pytest

from api.db.pool import ACQUIRE_SECONDS, WAITING_FOR_EACH, Database
from api.dev.postgres import Postgres
from api.dev.process import find_free_port
from api.settings import Settings
from tests.api.support import becomes, head, refusal, unlimited
from tests.api.test_process import held_up
from tests.support import Api, new_user, running, scraped, wait_until

CONNECTIONS = 2


@pytest.fixture(scope="module")
def database(new_database: Callable[[str], str]) -> str:
    return new_database(f"parley_{new_user().replace('-', '_')}")


@pytest.fixture(scope="module")
def small(new_api: Callable[..., Api], database: str) -> Iterator[Api]:
    """An API with few connections to a database of its own."""
    options = {"DATABASE_POOL_SIZE": str(CONNECTIONS), "METRICS_PORT": str(find_free_port())}
    with running(new_api(database, **options)) as api:
        yield api


def asking(api: Api) -> socket.socket:
    """A connection on which another user asks for /api/chats."""
    connection = socket.create_connection(("127.0.0.1", api.port), timeout=20)
    connection.sendall(head("GET /api/chats HTTP/1.1", api.headers()))
    return connection


def connections(api: Api, state: str) -> float:
    return scraped(int(api.environment["METRICS_PORT"]), "parley_database_connections", server="primary", state=state)


def test_who_waits_is_served_in_turn(
    new_api: Callable[..., Api], database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also while others come: one that finds a connection just given back may not take it from who has waited."""
    new_api(database, DATABASE_POOL_SIZE="1").lend_environment(monkeypatch)
    served: list[int] = []

    async def serve() -> None:
        pool = await Database.connect(Settings.load())
        loop = asyncio.get_running_loop()
        asked: list[asyncio.Task[None]] = []
        is_over = asyncio.Event()

        async def ask(number: int) -> None:
            await pool.call("select 1")
            served.append(number)
            if len(served) == 30:
                is_over.set()

        def come() -> None:  # one in each turn of the loop, as long as there is room
            if len(asked) < WAITING_FOR_EACH:
                asked.append(loop.create_task(ask(len(asked))))
            if not is_over.is_set():
                loop.call_soon(come)

        come()
        async with asyncio.timeout(15):
            await is_over.wait()
        await asyncio.gather(*asked)
        await pool.close()

    asyncio.run(serve())
    assert len(served) >= 30
    assert served == sorted(served)


def test_where_no_more_can_be_opened_those_that_are_open_serve(
    new_api: Callable[..., Api], database: str, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    new_api(database, DATABASE_POOL_SIZE="3").lend_environment(monkeypatch)

    async def ask(dba: psycopg.Connection[Any]) -> list[list[Any]]:
        pool = await Database.connect(Settings.load())
        answers = []
        for limit, times in ((1, 3), (1, 1), (-1, 3)):
            dba.execute(f"alter database {database} connection limit {limit}")
            asked = (pool.call("select 1") for _ in range(times))
            answers.append([type(answer) for answer in await asyncio.gather(*asked, return_exceptions=True)])
        assert pool.connections == {"open": 3, "used": 0, "max": 3, "waiting": 0}
        await pool.close()
        return answers

    with psycopg.connect(postgres.url("postgres"), autocommit=True) as dba:
        try:
            answers = asyncio.run(ask(dba))
        finally:
            dba.execute(f"alter database {database} connection limit -1")
    refused = asyncpg.TooManyConnectionsError
    assert answers == [[int, refused, refused], [int], [int, int, int]]


def test_who_goes_away_in_turn_passes_the_connection_on(
    new_api: Callable[..., Api], database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    new_api(database, DATABASE_POOL_SIZE="1").lend_environment(monkeypatch)

    async def go_away() -> None:
        database = await Database.connect(Settings.load())
        pool = database._pool
        connection = await pool.take()
        waiting = asyncio.create_task(pool.take())
        loop = asyncio.get_running_loop()
        loop.call_soon(pool.give_back, connection)  # when it waits
        loop.call_soon(waiting.cancel)  # when it has the connection, but has not seen that yet
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert pool.take_ready() is connection
        pool.give_back(connection)
        await database.close()

    asyncio.run(go_away())


def test_connections_that_broke_are_replaced_and_none_is_lost(
    new_api: Callable[..., Api], database: str, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    new_api(database, DATABASE_POOL_SIZE="2").lend_environment(monkeypatch)

    async def ask() -> None:
        pool = await Database.connect(Settings.load(), min_size=0)  # or asyncpg opens one anew at once
        both = [pool.call("select pg_backend_pid()") for _ in range(2)]
        pids = set(await asyncio.gather(*both))
        assert len(pids) == 2
        with psycopg.connect(postgres.url("postgres"), autocommit=True) as dba:
            dba.execute("select pg_terminate_backend(pid, 5000) from unnest(%s::int[]) pid", [list(pids)])
        await asyncio.to_thread(wait_until, lambda: pool.connections["open"] == 0)
        assert pool.connections == {"open": 0, "used": 0, "max": 2, "waiting": 0}
        new = set(await asyncio.gather(*(pool.call("select pg_backend_pid()") for _ in range(2))))
        assert len(new) == 2
        assert not new & pids
        assert pool.connections == {"open": 2, "used": 0, "max": 2, "waiting": 0}
        await pool.close()

    asyncio.run(ask())


def test_who_goes_away_leaves_the_line_and_no_connection_is_lost(small: Api, postgres: Postgres, database: str) -> None:
    with ExitStack() as stack:
        with held_up(postgres.url(database)) as locked:
            with ExitStack() as held, ExitStack() as gone:
                for _ in range(CONNECTIONS):
                    held.enter_context(asking(small))
                wait_until(lambda: locked() == CONNECTIONS)
                for _ in range(20):
                    gone.enter_context(asking(small))
                wait_until(lambda: connections(small, "waiting") == 20)
                gone.close()
                wait_until(lambda: connections(small, "waiting") == 0)
                assert connections(small, "used") == CONNECTIONS
            wait_until(lambda: connections(small, "used") == 0)
            late = [stack.enter_context(asking(small)) for _ in range(CONNECTIONS + 1)]
            wait_until(lambda: (locked(), connections(small, "waiting")) == (CONNECTIONS, 1))
        assert {one.recv(65_536)[9:12] for one in late} == {b"200"}


def test_so_many_may_wait_and_the_next_is_told_to_come_back_at_once(
    small: Api, postgres: Postgres, database: str
) -> None:
    with unlimited(small) as client, ExitStack() as stack:
        with held_up(postgres.url(database)) as locked:
            held = [stack.enter_context(asking(small)) for _ in range(CONNECTIONS)]
            wait_until(lambda: locked() == CONNECTIONS)
            waiting = [stack.enter_context(asking(small)) for _ in range(CONNECTIONS * WAITING_FOR_EACH)]
            wait_until(lambda: connections(small, "waiting") == len(waiting))
            for path in ("/api/chats", "/readyz"):
                client.timeout = httpx.Timeout(ACQUIRE_SECONDS - 1)
                response = becomes(client, path, 503)
                refusal(response, 503)
                assert response.headers["retry-after"] == "1"
            assert client.get("/healthz").status_code == 200
        assert {one.recv(65_536)[9:12] for one in (*held, *waiting)} == {b"200"}
        assert client.get("/api/chats").status_code == 200
    assert (connections(small, "waiting"), connections(small, "used")) == (0, 0)
