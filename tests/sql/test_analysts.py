"""A login with parley_analyst can read the views of schema analytics, and nothing else."""

import json
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from api.dev.postgres import Postgres
from tests.database import Connection, add_member, call, new_chat, roll_up

Analyst = tuple[Connection, list[str]]  # a connection, and the secrets that it must not read

SECRETS = {
    "content": "a-secret-content",
    "title": "a-secret-title",
    "name": "A Secret-Name",
    "email": "secret@secret.example",
    "image": "https://secret.example/face.png",
    "session": "a-secret-session-token",
    "context": "a-secret-context",
    "model": "a-secret-model",
    "user": "a-secret-user",
    "key": "a-secret-key",
}


@pytest.fixture
def analyst_and_secrets(own_dba: Connection, postgres: Postgres, own_url: str) -> Iterator[Analyst]:
    """An analyst's connection to a database with secrets that a DBA can read, and the secrets."""
    user = SECRETS["user"]
    own_dba.execute(
        "insert into next_auth.users (id, name, email, image) values (%(user)s, %(name)s, %(email)s, %(image)s)",
        SECRETS,
    )
    own_dba.execute(
        'insert into next_auth.sessions ("userId", expires, "sessionToken") values (%(user)s, now(), %(session)s)',
        SECRETS,
    )
    chat = new_chat(own_dba, user, title=SECRETS["title"])
    sent = call(own_dba, user, "send_message", chat, {"content": SECRETS["content"]})
    add_member(own_dba, user, chat, "another")
    call(own_dba, "another", "send_message", chat, {"content": SECRETS["content"]})
    settings = {"context": SECRETS["context"], "model": SECRETS["model"]}
    call(own_dba, user, "update_settings", {"settings": settings})
    own_dba.execute(
        "select listener.dead_letter((select min(id) from parley.outbox), %s)",
        [f"HTTP 400: no channel private-user-{user}, {chat}: {SECRETS['content']}"],
    )
    own_dba.execute(
        "select session.store_response(%(key)s, '', to_json(%(content)s::text))"
        " from session.authenticate(%(identity)s)",
        SECRETS | {"identity": json.dumps({"sub": user})},
    )
    own_dba.execute("analyze")
    for _ in range(3):
        roll_up(own_dba)
    for table in ("users", "chats"):  # their views have no messages of today
        own_dba.execute(f"update parley.rollup_{table} set last_message_on = last_message_on - 1, messages = 5")
    own_dba.execute("analyze")
    own_dba.execute(
        "do $$ begin create role analyst login password 'analyst' in role parley_analyst;"
        " exception when duplicate_object then null; end $$"
    )
    secrets = [*SECRETS.values(), chat, sent["id"]]
    database = own_url.rpartition("/")[2]
    with psycopg.connect(postgres.url(database, "analyst", "analyst"), autocommit=True) as analyst:
        yield analyst, secrets


def view_names(connection: Connection) -> list[str]:
    """Return the names of the views of schema analytics."""
    rows = connection.execute("select viewname from pg_views where schemaname = 'analytics' order by 1").fetchall()
    return [f"analytics.{name}" for (name,) in rows]


def test_analyst_can_read_all_views_and_no_secret(analyst_and_secrets: Analyst, own_dba: Connection) -> None:
    analyst, secrets = analyst_and_secrets
    rows = {view: str(analyst.execute(f"select * from {view}").fetchall()) for view in view_names(own_dba)}
    assert len(rows) >= 12
    assert all(text != "[]" for text in rows.values()), rows
    shown = " ".join(rows.values())
    assert [secret for secret in secrets if secret in shown] == []
    tables = [f"parley.{name}" for name in ("messages", "outbox", "settings", "chats", "idempotency_keys")]
    tables += ["next_auth.users", "next_auth.sessions"]
    stored = " ".join(str(own_dba.execute(f"select t::text from {table} t").fetchall()) for table in tables)
    assert [secret for secret in secrets if secret not in stored] == []


def test_analyst_can_read_no_table_and_call_no_function(analyst_and_secrets: Analyst, own_dba: Connection) -> None:
    analyst, _ = analyst_and_secrets
    relations = own_dba.execute(
        "select oid::regclass::text from pg_class where relkind in ('r', 'p', 'S', 'm')"
        " and relnamespace::regnamespace::text !~ '^(pg_|information_schema)'"
    ).fetchall()
    assert len(relations) > 20
    for (relation,) in relations:
        for statement in (f"select from {relation}", f"explain select from {relation}", f"delete from {relation}",
                          f"copy {relation} to stdout", f"create temp table x (like {relation})"):  # fmt: skip
            with pytest.raises((psycopg.errors.InsufficientPrivilege, psycopg.errors.WrongObjectType)):
                analyst.execute(statement)
    functions = own_dba.execute(
        "select oid from pg_proc where pronamespace::regnamespace::text"
        " in ('next_auth', 'rules', 'parley', 'session', 'api', 'listener', 'analytics')"
    ).fetchall()
    assert len(functions) > 50
    executable = analyst.execute(
        "select count(*) filter (where has_function_privilege(f, 'execute')), count(*) from unnest(%s::oid[]) f",
        [[function for (function,) in functions]],
    ).fetchone()
    assert executable == (0, len(functions))
    identity = """'{"sub": "a-secret-user"}'"""
    for called in (
        f"session.authenticate({identity})",
        "listener.roll_up(1)",
        "parley.pseudonym('user', 'a-secret-user')",
    ):
        assert own_dba.execute(f"select {called}").rowcount == 1
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            analyst.execute(f"select {called}")


def test_analyst_can_write_nothing(analyst_and_secrets: Analyst, own_dba: Connection) -> None:
    analyst, _ = analyst_and_secrets
    for view in view_names(own_dba):
        for statement in (f"delete from {view}", f"insert into {view} default values", f"drop view {view}",
                          f"create or replace view {view} as select 1 as x"):  # fmt: skip
            with pytest.raises((psycopg.errors.InsufficientPrivilege, psycopg.errors.ObjectNotInPrerequisiteState)):
                analyst.execute(statement)
    for schema in ("analytics", "parley", "public"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            analyst.execute(f"create table {schema}.mine ()")


def test_statistics_and_sessions_reveal_no_secret(
    analyst_and_secrets: Analyst, own_dba: Connection, own_url: str
) -> None:
    analyst, secrets = analyst_and_secrets
    statistics = "from pg_stats where schemaname !~ '^(pg_|information_schema)'"
    assert own_dba.execute(f"select {statistics}").rowcount > 20
    assert analyst.execute(f"select {statistics}").rowcount == 0
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        analyst.execute("select stavalues1 from pg_statistic")
    own_dba.execute(f"select '{SECRETS['content']}'")
    queries = "select string_agg(query, ' ') from pg_stat_activity"
    with psycopg.connect(own_url) as another:
        assert SECRETS["content"] in str(another.execute(queries).fetchone())
    assert not [secret for secret in secrets if secret in str(analyst.execute(queries).fetchone())]


def test_functions_of_an_analyst_receive_only_values_that_the_views_return(
    analyst_and_secrets: Analyst, own_dba: Connection
) -> None:
    analyst, secrets = analyst_and_secrets
    received_values: list[str] = []
    analyst.add_notice_handler(lambda diagnostic: received_values.append(diagnostic.message_primary or ""))
    analyst.execute(
        "create function pg_temp.leak(anything anyelement) returns boolean language plpgsql cost 0.0000001 as"
        " $$ begin raise notice 'value %', anything; return true; end $$"
    )
    for view in view_names(own_dba):
        columns = own_dba.execute(
            "select attname from pg_attribute where attrelid = %s::regclass and attnum > 0", [view]
        )
        for (column,) in columns.fetchall():
            shown = {f"value {value}" for (value,) in analyst.execute(f"select {column}::text from {view}").fetchall()}
            received_values.clear()
            analyst.execute(f"select from {view} where pg_temp.leak({column})")
            analyst.execute(f"explain (analyze, verbose) select from {view} where pg_temp.leak({column}::text)")
            if column not in ("as_of", "lag_seconds"):
                assert set(received_values) <= {text.replace("None", "<NULL>") for text in shown}, (view, column)
            assert not [secret for secret in secrets if any(secret in text for text in received_values)]


def test_errors_and_plans_reveal_no_secret(analyst_and_secrets: Analyst, own_dba: Connection) -> None:
    analyst, secrets = analyst_and_secrets
    for view in view_names(own_dba):
        columns = own_dba.execute(
            "select attname from pg_attribute where attrelid = %s::regclass and attnum > 0", [view]
        )
        for (column,) in columns.fetchall():
            output = []
            for statement in (f"explain (analyze, verbose, buffers) select * from {view} where {column} is not null",
                              f"select ({column}::text || 'x')::uuid from {view}"):  # fmt: skip
                try:
                    output += [str(row) for row in analyst.execute(statement).fetchall()]
                except psycopg.Error as error:
                    output.append(f"{error} {error.diag.message_detail} {error.diag.context}")
            assert not [secret for secret in secrets if any(secret in text for text in output)], (view, column)


def test_pseudonym_is_unique_and_depends_on_the_key(dba: Connection) -> None:
    def pseudonym(kind: str, subject: str) -> Any:
        return dba.execute("select parley.pseudonym(%s, %s)", [kind, subject]).fetchone()

    assert pseudonym("user", "a") == pseudonym("user", "a")
    assert len({pseudonym(*key) for key in (("user", "a"), ("user", "b"), ("chat", "a"), ("chat", "b"))}) == 4
    before = pseudonym("user", "a")
    dba.execute("update parley.pseudonym_key set outer_key = 'another'")
    after = pseudonym("user", "a")
    dba.execute("update parley.pseudonym_key set inner_key = 'another'")
    assert len({before, after, pseudonym("user", "a")}) == 3
    dba.execute("set local role app")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        pseudonym("user", "a")


def test_keys_of_two_databases_differ(own_dba: Connection, dba: Connection) -> None:
    keys = [c.execute("select inner_key, outer_key from parley.pseudonym_key").fetchall() for c in (own_dba, dba)]
    assert [len(key[0][0]) for key in keys] == [32, 32]
