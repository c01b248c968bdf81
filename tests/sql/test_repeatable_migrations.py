"""Repeatable migrations: functions, views, triggers, policies and grants follow their files at each `yoyo apply`."""

import re
from pathlib import Path
from typing import Any

import psycopg
import pytest

from api.dev.postgres import Postgres
from tests.database import Connection, call, expect_error
from tests.servers import yoyo
from tests.sql.migration_files import add_migration, apply, numbered_migrations

ZOO = "create function api.zoo() returns int language sql as $$ select 1 $$;"


def test_only_changed_files_are_applied(url: str, own_sources: Path) -> None:
    apply(url, own_sources)
    with psycopg.connect(url, autocommit=True) as connection:

        def applied_at() -> dict[str, object]:
            return dict(connection.execute("select name, applied_at from parley.repeatable_migrations").fetchall())

        first = applied_at()
        apply(url, own_sources)
        assert applied_at() == first
        with (own_sources / "sql" / "triggers.sql").open("a") as file:
            file.write("\n-- A remark.\n")
        apply(url, own_sources)
        assert {name for name, at in applied_at().items() if at != first[name]} == {"triggers.sql", "grants.sql"}


def exists(connection: Connection, function: str) -> bool:
    """Return whether a function exists."""
    return connection.execute("select to_regprocedure(%s) is not null", [function]).fetchone() == (True,)


def test_functions_follow_their_files(url: str, own_sources: Path) -> None:
    file = own_sources / "sql" / "functions" / "zoo.sql"
    apply(url, own_sources)
    with psycopg.connect(url, autocommit=True) as connection:
        file.write_text("create function api.zoo(a int) returns int language sql as $$ select a $$;")
        apply(url, own_sources)
        assert exists(connection, "api.zoo(int)")
        is_granted = connection.execute(
            "select has_function_privilege('parley_api', 'api.zoo(int)', 'execute')"
        ).fetchone()
        assert is_granted == (True,)
        file.write_text("create function api.zoo(a text) returns text language sql as $$ select a $$;")
        apply(url, own_sources)
        assert (exists(connection, "api.zoo(int)"), exists(connection, "api.zoo(text)")) == (False, True)
        file.unlink()
        apply(url, own_sources)
        assert not exists(connection, "api.zoo(text)")
        assert exists(connection, "rules.validation_error(text, text)")


def test_change_of_a_limit_affects_functions_and_constraints(url: str, own_sources: Path) -> None:
    file = own_sources / "sql" / "functions" / "validation.sql"
    apply(url, own_sources)
    with psycopg.connect(url, autocommit=True) as connection:
        for allowed, rejected in ((200, 201), (300, 301)):
            limit = "'title' then int4range(1, {},"
            file.write_text(file.read_text().replace(limit.format(200), limit.format(allowed)))
            apply(url, own_sources)
            with expect_error(400) as error:
                call(connection, "owner", "create_chat", {"title": "x" * rejected})
            assert error.fields == {"title": f"must be 1 to {allowed} characters"}
            chat = call(connection, "owner", "create_chat", {"title": "x" * allowed})["id"]
            with pytest.raises(psycopg.errors.CheckViolation):
                connection.execute("update parley.chats set title = repeat('x', %s) where id = %s", [rejected, chat])


def test_function_that_a_table_depends_on_is_not_dropped(url: str, own_sources: Path) -> None:
    apply(url, own_sources)
    file = own_sources / "sql" / "functions" / "uuid7.sql"
    head, declared, body = file.read_text().partition("create or replace function rules.uuid7_timestamp(")
    assert declared
    file.write_text(head + body[body.index("create or replace function") :])
    with psycopg.connect(url, autocommit=True) as connection:
        with pytest.raises(AssertionError, match=r"^repeatable: cannot drop function rules\.uuid7_timestamp\(uuid\)"):
            apply(url, own_sources)
        assert exists(connection, "rules.uuid7_timestamp(uuid)")


def test_triggers_follow_their_file(url: str, own_sources: Path) -> None:
    functions, triggers = own_sources / "sql" / "functions" / "zoo.sql", own_sources / "sql" / "triggers.sql"
    before = triggers.read_text()
    body = "returns trigger language plpgsql as $$ begin return new; end $$"
    functions.write_text(f"create or replace function parley.zoo() {body};")
    triggers.write_text(before + "\ncreate trigger zoo before update on parley.chats execute function parley.zoo();")
    apply(url, own_sources)
    count = "select count(*) from pg_trigger where tgname in ('zoo', 'dbas')"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"create function public.dbas() {body}")
        connection.execute("create trigger dbas before update on parley.chats execute function public.dbas()")
        assert connection.execute(count).fetchone() == (2,)
        functions.unlink()
        triggers.write_text(before)
        apply(url, own_sources)
        assert connection.execute(count).fetchone() == (1,)
        assert not exists(connection, "parley.zoo()")


def test_policies_of_a_dba_are_kept(url: str, own_sources: Path) -> None:
    apply(url, own_sources)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("create policy dbas on next_auth.users to pg_monitor using (true)")
        with (own_sources / "sql" / "policies.sql").open("a") as file:
            file.write("\n-- A remark.\n")
        apply(url, own_sources)
        assert connection.execute("select from pg_policies where policyname = 'dbas'").rowcount == 1


def test_analyst_can_read_a_new_view(url: str, own_sources: Path) -> None:
    apply(url, own_sources)
    (own_sources / "sql" / "views").mkdir(exist_ok=True)
    (own_sources / "sql" / "views" / "zoo.sql").write_text(
        "create or replace view analytics.zoo as select 1 as animals;"
    )
    apply(url, own_sources)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("set role parley_analyst")
        assert connection.execute("select animals from analytics.zoo").fetchone() == (1,)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("select from parley.chats")


def test_failed_apply_changes_nothing_and_can_be_retried(url: str, own_sources: Path) -> None:
    apply(url, own_sources)
    broken = own_sources / "sql" / "functions" / "zoo.sql"
    broken.write_text("create function api.zoo() returns int language sql as $$ select 1 $$; selec;")
    with psycopg.connect(url, autocommit=True) as connection:
        with pytest.raises(AssertionError, match="syntax error"):
            apply(url, own_sources)
        assert not exists(connection, "api.zoo()")
        broken.write_text("create function api.zoo() returns int language sql as $$ select 1 $$;")
        apply(url, own_sources)
        assert exists(connection, "api.zoo()")


def test_views_follow_their_files(url: str, own_sources: Path) -> None:
    file = own_sources / "sql" / "views" / "zoo.sql"
    with psycopg.connect(url, autocommit=True) as connection:
        for columns in ("1 as giraffes, 2 as lions", "3 as lions", "3 as lions, 4 as zebras"):
            file.write_text(f"create or replace view analytics.zoo as select {columns};")
            apply(url, own_sources)
            found = connection.execute("select * from analytics.zoo")
            assert [column.name for column in found.description or ()] == re.findall(r"as (\w+)", columns)
        connection.execute("create schema reports; create view reports.mine as select lions from analytics.zoo")
        file.unlink()
        with pytest.raises(AssertionError, match=r"^repeatable: cannot drop view analytics\.zoo(.|\n)*reports\.mine"):
            apply(url, own_sources)
        connection.execute("drop schema reports cascade")
        connection.execute("create rule dbas as on delete to analytics.users do instead nothing")
        apply(url, own_sources)
        assert connection.execute("select to_regclass('analytics.zoo')").fetchone() == (None,)
        assert connection.execute("select from analytics.users").rowcount == 0


def test_older_checkout_does_not_replace_the_functions_of_a_newer_one(url: str, own_sources: Path) -> None:
    add_migration(own_sources, "select 1;")
    (own_sources / "sql" / "functions" / "zoo.sql").write_text(ZOO)
    apply(url, own_sources)
    for command in (["apply"], ["rollback", "--revision", numbered_migrations()[-1]], ["rollback", "--all"]):
        with pytest.raises(AssertionError, match=r"^the database has migrations of a newer checkout, .*: 0999_zoo\n"):
            yoyo(url, *command, "--batch")
    with psycopg.connect(url, autocommit=True) as connection:
        assert exists(connection, "api.zoo()")
        yoyo(url, "rollback", "--batch", "--revision", "0999_zoo", "--config", str(own_sources / "yoyo.ini"))
        yoyo(url, "apply", "--batch")
        assert not exists(connection, "api.zoo()")


def test_database_is_not_ready_until_functions_are_loaded_after_a_rollback(
    postgres: Postgres, url: str, own_sources: Path
) -> None:
    def rows(query: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(url) as dba:
            return dba.execute(query).fetchall()

    roll_back = ("rollback", "--batch", "--revision", "0999_zoo", "--config", str(own_sources / "yoyo.ini"))
    yoyo(url, "apply", "--batch")
    add_migration(own_sources, "select 1;")
    with psycopg.connect(postgres.url("parley_migrations", "app", "app"), autocommit=True) as app:
        for _ in ("the upgrade is interrupted before the functions are loaded", "again"):
            yoyo(url, "apply", "--batch", "--revision", "0999_zoo", "--config", str(own_sources / "yoyo.ini"))
            yoyo(url, *roll_back)
            assert app.execute("select api.check_readiness()").fetchone() == (True,)
            assert len(rows("select from pg_views where schemaname = 'analytics'")) > 8
        apply(url, own_sources)
        yoyo(url, *roll_back)
        with expect_error(503) as error:
            app.execute("select api.check_readiness()")
        assert "run yoyo apply --batch" in error.message
        assert rows("select viewname from pg_views where schemaname = 'analytics'") == []
        yoyo(url, "apply", "--batch")
        assert app.execute("select api.check_readiness()").fetchone() == (True,)
        assert len(rows("select from pg_views where schemaname = 'analytics'")) > 8
        assert len(rows("select from parley.letter_variants")) > 100


def test_rollback_keeps_views_that_others_depend_on(url: str, own_sources: Path) -> None:
    add_migration(own_sources, "select 1;")
    apply(url, own_sources)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("create schema reports; create view reports.mine as select messages from analytics.users")
        yoyo(url, "rollback", "--batch", "--revision", "0999_zoo", "--config", str(own_sources / "yoyo.ini"))
        assert connection.execute("select viewname from pg_views where schemaname = 'analytics'").fetchall() == [
            ("users",)
        ]
        yoyo(url, "apply", "--batch")
        assert connection.execute("select from reports.mine").rowcount == 0
