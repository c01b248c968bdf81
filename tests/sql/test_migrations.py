"""Migrations as a DBA runs them: yoyo, in a database of their own."""

import json
import os
import re
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import psycopg2
import pytest

from api.admin.catalog import SNAPSHOT, Inventory
from api.dev.postgres import Postgres
from tests.sql.support import MIGRATIONS, add_migration, apply, numbered
from tests.support import (
    Connection,
    add_member,
    call,
    new_chat,
    new_user,
    refused,
    roll_up,
    roll_up_to_now,
    wait_until,
    yoyo,
)


def rollback_all(url: str) -> None:
    """`yoyo rollback`, without asking."""
    yoyo(url, "rollback", "--batch", "--all")


def dump(postgres: Postgres, url: str) -> str:
    """The schema as pg_dump writes it, without what differs from run to run, and without partitions."""
    left_out = ["--exclude-table=*yoyo*", "--exclude-table=parley.message_words_*"]
    command = [str(postgres.program("pg_dump")), "--schema-only", *left_out, url]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    noise = r"--|\\(un)?restrict |SET |SELECT pg_catalog.set_config|(GRANT|REVOKE) ALL ON FUNCTION parley.gin_"
    text = re.sub(rf"^({noise}).*\n", "", text, flags=re.MULTILINE)
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


def test_every_migration_has_its_rollback() -> None:
    forward = {p.name for p in MIGRATIONS.glob("[0-9]*.sql") if not p.name.endswith(".rollback.sql")}
    assert len(forward) >= 5
    rollbacks = {p.name for p in MIGRATIONS.glob("[0-9]*.rollback.sql")}
    assert rollbacks == {name.replace(".sql", ".rollback.sql") for name in forward}


def test_up_down_up_ends_where_it_began(postgres: Postgres, url: str) -> None:
    empty = dump(postgres, url)
    yoyo(url, "apply", "--batch")
    first = dump(postgres, url)
    assert "CREATE POLICY messages_select" in first
    rollback_all(url)
    assert dump(postgres, url) == empty
    yoyo(url, "apply", "--batch")
    assert dump(postgres, url) == first


def test_each_migration_goes_down_and_up_by_itself(postgres: Postgres, url: str) -> None:
    yoyo(url, "apply", "--batch")
    whole = dump(postgres, url)
    for name in numbered():
        yoyo(url, "rollback", "--batch", "--revision", name)
        assert dump(postgres, url) != whole, name
        yoyo(url, "apply", "--batch")
        assert dump(postgres, url) == whole, name


def test_a_fresh_database_has_the_schema_of_the_snapshot(postgres: Postgres, url: str) -> None:
    yoyo(url, "apply", "--batch")
    if postgres.major < 18:
        pytest.skip("the snapshot is PostgreSQL 18's")
    with psycopg2.connect(url) as connection:
        live = Inventory.of(connection.cursor())
    connection.close()
    if os.environ.get("PARLEY_UPDATE_SNAPSHOT"):
        SNAPSHOT.write_text(live.text())
    assert live.text() == SNAPSHOT.read_text()
    assert Inventory.read().make == live.make


def test_data_survive_a_second_apply(url: str) -> None:
    yoyo(url, "apply", "--batch")
    user = new_user()
    with psycopg.connect(url, autocommit=True) as connection:
        chat = new_chat(connection, user)
        yoyo(url, "apply", "--batch")
        assert call(connection, user, "get_chat", chat)["id"] == chat


def test_without_an_outbox_chats_go_on(url: str) -> None:
    yoyo(url, "apply", "--batch")
    with psycopg.connect(url, autocommit=True) as dba:
        chat = new_chat(dba, "owner", "member")
        sent = call(dba, "owner", "send_message", chat, {"content": "before"})
        start = call(dba, "owner", "list_events")["next"]
        assert call(dba, "owner", "list_events", after=start)["events"] == []
        yoyo(url, "rollback", "--batch", "--revision", "0007_outbox")
        call(dba, "owner", "update_message", chat, sent["id"], {"content": "edited"})
        call(dba, "owner", "send_message", chat, {"content": "after"})
        call(dba, "owner", "remove_member", chat, "member")
        call(dba, "owner", "update_chat", chat, {"title": "Plans"})
        yoyo(url, "apply", "--batch")
        assert dba.execute("select count(*) from parley.outbox").fetchone() == (0,)
        with refused(410):  # what happened meanwhile is not in the log
            call(dba, "owner", "list_events", after=start)
        call(dba, "owner", "delete_chat", chat)
        assert dba.execute("select event from parley.outbox").fetchall() == [("chat:deleted",)]


def test_renames_are_published_to_members_on_both_sides_of_an_upgrade(url: str) -> None:
    yoyo(url, "apply", "--batch")
    stored = "select recipients from parley.outbox where event = 'chat:updated' order by id"
    taken = (
        "select channels from listener.take_events('{}', 0, '{}', '{}', '{}', '{}', 100, 100, 400000)"
        " where event = 'chat:updated' order by id"
    )
    with psycopg.connect(url, autocommit=True) as dba:
        chat = new_chat(dba, "owner", "member")
        for title in ("published", "set aside", "queued"):
            call(dba, "owner", "update_chat", chat, {"title": title})
        dba.execute("delete from parley.outbox_queue where id in (select min(id) from parley.outbox_queue)")
        dba.execute("select listener.set_aside((select min(id) from parley.outbox_queue), 'HTTP 400')")
        assert dba.execute(stored).fetchall() == [(None,)] * 3
        yoyo(url, "rollback", "--batch", "--revision", "0023_recipients_of_renames")
        call(dba, "owner", "update_chat", chat, {"title": "rolled back"})
        rows = [recipients and sorted(recipients) for (recipients,) in dba.execute(stored).fetchall()]
        assert rows == [None, ["member", "owner"], ["member", "owner"], ["member", "owner"]]
        yoyo(url, "apply", "--batch")
        call(dba, "owner", "remove_member", chat, "member")
        call(dba, "owner", "update_chat", chat, {"title": "applied"})
        assert dba.execute(stored).fetchall()[-1] == (None,)
        channels = [f"private-chat-{chat}", "private-user-b3duZXI"]
        assert dba.execute(taken).fetchall() == [(channels,)] * 3


def test_a_rollback_waits_for_a_rename_under_way(url: str) -> None:
    yoyo(url, "apply", "--batch")
    waiting = "select from pg_locks where not granted and relation = 'parley.chats'::regclass"
    with (
        psycopg.connect(url, autocommit=True) as dba,
        psycopg.connect(url, autocommit=True) as other,
        ThreadPoolExecutor(1) as thread,
    ):
        chat = new_chat(dba, "owner")
        with dba.transaction():
            call(dba, "owner", "update_chat", chat, {"title": "Plans"})
            done = thread.submit(yoyo, url, "rollback", "--batch", "--revision", "0023_recipients_of_renames")
            wait_until(lambda: other.execute(waiting).rowcount == 1)
        done.result(60)
        stored = "select recipients from parley.outbox where event = 'chat:updated'"
        assert dba.execute(stored).fetchall() == [(["owner"],)]


def test_without_limits_members_are_added_and_with_them_again_limited(url: str) -> None:
    yoyo(url, "apply", "--batch")
    with psycopg.connect(url, autocommit=True) as dba:
        dba.execute("update parley.limits set members_per_chat = 2")
        chat = new_chat(dba, "owner", "a")
        with refused(409):
            add_member(dba, "owner", chat, "b")
        yoyo(url, "rollback", "--batch", "--revision", "0024_limits")
        add_member(dba, "owner", chat, "b")
        added = "select payload #>> '{}' from parley.outbox where event = 'member:added' order by seq"
        assert dba.execute(added).fetchall() == [("owner",), ("a",), ("b",)]
        yoyo(url, "apply", "--batch")
        assert dba.execute("select members_per_chat from parley.limits").fetchall() == [(5000,)]
        dba.execute("update parley.limits set members_per_chat = 2")
        with refused(409):
            add_member(dba, "owner", chat, "c")
        dba.execute("delete from parley.limits")
        add_member(dba, "owner", chat, "c")


def test_without_rollups_the_listener_goes_on(url: str) -> None:
    yoyo(url, "apply", "--batch")
    with psycopg.connect(url, autocommit=True) as dba:
        call(dba, "owner", "send_message", new_chat(dba, "owner"), {"content": "old"})
        yoyo(url, "rollback", "--batch", "--revision", "0013_analytics")
        assert roll_up(dba) == 1
        dba.execute("delete from parley.outbox_queue")
        assert dba.execute("select listener.remove_events('0', 100)").fetchone() == (2,)
        yoyo(url, "apply", "--batch")
        roll_up_to_now(dba)
        assert dba.execute("select messages from analytics.activity_by_day").fetchall() == [(1,)]


def test_only_changed_parts_are_loaded(url: str, own_sources: Path) -> None:
    apply(url, own_sources)
    with psycopg.connect(url, autocommit=True) as connection:

        def loaded() -> dict[str, object]:
            return dict(connection.execute("select part, loaded_at from parley.reloaded_parts").fetchall())

        first = loaded()
        apply(url, own_sources)
        assert loaded() == first
        with (own_sources / "sql" / "triggers.sql").open("a") as file:
            file.write("\n-- A remark.\n")
        apply(url, own_sources)
        assert {part for part, at in loaded().items() if at != first[part]} == {"triggers.sql", "grants.sql"}


def exists(connection: Connection, function: str) -> bool:
    """Whether there is such a function."""
    return connection.execute("select to_regprocedure(%s) is not null", [function]).fetchone() == (True,)


def test_functions_follow_their_files(url: str, own_sources: Path) -> None:
    file = own_sources / "sql" / "functions" / "zoo.sql"
    apply(url, own_sources)
    with psycopg.connect(url, autocommit=True) as connection:
        file.write_text("create function api.zoo(a int) returns int language sql as $$ select a $$;")
        apply(url, own_sources)
        assert exists(connection, "api.zoo(int)")
        may = connection.execute("select has_function_privilege('parley_api', 'api.zoo(int)', 'execute')").fetchone()
        assert may == (True,)
        file.write_text("create function api.zoo(a text) returns text language sql as $$ select a $$;")
        apply(url, own_sources)
        assert (exists(connection, "api.zoo(int)"), exists(connection, "api.zoo(text)")) == (False, True)
        file.unlink()
        apply(url, own_sources)
        assert not exists(connection, "api.zoo(text)")
        assert exists(connection, "rules.validation_error(text, text)")


def test_what_a_migration_adds_to_the_rules_works_before_the_reload(url: str, own_sources: Path) -> None:
    (own_sources / "sql" / "migrations" / "reload.py").unlink()
    apply(url, own_sources)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("create function rules.new() returns int language sql return 1")
        may = "select has_function_privilege('parley_api', 'rules.{}', 'execute')"
        for function in ("new()", "is_email(text)"):
            assert connection.execute(may.format(function)).fetchone() == (True,), function


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


def test_a_policy_for_a_role_of_the_dbas_stays(url: str, own_sources: Path) -> None:
    apply(url, own_sources)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("create policy dbas on next_auth.users to pg_monitor using (true)")
        with (own_sources / "sql" / "policies.sql").open("a") as file:
            file.write("\n-- A remark.\n")
        apply(url, own_sources)
        assert connection.execute("select from pg_policies where policyname = 'dbas'").rowcount == 1


def test_a_view_is_loaded_and_the_analysts_may_read_it(url: str, own_sources: Path) -> None:
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


def test_a_part_that_fails_changes_nothing_and_is_tried_again(url: str, own_sources: Path) -> None:
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


def test_a_migration_of_search_waits_for_who_is_writing_and_holds_up_none(url: str) -> None:
    yoyo(url, "apply", "--batch")
    user = new_user()
    with psycopg.connect(url, autocommit=True) as connection, ThreadPoolExecutor(1) as thread:
        chat = new_chat(connection, user)
        yoyo(url, "rollback", "--batch", "--revision", "0009_search")
        waiting = "select from pg_locks where not granted and relation = 'parley.chats'::regclass"
        with connection.transaction():
            connection.execute("select session.authenticate(%s)", [json.dumps({"sub": user})])
            connection.execute("select parley.select_chat(%s), parley.lock_chat()", [chat])
            applied = thread.submit(yoyo, url, "apply", "--batch")
            with psycopg.connect(url, autocommit=True) as other:
                wait_until(lambda: other.execute(waiting).rowcount == 1)
            connection.execute("insert into parley.messages (chat_id, content) values (%s, 'now')", [chat])
        applied.result(60)
        assert call(connection, user, "list_messages", chat, search="now")["total"] == 1


def test_a_migration_and_its_mark_are_one_transaction(url: str, own_sources: Path) -> None:
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
def test_a_wrong_url_is_one_readable_line(url: str, message: str) -> None:
    with pytest.raises(AssertionError) as caught:
        yoyo(url, "list")
    said = str(caught.value)
    assert said.startswith(message)
    assert "Traceback" not in said
    assert "secret" not in said.partition("assert")[0]


def test_two_databases_of_one_cluster_share_the_roles(
    postgres: Postgres, url: str, new_database: Callable[[str], str]
) -> None:
    yoyo(url, "apply", "--batch")
    rollback_all(url)
    name = new_database("parley_neighbour")
    with psycopg.connect(postgres.url(name, "app", "app"), autocommit=True) as connection:
        assert call(connection, new_user(), "list_chats")["total"] == 0


def test_who_was_deleted_before_that_was_recorded_is_known_by_their_messages(url: str) -> None:
    yoyo(url, "apply", "--batch")
    yoyo(url, "rollback", "--batch", "--revision", "0008_sign_in")
    owner, gone = new_user(), new_user()
    with psycopg.connect(url, autocommit=True) as connection:
        chat = new_chat(connection, owner, gone)
        for user in (owner, gone):
            call(connection, user, "send_message", chat, {"content": "Hello"})
        connection.execute("delete from next_auth.users where id = %s", [gone])
    yoyo(url, "apply", "--batch")
    with psycopg.connect(url, autocommit=True) as connection:
        assert connection.execute("select user_id from parley.deleted_users").fetchall() == [(gone,)]
        call(connection, owner, "list_chats")
        with refused(401):
            call(connection, gone, "list_chats")


def test_a_dump_can_be_restored(postgres: Postgres, url: str, tmp_path: Path) -> None:
    yoyo(url, "apply", "--batch")
    owner, copy = new_user(), postgres.url("parley_restored")
    with psycopg.connect(url, autocommit=True) as connection:
        chat = new_chat(connection, owner)
    with psycopg.connect(postgres.url("postgres"), autocommit=True) as dba:
        dba.execute("create database parley_restored")
        try:
            file = str(tmp_path / "dump")
            subprocess.run([str(postgres.program("pg_dump")), "-Fc", "-f", file, url], check=True)
            subprocess.run([str(postgres.program("pg_restore")), "-e", "-d", copy, file], check=True)
            with psycopg.connect(copy) as connection:
                assert call(connection, owner, "list_chats")["chats"][0]["id"] == chat
        finally:
            dba.execute("drop database parley_restored with (force)")


def test_older_messages_are_found_and_chats_in_order_after_the_migration_of_search(url: str) -> None:
    yoyo(url, "apply", "--batch")
    yoyo(url, "rollback", "--batch", "--revision", "0009_search")
    user = new_user()
    with psycopg.connect(url, autocommit=True) as connection:
        chats = [new_chat(connection, user) for _ in range(3)]
        sent = {
            chat: [call(connection, user, "send_message", chat, {"content": f"older {n}"})["id"] for n in range(3)]
            for chat in (chats[1], chats[0])
        }
        call(connection, user, "delete_message", chats[0], sent[chats[0]].pop())
        for older in (
            "list_chats(a text, b text)",
            "list_messages(a text, b text, c text, d text, e text, f text, g text)",
        ):
            connection.execute(f"create function api.{older} returns json language sql as $$ select '{{}}'::json $$")
    yoyo(url, "apply", "--batch")
    with psycopg.connect(url, autocommit=True) as connection:
        found = call(connection, user, "search", search="old")
        assert [m["id"] for m in found["messages"]] == sorted(sent[chats[0]] + sent[chats[1]], reverse=True)
        listed = call(connection, user, "list_chats")["chats"]
        assert [c["id"] for c in listed] == [chats[0], chats[1], chats[2]]
        assert [c["lastMessage"] and c["lastMessage"]["id"] for c in listed] == [
            sent[chats[0]][-1], sent[chats[1]][-1], None,
        ]  # fmt: skip


def test_the_words_of_older_messages_are_made_anew_while_one_is_edited(url: str) -> None:
    yoyo(url, "apply", "--batch")
    yoyo(url, "rollback", "--batch", "--revision", "0018_search_of_long_texts")
    user = new_user()
    with psycopg.connect(url, autocommit=True) as dba, ThreadPoolExecutor(1) as thread:
        chat = new_chat(dba, user)
        insert = "insert into parley.messages (chat_id, user_id, content) values (%s, %s, %s) returning id::text"
        contents = ("ok " * 300 + "done", "party 🎉", "an older wording", "last")
        ids = [dba.execute(insert, [chat, user, content]).fetchone() for content in contents]
        waiting = "select from pg_locks where not granted and locktype = 'transactionid'"
        yoyo(url, "apply", "--batch", "--revision", "0018_search_of_long_texts")
        with dba.transaction():
            dba.execute("update parley.messages set content = 'a newer wording' where id = %s", ids[2])
            applied = thread.submit(yoyo, url, "apply", "--batch")
            with psycopg.connect(url, autocommit=True) as other:
                wait_until(lambda: other.execute(waiting).rowcount == 1)
        applied.result(60)
        totals = {'"ok done"': 1, "🎉": 1, "newer": 1, "older": 0, "last": 1}
        assert {search: call(dba, user, "search", search=search)["total"] for search in totals} == totals


def test_addresses_of_older_users_are_brought_to_lower_case(url: str) -> None:
    yoyo(url, "apply", "--batch")
    yoyo(url, "rollback", "--batch", "--revision", "0020_lower_case_addresses")
    addresses = {
        "ada": ("Ada@X.org", "ada@x.org", True),
        "bob": ("bob@x.org", "bob@x.org", True),
        "ian": ("İan@x.org", "i\u0307an@x.org", False),  # another address, to whoever looks closely
        "kim": ("\u212aim@x.org", "\u212aim@x.org", True),
        "leo": ("ΛΈΩΝΙΣ@x.org", "ΛΈΩΝΙΣ@x.org", True),  # which would be max's
        "max": ("λέωνις@x.org", "λέωνις@x.org", True),
        "nobody": (None, None, True),
    }
    with psycopg.connect(url, autocommit=True) as dba:
        for user, (address, _, _) in addresses.items():
            dba.execute(
                'insert into next_auth.users (id, email, "emailVerified") values (%s, %s, now())', [user, address]
            )
        yoyo(url, "apply", "--batch")
        found = dba.execute('select id, email, "emailVerified" is not null from next_auth.users order by id').fetchall()
        assert found == [(user, after, is_verified) for user, (_, after, is_verified) in addresses.items()]
        with pytest.raises(psycopg.errors.UniqueViolation):
            dba.execute("insert into next_auth.users (id, email) values ('eve', 'ADA@x.org')")
