"""The API behind PgBouncer in transaction mode, with the README's configuration; the listener connects directly."""

import asyncio
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psycopg
import pytest

from api.db.pool import Database
from api.dev.postgres import Postgres
from api.dev.pusher_process import PusherProcess
from api.routes import ROUTES, Route
from api.settings import Settings
from listener.database import SESSION_SETTINGS
from tests.api.route_examples import EXAMPLES, name_of, new_route_examples
from tests.api.support import post_chat, unlimited_client
from tests.api_process import Api, running
from tests.e2e.pgbouncer import SERVER_CONNECTIONS, NewBouncer, PgBouncer, new_pooled_api
from tests.listener.process import Listener, running_listener
from tests.listener.subscriber import Subscriber
from tests.tokens import new_user
from tests.waiting import wait_until

CLIENTS = 6  # of an API
DATABASE = "parley_pooled"
SESSIONS = "select pid from pg_stat_activity where datname = %s and usename = 'app'"
# State that a session could keep from one transaction to the next.
KEPT_STATE = """
    select 'user: ' || session.user_id() where session.user_id() is not null
    union all select 'rows: ' || count(*) from parley.chats having count(*) > 0
    union all select 'setting: ' || name || '=' || setting from pg_settings
        where source = 'session' and name not in ('application_name', 'client_encoding', 'DateStyle', 'TimeZone')
    union all select 'setting: ' || name
        from unnest(array['parley.user_id', 'parley.selected_chat', 'response.links']) name
        where current_setting(name, true) <> ''
    union all select 'lock: ' || locktype from pg_locks where pid = pg_backend_pid() and locktype = 'advisory'
    union all select 'listens: ' || channel from pg_listening_channels() channel
    union all select 'table: ' || relname from pg_class where relpersistence = 't' and pg_table_is_visible(oid)
    union all select 'prepared: ' || statement from pg_prepared_statements where name not like 'PGBOUNCER_%%'
"""


@pytest.fixture(scope="module")
def bouncer(new_bouncer: NewBouncer) -> PgBouncer:
    return new_bouncer("shared")


@pytest.fixture(scope="module")
def database(new_database: Callable[[str], str]) -> str:
    return new_database(DATABASE)


@pytest.fixture(scope="module")
def pusher(directory: Path) -> Iterator[PusherProcess]:
    with PusherProcess(directory / "pusher-pooled", key="key", secret="secret") as server:
        yield server


@pytest.fixture(scope="module")
def api(bouncer: PgBouncer, new_api: Callable[..., Api], database: str) -> Iterator[Api]:
    options = {} if bouncer.supports_prepared_statements else {"DATABASE_STATEMENT_CACHE_SIZE": "0"}
    with running(new_pooled_api(bouncer, new_api, database, **options)) as api:
        yield api


def send_to_all_routes(api: Api, times: int) -> set[tuple[str, int]]:
    """Send requests to all routes from several clients at once; return the unexpected responses."""

    def send_all() -> set[tuple[str, int]]:
        unexpected = set()
        for _ in range(times):
            for route in ROUTES:
                with new_route_examples(api) as route_examples:
                    response = route_examples.request(
                        route_examples.owner, route, headers={"Idempotency-Key": new_user("key")}
                    )
                _, expected = EXAMPLES[route.method, route.path]
                if response.status_code != route.status or (
                    expected and response.json() != route_examples.fill(expected)
                ):
                    unexpected.add((name_of(route), response.status_code))
        return unexpected

    with ThreadPoolExecutor(CLIENTS) as pool:
        return set().union(*(task.result() for task in [pool.submit(send_all) for _ in range(CLIENTS)]))


@pytest.mark.parametrize("route", ROUTES, ids=name_of)
def test_every_route_responds_as_without_a_pooler(api: Api, route: Route) -> None:
    with new_route_examples(api) as route_examples:
        response = route_examples.request(route_examples.owner, route)
        assert response.status_code == route.status, response.text
        _, expected = EXAMPLES[route.method, route.path]
        assert expected is None or response.json() == route_examples.fill(expected)


def test_request_with_a_key_is_executed_once(api: Api) -> None:
    header = {"Idempotency-Key": "key"}
    with new_route_examples(api) as route_examples:
        messages = route_examples.fill("/api/chats/<chat_id>/messages")
        first, repeated = (
            route_examples.owner.post(messages, json={"content": "once"}, headers=header) for _ in range(2)
        )
        assert repeated.headers["idempotency-replayed"] == "true"
        assert (repeated.status_code, repeated.content) == (first.status_code, first.content) == (201, first.content)
        assert route_examples.owner.get(messages).json()["total"] == 2


def test_clients_share_fewer_connections_and_none_fails(api: Api, postgres: Postgres, database: str) -> None:
    assert send_to_all_routes(api, times=2) == set()
    assert '"level": "error"' not in api.log.read_text()
    with psycopg.connect(postgres.url("postgres")) as dba:
        assert dba.execute(SESSIONS, [database]).rowcount == SERVER_CONNECTIONS


def test_sessions_keep_no_state_of_requests(api: Api, bouncer: PgBouncer, postgres: Postgres, database: str) -> None:
    assert send_to_all_routes(api, times=1) == set()
    with ExitStack() as stack:
        dba = stack.enter_context(psycopg.connect(postgres.url(database)))
        row = dba.execute("select count(*), count(distinct user_id) from parley.members").fetchone()
        assert row is not None
        assert min(row) > 1  # so that there was state to keep
        used = {pid for (pid,) in dba.execute(SESSIONS, [database])}
        url = bouncer.url(database, "app", "app")
        checked = set()
        for _ in range(SERVER_CONNECTIONS):  # each transaction stays open, so that the next one uses another connection
            connection = stack.enter_context(psycopg.connect(url, prepare_threshold=None))
            pid = connection.execute("select pg_backend_pid()").fetchone()
            assert pid is not None
            checked |= set(pid)
            assert connection.execute(KEPT_STATE).fetchall() == []
        assert checked == used


@pytest.mark.parametrize("fetch", [Database.fetch_value, Database.fetch_row])
def test_cancelled_request_releases_its_connection(
    postgres: Postgres, database: str, api: Api, monkeypatch: pytest.MonkeyPatch, fetch: Callable[..., Any]
) -> None:
    api.export_environment(monkeypatch)

    async def cancel_fetch() -> None:
        pooled_database = await Database.connect(Settings.load())
        loop = asyncio.get_running_loop()
        task = asyncio.create_task(fetch(pooled_database, "select api.check_readiness(), ''"))

        def cancel_after_response() -> None:  # PostgreSQL has responded, and the task has not been resumed yet
            if task._fut_waiter and task._fut_waiter.done():  # type: ignore[attr-defined]
                task.cancel()
            elif not task.done():
                loop.call_soon(cancel_after_response)

        loop.call_soon(cancel_after_response)
        with pytest.raises(asyncio.CancelledError):
            await task
        with psycopg.connect(postgres.url("postgres"), autocommit=True) as dba:
            assert dba.execute(f"{SESSIONS} and state <> 'idle'", [database]).fetchall() == []
        await pooled_database.close()

    asyncio.run(cancel_fetch())


def test_events_arrive_when_the_listener_connects_directly(
    api: Api, directory: Path, postgres: Postgres, database: str, pusher: PusherProcess
) -> None:
    listener = Listener(directory, postgres.url(database, "events", "events"), pusher)
    with running_listener(listener), unlimited_client(api) as client:
        chat = client.post("/api/chats", json={"title": "Plans"}).json()["id"]
        with Subscriber(pusher, f"private-chat-{chat}") as subscriber:
            sent = client.post(f"/api/chats/{chat}/messages", json={"content": "hello"}).json()
            wait_until(lambda: subscriber.received("message:sent") == [sent])


@pytest.mark.parametrize(
    "options",
    [{}, {"ignore_startup_parameters": ", ".join(SESSION_SETTINGS)}],
    ids=["as in the README", "that takes the listener's parameters"],
)
def test_listener_does_not_start_behind_a_pooler(
    new_bouncer: NewBouncer, directory: Path, database: str, pusher: PusherProcess, options: dict[str, str]
) -> None:
    bouncer = new_bouncer(new_user("events"), **options)
    listener = Listener(directory, bouncer.url(database, "events", "events"), pusher).spawn()
    child = listener.child
    assert child is not None
    wait_until(lambda: child.exit_code is not None)
    assert child.exit_code == 1
    (line,) = listener.log.read_text().splitlines()
    assert line == (
        "parley-listener: DATABASE_URL: leads to a pooler, but the listener must connect to PostgreSQL directly"
    )
    listener.stop()


def test_replica_behind_a_pooler_is_not_used(bouncer: PgBouncer, new_api: Callable[..., Api], database: str) -> None:
    api = new_api(database, DATABASE_REPLICA_URL=bouncer.url(database, "app", "app"))
    with running(api), unlimited_client(api) as client:
        wait_until(lambda: "The replica is not used: DATABASE_REPLICA_URL leads to a pooler" in api.log.read_text())
        assert client.get("/api/chats").status_code == 200


@pytest.mark.parametrize("ignored", ["default_transaction_isolation", ""], ids=["as in the README", "that rejects it"])
def test_isolation_level_that_a_pooler_drops_is_reported(
    new_bouncer: NewBouncer,
    new_api: Callable[..., Api],
    new_database: Callable[[str], str],
    postgres: Postgres,
    ignored: str,
) -> None:
    database = new_database(new_user("parley").replace("-", "_"))
    bouncer = new_bouncer(new_user("isolation"), ignore_startup_parameters=ignored)
    api = new_pooled_api(bouncer, new_api, database, DATABASE_STATEMENT_CACHE_SIZE="0")
    with psycopg.connect(postgres.url("postgres"), autocommit=True) as dba:
        dba.execute(f"alter database {database} set default_transaction_isolation = 'repeatable read'")
        error = api.fail_to_start()
        remedy = re.search(r"run (.*), and", error)
        assert remedy
        assert error.startswith("parley: DATABASE_URL: default_transaction_isolation is repeatable read: ")
        dba.execute(remedy[1])
        dba.execute("select pg_terminate_backend(pid) from pg_stat_activity where datname = %s", [database])
    with running(api), unlimited_client(api) as client:
        assert post_chat(client).status_code == 201
