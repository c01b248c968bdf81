"""Prepared statements behind PgBouncer in transaction mode: a connection executes only what it has prepared."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import asyncpg
import psycopg
import pytest

from api.db.pool import Database
from api.dev.postgres import Postgres
from api.settings import Settings
from api.shared.postgres import Connection, connect
from tests.api.support import patch_api, unlimited_client, wait_for_status
from tests.api_process import Api, running
from tests.database import new_chat
from tests.e2e.pgbouncer import NewBouncer, PgBouncer, new_pooled_api
from tests.tokens import new_user
from tests.waiting import wait_until

CLIENTS = 6
PASSES_NAMES = {"max_prepared_statements": "0"}  # as PgBouncer before 1.21 does
# Without the check, as if the pooler was put in between after the start.
NO_CHECK = "from api import startup_checks", "async def check(_): pass", "startup_checks.check_statement_cache = check"
TERMINATE = "select pg_terminate_backend(pid) from pg_stat_activity where datname = %s and usename = 'app'"


@pytest.fixture(scope="module")
def database(new_database: Callable[[str], str]) -> str:
    return new_database("parley_statements")


@pytest.fixture(scope="module")
def passing_bouncer(new_bouncer: NewBouncer) -> PgBouncer:
    """A PgBouncer with one connection to PostgreSQL, which passes the names of statements on."""
    return new_bouncer("passing", default_pool_size="1", **PASSES_NAMES)


@pytest.fixture
def dba(postgres: Postgres, database: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(postgres.url(database), autocommit=True) as connection:
        yield connection


def replace_server_connections(dba: psycopg.Connection[Any], database: str) -> None:
    """End all connections of PgBouncer, so that it opens others."""
    assert dba.execute(TERMINATE, [database]).rowcount
    wait_until(lambda: dba.execute(TERMINATE, [database]).rowcount == 0)


def test_lost_statement_is_not_another_process_statement(
    passing_bouncer: PgBouncer, new_api: Callable[..., Api], database: str, dba: psycopg.Connection[Any]
) -> None:
    """Both processes send their first statements in the same order, so asyncpg's numbers for them are the same."""
    user = new_user()
    kept, deleted = new_chat(dba, user, title="Kept"), new_chat(dba, user)
    first, second = (patch_api(new_pooled_api(passing_bouncer, new_api, database), *NO_CHECK) for _ in range(2))
    with running(first), unlimited_client(first, user) as reader:
        assert reader.get(f"/api/chats/{kept}").status_code == 200
        replace_server_connections(dba, database)
        with running(second), unlimited_client(second, user) as writer:
            assert writer.delete(f"/api/chats/{deleted}").status_code == 204
            response = reader.get(f"/api/chats/{kept}")
            assert (response.status_code, response.json().get("title")) == (200, "Kept")
            assert writer.get(f"/api/chats/{kept}").status_code == 200


def test_api_with_a_statement_cache_does_not_start(
    passing_bouncer: PgBouncer, new_api: Callable[..., Api], database: str
) -> None:
    assert new_pooled_api(passing_bouncer, new_api, database).fail_to_start() == (
        "parley: DATABASE_STATEMENT_CACHE_SIZE: must be 0, since the pooler in DATABASE_URL does not rename prepared "
        "statements, as PgBouncer 1.21 and later do with max_prepared_statements"
    )


def test_no_request_fails_if_statements_are_lost(
    new_bouncer: NewBouncer, new_api: Callable[..., Api], database: str, dba: psycopg.Connection[Any]
) -> None:
    bouncer = new_bouncer("shared-statements", **PASSES_NAMES)
    with running(patch_api(new_pooled_api(bouncer, new_api, database), *NO_CHECK)) as api:
        with ThreadPoolExecutor(CLIENTS) as pool, unlimited_client(api) as client:
            for _ in range(3):
                statuses = list(
                    pool.map(lambda path: client.get(path).status_code, ["/api/chats", "/api/profile"] * 30)
                )
                assert set(statuses) == {200}
                replace_server_connections(dba, database)
                wait_for_status(client, "/api/chats", 200)
        assert '"level": "error"' not in api.log.read_text()


def test_lost_statement_is_prepared_again_in_a_transaction(
    monkeypatch: pytest.MonkeyPatch,
    passing_bouncer: PgBouncer,
    new_api: Callable[..., Api],
    database: str,
    dba: psycopg.Connection[Any],
) -> None:
    new_pooled_api(passing_bouncer, new_api, database).export_environment(monkeypatch)
    statement = "select api.check_readiness()"

    async def check_twice() -> None:
        pooled_database = await Database.connect(Settings.load())
        for _ in range(2):
            async with pooled_database.transaction(statement) as row:
                assert row[0]
            replace_server_connections(dba, database)
        await pooled_database.close()

    asyncio.run(check_twice())


def test_renamed_statements_are_cached(new_bouncer: NewBouncer, new_api: Callable[..., Api], database: str) -> None:
    bouncer = new_bouncer("renaming")
    if not bouncer.supports_prepared_statements:
        pytest.skip("this PgBouncer does not support prepared statements")
    with running(new_pooled_api(bouncer, new_api, database)) as api, unlimited_client(api) as client:
        assert {client.get("/api/chats").status_code for _ in range(10)} == {200}


class InterruptedConnection(Connection):
    """A connection that runs `interrupt` after it has described an unnamed statement, before it executes it."""

    interrupt: Callable[[], Awaitable[None]] | None = None

    async def _get_statement(self, *arguments: Any, **options: Any) -> Any:
        statement = await super()._get_statement(*arguments, **options)
        if self.interrupt:
            interrupt, self.interrupt = self.interrupt, None
            await interrupt()
        return statement


@pytest.mark.parametrize("command", ["RECONNECT", "terminate"])
def test_unnamed_statement_is_not_replaced_by_another_clients(
    new_bouncer: NewBouncer, database: str, dba: psycopg.Connection[Any], command: str
) -> None:
    """The server connection is replaced, and another client prepares a statement, between Describe and Execute."""
    bouncer = new_bouncer(f"unnamed-{command.lower()}", default_pool_size="2", admin_users="app", **PASSES_NAMES)
    url = bouncer.url(database, "app", "app")

    async def execute() -> Any:
        first, second = [
            await connect(url, connection_class=InterruptedConnection, statement_cache_size=0) for _ in range(2)
        ]

        async def interrupt() -> None:
            if command == "terminate":
                dba.execute(TERMINATE, [database])
            else:
                with psycopg.connect(bouncer.url("pgbouncer", "app", "app"), autocommit=True) as admin:
                    admin.execute("RECONNECT")
            assert await second.fetchval("select 'second'") == "second"

        first.interrupt = interrupt
        try:
            return await first.fetchval("select 'first'")
        finally:
            first.terminate()
            second.terminate()

    if command == "terminate":
        with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError)):
            asyncio.run(execute())
    else:
        assert asyncio.run(execute()) == "first"
