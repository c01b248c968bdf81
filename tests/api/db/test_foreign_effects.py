"""A statement is repeated only if its failed attempt certainly had no effect, also on a foreign server.

The foreign server is another database of the same cluster, whose rows are committed by dblink.
"""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import asyncpg
import psycopg
import pytest

from api.db.pool import Database
from api.db.schema_changes import HAS_ONLY_TRANSACTIONAL_CODE
from api.dev.postgres import Postgres
from api.settings import Settings
from tests.api_process import Api

ELSEWHERE = "create table public.sent (attempt bigint)"
HERE = """
create sequence public.attempts;
create function public.attempt() returns void language sql security definer as $$ select nextval('public.attempts') $$;
create function public.fail(code text, message text) returns void language plpgsql as $$
begin
    perform public.attempt();
    raise exception using errcode = code, message = message;
end $$;
grant execute on function public.attempt, public.fail to app;
"""
SEND = """
create extension dblink;
create extension postgres_fdw;
create server elsewhere foreign data wrapper postgres_fdw options (host '127.0.0.1', port '{port}', dbname '{name}');
create user mapping for public server elsewhere options (user 'postgres', password '{password}');
create foreign table public.sent (attempt bigint) server elsewhere;
grant insert on public.sent to public;
create function public.send(then_here text, then_elsewhere text) returns void language plpgsql security definer as $$
begin
    perform public.attempt();
    perform public.dblink_exec(
        'host=127.0.0.1 port={port} dbname={name} user=postgres password={password}',
        'begin; insert into sent values (1); commit; ' || then_elsewhere);
    execute then_here;
end $$;
grant execute on function public.send to app;
"""
KILL = "select pg_terminate_backend(pg_backend_pid())"
SCHEMA_CHANGES = {
    "42883": "function public.f() does not exist",
    "42703": 'column "c" does not exist',
    "42P01": 'relation "public.t" does not exist',
    "42804": "structure of query does not match function result type",
    "XX000": "cache lookup failed for function 16400",
}


@dataclass
class Server:
    """A database and a foreign one."""

    api: Api
    url: str
    elsewhere_url: str

    def fetch(self, monkeypatch: pytest.MonkeyPatch, statement: str, *arguments: Any) -> str | None:
        """Run a statement as the API does; return the SQLSTATE of its error."""
        self.api.export_environment(monkeypatch)

        async def run() -> str | None:
            database = await Database.connect(Settings.load())
            try:
                await database.fetch_value(statement, *arguments)
            except asyncpg.PostgresError as error:
                return str(error.sqlstate)
            finally:
                await database.close()
            return None

        return asyncio.run(run())

    def count_attempts(self) -> int:
        """Return how many attempts there were since the last call. A sequence is not rolled back."""
        with psycopg.connect(self.url, autocommit=True) as dba:
            row = dba.execute("select last_value - (not is_called)::int from public.attempts").fetchone()
            dba.execute("alter sequence public.attempts restart")
        assert row
        return int(row[0])

    def count_sent(self) -> int:
        """Return how many rows were committed elsewhere since the last call."""
        with psycopg.connect(self.elsewhere_url, autocommit=True) as dba:
            return dba.execute("delete from public.sent").rowcount


@pytest.fixture(scope="module")
def server(postgres: Postgres, new_database: Callable[[str], str], new_api: Callable[..., Api]) -> Server:
    here, elsewhere = new_database("parley_here"), "parley_elsewhere"
    with psycopg.connect(postgres.url("postgres"), autocommit=True) as dba:
        dba.execute(f"create database {elsewhere}")
    with psycopg.connect(postgres.url(elsewhere), autocommit=True) as dba:
        dba.execute(ELSEWHERE)
    with psycopg.connect(postgres.url(here), autocommit=True) as dba:
        dba.execute(HERE)
    return Server(new_api(here), postgres.url(here), postgres.url(elsewhere))


@pytest.fixture
def foreign(server: Server, postgres: Postgres) -> Iterator[Server]:
    """The database with dblink and postgres_fdw."""
    with psycopg.connect(server.url, autocommit=True) as dba:
        dba.execute(SEND.format(port=postgres.port, name="parley_elsewhere", password=postgres.password))
    yield server
    with psycopg.connect(server.url, autocommit=True) as dba:
        dba.execute("drop function public.send; drop extension dblink; drop extension postgres_fdw cascade")


@pytest.mark.parametrize(
    ("code", "message", "attempts"),
    [
        *((code, message, 2) for code, message in SCHEMA_CHANGES.items()),
        ("XX000", "could not open relation with OID 16400", 2),
        ("XX000", "cache lookup failed for access method operator 1", 2),
        ("XX000", "PL/Proxy function public.send(1): [shard] connection lost", 1),
        ("XX000", "remote: cache lookup failed for function 16400", 1),
        ("XX000", "could not open relation with OID 16400 on the foreign server", 1),
        ("XX000", "unexpected chunk number 1", 1),
        ("XX001", "cache lookup failed for function 16400", 1),
        ("40001", "could not serialize access", 1),
        ("40P01", "deadlock detected", 1),
        ("26000", "prepared statement does not exist", 1),
        ("08006", "server closed the connection", 1),
        ("57014", "canceling statement due to statement timeout", 1),
    ],
)
def test_only_a_schema_change_is_repeated(
    server: Server, monkeypatch: pytest.MonkeyPatch, code: str, message: str, attempts: int
) -> None:
    assert server.fetch(monkeypatch, "select public.fail($1, $2)", code, message) == code
    assert server.count_attempts() == attempts


@pytest.mark.parametrize(("code", "message"), SCHEMA_CHANGES.items())
def test_schema_change_after_a_commit_elsewhere_is_not_repeated(
    foreign: Server, monkeypatch: pytest.MonkeyPatch, code: str, message: str
) -> None:
    fail = f"select public.fail('{code}', '{message}')"
    assert foreign.fetch(monkeypatch, "select public.send($1, '')", fail) == code
    assert foreign.count_sent() == 1
    assert foreign.count_attempts() == 2  # of send() and fail(), each once


@pytest.mark.parametrize(
    ("then_elsewhere", "states"),
    [
        (KILL, {"57P01", "08006", "XX000"}),
        ("select nobody.knows()", {"3F000"}),
        ("select unknown_function()", {"42883"}),
        ("select unknown_column", {"42703"}),
        ("select from unknown_table", {"42P01"}),
        ("do $x$ begin raise sqlstate 'XX000' using message = 'cache lookup failed for type 1'; end $x$", {"XX000"}),
    ],
)
def test_error_elsewhere_after_its_commit_is_not_repeated(
    foreign: Server, monkeypatch: pytest.MonkeyPatch, then_elsewhere: str, states: set[str]
) -> None:
    assert foreign.fetch(monkeypatch, "select public.send('', $1)", then_elsewhere) in states
    assert (foreign.count_sent(), foreign.count_attempts()) == (1, 1)


def test_foreign_table_that_was_dropped_elsewhere_is_not_retried(
    foreign: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """postgres_fdw passes on the foreign server's SQLSTATE as if it were its own."""
    insert = "with attempt as (select public.attempt()) insert into public.sent select 1 from attempt returning 1"
    with psycopg.connect(foreign.elsewhere_url, autocommit=True) as dba:
        dba.execute("alter table public.sent rename to moved")
        try:
            assert foreign.fetch(monkeypatch, insert) == "42P01"
        finally:
            dba.execute("alter table public.moved rename to sent")
    assert foreign.count_attempts() <= 1


@pytest.mark.parametrize(
    ("create", "drop", "is_transactional"),
    [
        ("select", "select", True),
        ("create extension pg_buffercache", "drop extension pg_buffercache", True),
        ("create extension pg_stat_statements", "drop extension pg_stat_statements", True),
        ("create extension citext", "drop extension citext", True),
        ("create extension dblink", "drop extension dblink", False),
        ("create extension postgres_fdw", "drop extension postgres_fdw", False),
        ("create extension file_fdw", "drop extension file_fdw", False),
    ],
)
def test_code_that_may_act_elsewhere_is_found(server: Server, create: str, drop: str, is_transactional: bool) -> None:
    with psycopg.connect(server.url, autocommit=True) as dba:
        try:
            dba.execute(create)
        except psycopg.errors.FeatureNotSupported:
            pytest.skip("this build of PostgreSQL lacks the extension")
        try:
            assert dba.execute(HAS_ONLY_TRANSACTIONAL_CODE).fetchone() == (is_transactional,)
        finally:
            dba.execute(drop)
