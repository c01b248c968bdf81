"""Old chats go in small pieces: at once for their members, message by message in storage, and never a chat in use."""

import json
import os
import re
import subprocess
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from typing import Any

import psycopg
import pytest
from psycopg import sql

from api.dev.postgres import Postgres
from tests import ROOT
from tests.database import Connection, call, expect_error
from tests.sql.outbox import events
from tests.sql.test_concurrency import connected, in_parallel, is_waiting
from tests.tokens import new_user
from tests.waiting import wait_until

pytestmark = pytest.mark.usefixtures("no_leftovers")

OLD = "2 years"
MOST_CHATS = 100  # that one call touches


def remove(connection: Connection, max_messages: int = 1000, inactive_for: str = "1 year") -> int:
    """What one call answers."""
    row = connection.execute(
        "select parley.purge_inactive_chats(%s::interval, %s)", [inactive_for, max_messages]
    ).fetchone()
    assert row is not None
    return int(row[0])


def old_chat(dba: Connection, *users: str, messages: int = 0, age: str = OLD) -> str:
    """The id of a chat of these users, the first of which owns it, with the last activity so long ago."""
    for user in users:
        call(dba, user, "get_settings")
    dba.execute("set session_replication_role = replica")  # no triggers: they would give ids of today
    row = dba.execute(
        "insert into parley.chats (id, title, owner_id, updated_at)"
        " values (parley.generate_uuid7(now() - %s::interval - %s * interval '1 minute', 1), 'Old', %s, now())"
        " returning id::text",
        [age, messages, users[0] if users else None],
    ).fetchone()
    assert row is not None
    chat: str = row[0]
    dba.execute("insert into parley.members (chat_id, user_id) select %s, unnest(%s::text[])", [chat, list(users)])
    dba.execute(
        "insert into parley.messages (chat_id, id, user_id, content, updated_at)"
        " select %s, parley.generate_uuid7(now() - %s::interval - (%s - n) * interval '1 minute', n),"
        " %s, 'needle ' || n, now()"
        " from generate_series(1, %s) n",
        [chat, age, messages, users[0] if users else "", messages],
    )
    dba.execute(
        "insert into parley.message_words select chat_id, id, type, (rules.search_document(content)).*"
        " from parley.messages where chat_id = %s",
        [chat],
    )
    dba.execute("reset session_replication_role")
    dba.execute("select parley.recount_chat(%s)", [chat])
    return chat


def left(connection: Connection, chat: str) -> dict[str, int]:
    """How many rows there still are of a chat."""
    counts = {}
    for table in ("chats", "members", "messages", "message_words", "message_blocks"):
        key = "id" if table == "chats" else "chat_id"
        row = connection.execute(f"select count(*) from parley.{table} where {key} = %s", [chat]).fetchone()
        assert row is not None
        counts[table] = row[0]
    return counts


NOTHING = {"chats": 0, "members": 0, "messages": 0, "message_words": 0, "message_blocks": 0}

# What a member can do in a chat, or with it, by the API's functions; $ is the chat, # one of its messages.
WAYS = {
    "get_chat": ("$",),
    "update_chat": ("$", {"title": "New"}),
    "delete_chat": ("$",),
    "list_members": ("$",),
    "add_member": ("$", {"userId": "newcomer"}),
    "remove_member": ("$", "member"),
    "list_messages": ("$",),
    "send_message": ("$", {"content": "new"}),
    "get_message": ("$", "#"),
    "update_message": ("$", "#", {"content": "new"}),
    "delete_message": ("$", "#"),
}


def arguments(name: str, chat: str, message: str) -> list[Any]:
    """The arguments of one of these ways."""
    return [{"$": chat, "#": message}.get(a, a) if isinstance(a, str) else a for a in WAYS[name]]


def last_message(connection: Connection, chat: str) -> str:
    """Of a chat."""
    row = connection.execute("select last_message_id::text from parley.chats where id = %s", [chat]).fetchone()
    assert row is not None
    return str(row[0])


# What goes, and when


def test_a_chat_is_gone_for_its_members_at_once_and_its_messages_follow(dba: Connection) -> None:
    chat = old_chat(dba, "owner", "member", messages=25)
    message = last_message(dba, chat)
    call(dba, "newcomer", "list_chats")

    def seen(user: str) -> list[int]:
        return [
            call(dba, user, "list_chats")["total"],
            call(dba, user, "search", search="needle")["total"],
            call(dba, user, "search", search="needle", sort="relevance")["total"],
        ]

    channel = ("authorize_channel", "1.2", f"private-chat-{chat}")
    assert (seen("owner"), seen("member")) == ([1, 25, 25], [1, 25, 25])
    assert call(dba, "member", *channel)
    assert remove(dba, 10) == 10
    assert left(dba, chat) == NOTHING | {"chats": 1, "messages": 15, "message_words": 15}
    assert (seen("owner"), seen("member")) == ([0, 0, 0], [0, 0, 0])
    for user in ("owner", "member"):
        for name in WAYS:
            with expect_error(404):
                call(dba, user, name, *arguments(name, chat, message))
        with expect_error(403):
            call(dba, user, *channel)
    assert [remove(dba, 10), remove(dba, 10), remove(dba, 10)] == [10, 5 + 1, 0]
    assert left(dba, chat) == NOTHING
    assert events(dba, chat) == [("chat:deleted", chat)]
    row = dba.execute("select recipients from parley.outbox where chat_id = %s", [chat]).fetchone()
    assert row is not None
    assert sorted(row[0]) == ["member", "owner"]


def test_each_of_these_ways_works_in_a_chat_that_is_not_removed(dba: Connection) -> None:
    for name in WAYS:
        chat = old_chat(dba, "owner", "member", messages=1)
        call(dba, "newcomer", "list_chats")
        call(dba, "owner", name, *arguments(name, chat, last_message(dba, chat)))


def test_plain_sql_as_the_api_sees_nothing_of_it_either(dba: Connection) -> None:
    chat = old_chat(dba, "owner", messages=3)
    statements = [
        "select from parley.chats where id = {chat}",
        "select from parley.messages where chat_id = {chat}",
        "update parley.chats set title = 'mine' where id = {chat}",
        "update parley.messages set content = 'mine' where chat_id = {chat}",
        "delete from parley.messages where chat_id = {chat}",
        "delete from parley.chats where id = {chat}",
    ]

    def touched() -> list[int]:
        counts = []
        for statement in statements:
            with dba.transaction(force_rollback=True):
                dba.execute("select session.authenticate(%s)", [json.dumps({"sub": "owner"})])
                dba.execute("select set_config('parley.selected_chat', %s, true)", [chat])
                dba.execute("set local role app")
                counts.append(dba.execute(sql.SQL(statement).format(chat=sql.Literal(chat))).rowcount)
        return counts

    assert touched() == [1, 3, 1, 3, 3, 1]
    remove(dba, 1)
    assert touched() == [0, 0, 0, 0, 0, 0]


def test_blocks_of_messages_go_with_the_chat(dba: Connection) -> None:
    chat = old_chat(dba, "owner", messages=2300)
    assert remove(dba, 700) == 700
    assert left(dba, chat) == NOTHING | {"chats": 1, "messages": 1600, "message_words": 1600, "message_blocks": 2}
    assert [remove(dba, 1599), remove(dba, 1), remove(dba)] == [1599, 1 + 1, 0]
    assert left(dba, chat) == NOTHING


@pytest.mark.parametrize("messages", [0, 1])
def test_old_is_what_had_its_last_activity_before_that(dba: Connection, messages: int) -> None:
    chat = old_chat(dba, "owner", messages=messages, age="1 year 00:00:00.002")
    younger = old_chat(dba, "owner", messages=messages, age="1 year -00:00:00.002")
    assert remove(dba) == messages + 1
    assert (left(dba, chat)["chats"], left(dba, younger)["chats"]) == (0, 1)
    assert remove(dba) == 0
    assert remove(dba, inactive_for="364 days") == messages + 1
    assert left(dba, younger) == NOTHING


def test_a_chat_with_a_new_message_is_not_old_and_one_with_new_members_is(dba: Connection) -> None:
    used, unused = old_chat(dba, "owner", messages=3), old_chat(dba, "owner", messages=3)
    call(dba, "owner", "send_message", used, {"content": "Anybody there?"})
    call(dba, "member", "list_chats")
    call(dba, "owner", "add_member", unused, {"userId": "member"})
    assert [remove(dba), remove(dba)] == [3 + 1, 0]
    assert (left(dba, used)["messages"], left(dba, unused)) == (4, NOTHING)


def test_a_call_touches_so_many_messages_and_chats_and_the_longest_unused_first(dba: Connection) -> None:
    chats = [old_chat(dba, "owner", messages=4, age=f"{years} years") for years in (2, 4, 3)]
    assert remove(dba, 5) == 5 + 1
    assert [left(dba, chat)["messages"] for chat in chats] == [4, 0, 3]
    assert remove(dba, 7) == 7 + 2
    for _ in range(MOST_CHATS + 1):
        old_chat(dba, "owner")
    assert [remove(dba), remove(dba), remove(dba)] == [MOST_CHATS, 1, 0]


@pytest.mark.parametrize(
    ("inactive_for", "max_messages", "said"),
    [
        (None, 1, "inactive_for must be"),
        ("0", 1, "inactive_for must be"),
        ("-1 day", 1, "inactive_for must be"),
        ("1 month -40 days", 1, "inactive_for must be"),
        ("1 year", None, "max_messages must be"),
        ("1 year", 0, "max_messages must be"),
        ("1 year", -1, "max_messages must be"),
    ],
)
def test_bad_arguments_are_refused(
    dba: Connection, inactive_for: str | None, max_messages: int | None, said: str
) -> None:
    chat = old_chat(dba, "owner")
    call_with = "select parley.purge_inactive_chats(%s::interval, %s)"
    with pytest.raises(psycopg.errors.InvalidParameterValue, match=said), dba.transaction():
        dba.execute(call_with, [inactive_for, max_messages])
    assert left(dba, chat)["chats"] == 1
    assert dba.execute(call_with, ["1 year", 1]).fetchone() == (1,)


# Who may


@pytest.mark.parametrize("role", ["parley_api", "parley_listener", "parley_web", "parley_analyst"])
def test_no_role_of_ours_removes_anything(dba: Connection, role: str) -> None:
    chat = old_chat(dba, "owner", messages=1)
    attempts = (
        "select parley.purge_inactive_chats('1 year')",
        "select parley.begin_removal_of_inactive_chats('ffffffff-ffff-ffff-ffff-ffffffffffff', 100)",
        "update parley.chats set is_being_removed = true",
        "insert into parley.chats (title, owner_id, is_being_removed) values ('x', null, true)",
    )
    with dba.transaction():
        dba.execute("select set_config('parley.user_id', 'owner', true)")
        dba.execute(sql.SQL("set local role {}").format(sql.Identifier(role)))
        for attempt in attempts:
            with pytest.raises(psycopg.errors.InsufficientPrivilege), dba.transaction():
                dba.execute(attempt)
        dba.execute("reset role")
    assert left(dba, chat) | {"message_blocks": 0} == NOTHING | {
        "chats": 1, "members": 1, "messages": 1, "message_words": 1,
    }  # fmt: skip
    for attempt in attempts:
        with dba.transaction(force_rollback=True):
            assert dba.execute(attempt).rowcount >= 1


def test_a_chat_that_is_being_removed_takes_neither_members_nor_messages_and_tells_nothing(dba: Connection) -> None:
    chat = old_chat(dba, "owner", messages=5)
    call(dba, "member", "list_chats")
    additions = (
        ("insert into parley.members (chat_id, user_id) values (%s, 'member')", "members_chat_exists"),
        ("insert into parley.messages (chat_id, user_id, content) values (%s, 'x', 'x')", "messages_chat_exists"),
    )
    for addition, _ in additions:
        with dba.transaction(force_rollback=True):
            assert dba.execute(addition, [chat]).rowcount == 1
    remove(dba, 1)
    for addition, constraint in additions:
        with pytest.raises(psycopg.errors.ForeignKeyViolation) as caught, dba.transaction():
            dba.execute(addition, [chat])
        assert caught.value.diag.constraint_name == constraint
    dba.execute("update parley.messages set content = 'other' where chat_id = %s", [chat])
    dba.execute("delete from parley.messages where chat_id = %s and id = %s", [chat, last_message(dba, chat)])
    dba.execute("delete from parley.chats where id = %s", [chat])
    assert events(dba, chat) == [("chat:deleted", chat)]


def test_an_owner_who_goes_meanwhile_changes_nothing(dba: Connection) -> None:
    chat = old_chat(dba, "owner", "member", messages=5)
    remove(dba, 2)
    for user in ("owner", "member"):
        dba.execute("delete from next_auth.users where id = %s", [user])
    assert [remove(dba), remove(dba)] == [3 + 1, 0]
    assert events(dba, chat) == [("chat:deleted", chat)]


# With several sessions


@pytest.fixture
def database(new_database: Callable[[str], str]) -> str:
    """A database of the test's own."""
    return new_database(f"parley_{new_user().replace('-', '_')}")


@pytest.fixture
def as_dba(postgres: Postgres, database: str) -> Callable[[], AbstractContextManager[Connection]]:
    """Opens connections that commit each statement, as a superuser."""
    return lambda: connected(postgres.url(database))


@pytest.fixture
def app_url(postgres: Postgres, database: str) -> str:
    """The database, as the API's role."""
    return postgres.url(database, "app", "app")


Dba = Callable[[], AbstractContextManager[Connection]]


@pytest.mark.parametrize("way", WAYS)
def test_who_waited_for_the_chat_finds_it_gone(as_dba: Dba, app_url: str, way: str) -> None:
    with as_dba() as remover, connected(app_url) as client, ThreadPoolExecutor(1) as thread:
        chat = old_chat(remover, "owner", "member", messages=9)
        message = last_message(remover, chat)
        call(remover, "newcomer", "list_chats")
        waits = way not in {"get_chat", "list_members", "list_messages", "get_message"}
        with remover.transaction():
            assert remove(remover, 1) == 1
            done = thread.submit(call, client, "owner", way, *arguments(way, chat, message))
            if waits:
                wait_until(lambda: is_waiting(remover, client))
            else:
                done.result(15)  # as it was
        if waits:
            error = done.exception(15)
            assert isinstance(error, psycopg.Error)
            assert error.sqlstate == "PT404"
        assert left(remover, chat) == NOTHING | {"chats": 1, "messages": 8, "message_words": 8}
        assert events(remover, chat) == [("chat:deleted", chat)]


@pytest.mark.parametrize(
    ("statement", "constraint"),
    [
        ("insert into parley.members (chat_id, user_id) values ({chat}, 'newcomer')", "members_chat_exists"),
        ("insert into parley.messages (chat_id, content) values ({chat}, 'new')", "messages_chat_exists"),
        ("update parley.chats set title = 'new' where id = {chat}", ""),
        ("delete from parley.chats where id = {chat}", ""),
        ("delete from parley.members where chat_id = {chat} and user_id = 'member'", ""),
    ],
)
def test_so_does_plain_sql_that_waited(as_dba: Dba, app_url: str, statement: str, constraint: str) -> None:
    with as_dba() as remover, connected(app_url) as client, ThreadPoolExecutor(1) as thread:
        chat = old_chat(remover, "owner", "member", messages=2)
        call(remover, "newcomer", "list_chats")

        def work() -> int:
            with client.transaction():
                client.execute("select session.authenticate(%s)", [json.dumps({"sub": "owner"})])
                return client.execute(sql.SQL(statement).format(chat=sql.Literal(chat))).rowcount

        with remover.transaction():
            assert remove(remover, 1) == 1
            done: Future[int] = thread.submit(work)
            wait_until(lambda: is_waiting(remover, client))
        if constraint:
            error = done.exception(15)
            assert isinstance(error, psycopg.errors.ForeignKeyViolation)
            assert error.diag.constraint_name == constraint
        else:
            assert done.result(15) == 0
        assert left(remover, chat) == NOTHING | {"chats": 1, "messages": 1, "message_words": 1}
        assert events(remover, chat) == [("chat:deleted", chat)]


@pytest.mark.parametrize("what", ["a message", "a member", "a deletion", "a user's deletion", "a member's row"])
def test_a_chat_that_somebody_is_at_is_passed_over(as_dba: Dba, what: str) -> None:
    with as_dba() as remover, as_dba() as client:
        chat, other = old_chat(remover, "owner", "member", messages=2), old_chat(remover, "stranger", age="3 years")
        call(remover, "newcomer", "list_chats")
        with client.transaction():
            if what == "a message":
                call(client, "owner", "send_message", chat, {"content": "Still here"})
            elif what == "a member":
                client.execute("insert into parley.members (chat_id, user_id) values (%s, 'newcomer')", [chat])
            elif what == "a deletion":
                call(client, "owner", "delete_chat", chat)
            elif what == "a member's row":
                client.execute(
                    "select from parley.members where chat_id = %s and user_id = 'member' for update", [chat]
                )
            else:
                client.execute("delete from next_auth.users where id = 'member'")
            remover.execute("set lock_timeout = '5s'")
            assert [remove(remover), remove(remover)] == [1, 0]
            assert left(remover, other) == NOTHING
            assert left(remover, chat)["messages"] == 2
        assert remove(remover) == (0 if what == "a message" else 2 + 1)
        assert left(remover, chat)["messages"] == (3 if what == "a message" else 0)


def test_a_chat_that_gets_a_message_while_it_is_being_chosen_stays(as_dba: Dba) -> None:
    with as_dba() as remover, as_dba() as client, ThreadPoolExecutor(1) as thread:
        used, unused = old_chat(remover, "owner", messages=2), old_chat(remover, "owner", messages=2)
        # One who reads what was last said in a chat waits here, with the rows as they were.
        remover.execute(
            "create or replace function parley.last_activity(chat parley.chats) returns uuid language plpgsql as $$"
            " begin perform pg_advisory_xact_lock_shared(1); return coalesce(chat.last_message_id, chat.id); end $$"
        )
        with client.transaction():
            client.execute("select pg_advisory_xact_lock(1)")
            removing = thread.submit(remove, remover)
            wait_until(lambda: is_waiting(client, remover))
            with as_dba() as sender:
                call(sender, "owner", "send_message", used, {"content": "Still here"})
        assert removing.result(15) == 2 + 1
        assert (left(client, used)["messages"], left(client, unused)) == (3, NOTHING)
        assert [event for event, _ in events(client, used)] == ["message:sent"]


def test_of_two_at_once_neither_waits_nor_does_the_others_work(as_dba: Dba) -> None:
    with as_dba() as first, as_dba() as second:
        for _ in range(MOST_CHATS):
            old_chat(first, "owner", age="3 years")
        chat = old_chat(first, "owner", messages=2)
        second.execute("set lock_timeout = '5s'")
        with first.transaction():
            assert remove(first) == MOST_CHATS
            assert remove(second, 1) == 1
        assert [remove(first), remove(second)] == [1 + 1, 0]
        assert events(first, chat) == [("chat:deleted", chat)]


def test_what_another_is_removing_or_reading_is_passed_over(as_dba: Dba) -> None:
    with as_dba() as first, as_dba() as second:
        chat = old_chat(first, "owner", messages=4)
        second.execute("set lock_timeout = '1s'")
        assert remove(first, 1) == 1
        with first.transaction():
            assert remove(first, 1) == 1
            assert remove(second) == 0
        with first.transaction():
            first.execute("select from parley.messages where chat_id = %s limit 1 for update", [chat])
            assert remove(second) == 1
        assert remove(second) == 1 + 1


def test_two_who_join_a_chat_at_once_come_one_after_the_other(as_dba: Dba) -> None:
    waits = "select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
    with as_dba() as first, as_dba() as second, as_dba() as watcher, ThreadPoolExecutor() as pool:
        chat = old_chat(first, "owner")
        for user in ("one", "another"):
            call(first, user, "list_chats")
        join = "insert into parley.members (chat_id, user_id) values (%s, %s)"
        with first.transaction():
            first.execute(join, [chat, "one"])
            joining = pool.submit(second.execute, join, [chat, "another"])
            wait_until(lambda: watcher.execute(waits).rowcount == 1)
        assert joining.result().rowcount == 1
        told = "select payload #>> '{}' from parley.outbox where chat_id = %s and event = 'member:added' order by seq"
        assert watcher.execute(told, [chat]).fetchall() == [("one",), ("another",)]


def test_what_a_killed_call_began_the_next_one_goes_on_with(as_dba: Dba) -> None:
    def kill_one() -> None:
        with as_dba() as killed, killed.transaction():
            assert remove(killed, 2) == 2
            dba.execute("select pg_terminate_backend(%s, 10000)", [killed.info.backend_pid])

    with as_dba() as dba:
        chat = old_chat(dba, "owner", messages=6)
        with pytest.raises(psycopg.OperationalError):
            kill_one()
        assert (left(dba, chat)["members"], events(dba, chat)) == (1, [])
        assert remove(dba, 2) == 2
        with pytest.raises(psycopg.OperationalError):
            kill_one()
        assert left(dba, chat)["messages"] == 4
        assert [remove(dba, 2), remove(dba, 2), remove(dba, 2)] == [2, 2 + 1, 0]
        assert events(dba, chat) == [("chat:deleted", chat)]


def test_nothing_deadlocks_and_nothing_is_removed_twice(postgres: Postgres, as_dba: Dba, database: str) -> None:
    users = [new_user() for _ in range(8)]
    with as_dba() as dba:
        chats = [old_chat(dba, *users, messages=30, age=f"{2 + n % 8} years") for n in range(40)]
        messages = {chat: last_message(dba, chat) for chat in chats}
    ways = ("send_message", "list_messages", "update_message", "delete_message", "remove_member")
    removed: list[int] = []

    def work(connection: Connection, n: int) -> None:
        chat, way = chats[n * 7 % len(chats)], "delete_chat" if n % 16 == 0 else ways[n // 2 % len(ways)]
        try:
            if n % 2:
                removed.append(remove(connection, 17, f"{9 - n // 30} years"))
            elif n % 80 == 40:
                connection.execute("delete from next_auth.users where id = %s", [users[1 + n // 80]])
            else:
                call(connection, users[0], way, *arguments(way, chat, messages[chat]))
        except psycopg.Error as error:
            assert error.sqlstate == "PT404", error  # noqa: PT017 (a deadlock would be 40P01)

    in_parallel(postgres.url(database), work, 240)
    with as_dba() as dba:
        while more := remove(dba, 500):
            removed.append(more)
        deleted = dba.execute("select chat_id::text from parley.outbox where event = 'chat:deleted'").fetchall()
        kept = dba.execute("select id::text from parley.chats where not is_being_removed").fetchall()
        of_no_chat = (
            "select from parley.messages m where not exists (select from parley.chats c where c.id = m.chat_id)"
        )
        assert dba.execute(of_no_chat).rowcount == 0
    assert sorted(deleted + kept) == sorted((chat,) for chat in chats)
    assert kept
    assert sum(removed) > len(chats)


# By the README


def test_the_loop_of_the_readme_removes_all_that_is_old_and_ends(
    postgres: Postgres, as_dba: Dba, database: str
) -> None:
    readme = (ROOT / "sql" / "README.md").read_text()
    (loop,) = re.findall(r"^while .*purge_inactive_chats.*\n.*$", readme, flags=re.MULTILINE)

    def run(url: str) -> int:
        environment = {"PATH": f"{postgres.get_program('psql').parent}:{os.environ['PATH']}", "DATABASE_URL": url}
        done = subprocess.run(["sh", "-c", loop], env=environment, check=False, timeout=30, stderr=subprocess.DEVNULL)
        return done.returncode

    with as_dba() as dba:
        old = [old_chat(dba, "owner", messages=n * 300, age="3 years") for n in range(5)]
        young = old_chat(dba, "owner", messages=2, age="1 year")
        assert run("postgresql://nobody@127.0.0.1:1/x") == 1
        assert run(postgres.url(database)) == 0
        assert [left(dba, chat) for chat in old] == [NOTHING] * len(old)
        assert left(dba, young)["messages"] == 2
