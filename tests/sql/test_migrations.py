"""The baseline: applied and rolled back with yoyo as a DBA does, in an empty database."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import psycopg
import psycopg2
import pytest

from api.admin.catalog import SNAPSHOT, Catalog
from api.dev.postgres import Postgres
from tests.database import call, expect_error, new_chat, roll_up, roll_up_to_now
from tests.servers import yoyo
from tests.sql.migration_files import MIGRATIONS, add_migration, apply, numbered_migrations
from tests.sql.schema_dump import dump
from tests.tokens import new_user


def roll_back_all(url: str) -> None:
    """Roll back all migrations."""
    yoyo(url, "rollback", "--batch", "--all")


def test_every_migration_has_its_rollback() -> None:
    forward = {p.name for p in MIGRATIONS.glob("[0-9]*.sql") if not p.name.endswith(".rollback.sql")}
    assert len(forward) >= 5
    rollbacks = {p.name for p in MIGRATIONS.glob("[0-9]*.rollback.sql")}
    assert rollbacks == {name.replace(".sql", ".rollback.sql") for name in forward}


def test_rolling_back_and_applying_again_restores_the_schema(postgres: Postgres, url: str) -> None:
    empty = dump(postgres, url)
    yoyo(url, "apply", "--batch")
    first = dump(postgres, url)
    assert "CREATE POLICY messages_select" in first
    roll_back_all(url)
    assert dump(postgres, url) == empty
    yoyo(url, "apply", "--batch")
    assert dump(postgres, url) == first


def test_each_migration_can_be_rolled_back_and_applied_again(postgres: Postgres, url: str) -> None:
    yoyo(url, "apply", "--batch")
    whole = dump(postgres, url)
    for name in numbered_migrations():
        yoyo(url, "rollback", "--batch", "--revision", name)
        assert dump(postgres, url) != whole or is_backfill(name)
        yoyo(url, "apply", "--batch")
        assert dump(postgres, url) == whole, name


def is_backfill(migration: str) -> bool:
    """Return whether a migration changes rows only, so that its rollback has no statement."""
    rollback = (MIGRATIONS / f"{migration}.rollback.sql").read_text()
    return all(line.startswith("--") for line in rollback.splitlines())


def test_new_database_has_the_schema_of_the_snapshot(postgres: Postgres, url: str) -> None:
    yoyo(url, "apply", "--batch")
    if postgres.major < 18:
        pytest.skip("the snapshot is PostgreSQL 18's")
    with psycopg2.connect(url) as connection:
        live = Catalog.from_database(connection.cursor())
    connection.close()
    if os.environ.get("PARLEY_UPDATE_SNAPSHOT"):
        SNAPSHOT.write_text(live.format_snapshot())
    assert live.format_snapshot() == SNAPSHOT.read_text()
    assert Catalog.from_snapshot().create == live.create


def test_second_apply_keeps_the_data(url: str) -> None:
    yoyo(url, "apply", "--batch")
    user = new_user()
    with psycopg.connect(url, autocommit=True) as connection:
        chat = new_chat(connection, user)
        yoyo(url, "apply", "--batch")
        assert call(connection, user, "get_chat", chat)["id"] == chat


def test_rows_are_rejected_until_the_functions_are_loaded(url: str, own_sources: Path) -> None:
    loader = own_sources / "sql" / "migrations" / "repeatable.py"
    text = loader.read_text()
    loader.unlink()
    apply(url, own_sources)
    add_settings = "insert into parley.settings (user_id, theme) values ('owner', %s)"
    add_chat = "insert into parley.chats (id, title, updated_at) values (gen_random_uuid(), 'Plans', now())"
    with psycopg.connect(url, autocommit=True) as dba:
        dba.execute("insert into next_auth.users (id) values ('owner')")
        for statement, values in ((add_settings, ["dark"]), (add_settings, ["pink"]), (add_chat, None)):
            with pytest.raises(psycopg.errors.RaiseException, match=r"^rules.\w+\(\) is only declared: run yoyo apply"):
                dba.execute(statement, values)
        loader.write_text(text)
        apply(url, own_sources)
        with pytest.raises(psycopg.errors.CheckViolation):
            dba.execute(add_settings, ["pink"])
        dba.execute(add_settings, ["dark"])
        assert call(dba, "owner", "create_chat", {"title": "Plans"})["title"] == "Plans"


def test_messages_can_be_sent_while_the_outbox_is_rolled_back(url: str) -> None:
    yoyo(url, "apply", "--batch")
    with psycopg.connect(url, autocommit=True) as dba:
        chat = new_chat(dba, "owner")
        sent = call(dba, "owner", "send_message", chat, {"content": "before"})
        start = call(dba, "owner", "list_events")["next"]
        assert call(dba, "owner", "list_events", after=start)["events"] == []
        yoyo(url, "rollback", "--batch", "--revision", "0005_events")
        call(dba, "owner", "update_message", chat, sent["id"], {"content": "edited"})
        call(dba, "owner", "send_message", chat, {"content": "after"})
        yoyo(url, "apply", "--batch")
        assert dba.execute("select count(*) from parley.outbox").fetchone() == (0,)
        with expect_error(410):  # the log lacks the changes made meanwhile
            call(dba, "owner", "list_events", after=start)
        call(dba, "owner", "delete_chat", chat)
        assert dba.execute("select event from parley.outbox").fetchall() == [("chat:deleted",)]


def test_existing_chats_skip_no_seq_when_the_lineage_is_added_or_rolled_back(url: str) -> None:
    seqs = "select array_agg(seq order by id) from parley.outbox"
    yoyo(url, "apply", "--batch")
    with psycopg.connect(url, autocommit=True) as dba:
        chat = new_chat(dba, "owner")
        yoyo(url, "rollback", "--batch", "--revision", "0012_lineage")
        call(dba, "owner", "send_message", chat, {"content": "rolled back"})
        yoyo(url, "apply", "--batch")
        call(dba, "owner", "send_message", chat, {"content": "applied"})
        assert dba.execute(seqs).fetchone() == ([1, 2, 3],)


def test_maintenance_works_while_the_rollups_are_rolled_back(url: str) -> None:
    yoyo(url, "apply", "--batch")
    with psycopg.connect(url, autocommit=True) as dba:
        call(dba, "owner", "send_message", new_chat(dba, "owner"), {"content": "old"})
        yoyo(url, "rollback", "--batch", "--revision", "0007_analytics")
        assert roll_up(dba) == 1
        dba.execute("delete from parley.outbox_queue")
        assert dba.execute("select listener.purge_events('0', 100)").fetchone() == (2,)
        yoyo(url, "apply", "--batch")
        roll_up_to_now(dba)
        assert dba.execute("select messages from analytics.activity_by_day").fetchall() == [(1,)]


def test_migration_and_its_record_are_one_transaction(url: str, own_sources: Path) -> None:
    apply(url, own_sources)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            "create function public.die() returns trigger language plpgsql as"
            " $$ begin perform pg_terminate_backend(pg_backend_pid()); return new; end $$"
        )
        connection.execute("create trigger die before insert on _yoyo_migration execute function public.die()")
        add_migration(own_sources, "create table public.zoo ();")
        with pytest.raises(AssertionError, match="terminat"):
            apply(url, own_sources)
        assert connection.execute("select to_regclass('public.zoo')").fetchone() == (None,)
        connection.execute("drop trigger die on _yoyo_migration")
    yoyo(url, "break-lock", "--config", str(own_sources / "yoyo.ini"))
    apply(url, own_sources)
    assert "A         0999_zoo" in yoyo(url, "list", "--config", str(own_sources / "yoyo.ini"))


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("", "DATABASE_URL is not set"),
        ("not a url", "DATABASE_URL is malformed"),
        ("postgresql://nobody:secret@127.0.0.1:1/x", "DATABASE_URL: no connection"),
    ],
)
def test_invalid_url_is_reported_in_one_line(url: str, message: str) -> None:
    with pytest.raises(AssertionError) as caught:
        yoyo(url, "list")
    output = str(caught.value)
    assert output.startswith(message)
    assert "Traceback" not in output
    assert "secret" not in output.partition("assert")[0]


def test_rolling_back_keeps_the_roles_for_other_databases(
    postgres: Postgres, url: str, new_database: Callable[[str], str]
) -> None:
    yoyo(url, "apply", "--batch")
    roll_back_all(url)
    name = new_database("parley_other")
    with psycopg.connect(postgres.url(name, "app", "app"), autocommit=True) as connection:
        assert call(connection, new_user(), "list_chats")["total"] == 0


def test_dump_can_be_restored(postgres: Postgres, url: str, tmp_path: Path) -> None:
    yoyo(url, "apply", "--batch")
    owner, copy = new_user(), postgres.url("parley_restored")
    with psycopg.connect(url, autocommit=True) as connection:
        chat = new_chat(connection, owner)
    with psycopg.connect(postgres.url("postgres"), autocommit=True) as dba:
        dba.execute("create database parley_restored")
        try:
            file = str(tmp_path / "dump")
            subprocess.run([str(postgres.get_program("pg_dump")), "-Fc", "-f", file, url], check=True)
            subprocess.run([str(postgres.get_program("pg_restore")), "-e", "-d", copy, file], check=True)
            with psycopg.connect(copy) as connection:
                assert call(connection, owner, "list_chats")["chats"][0]["id"] == chat
        finally:
            dba.execute("drop database parley_restored with (force)")
