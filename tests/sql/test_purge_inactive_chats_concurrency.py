"""Purging of inactive chats with several sessions: chats in use are kept, and nothing deadlocks."""

import json
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager

import psycopg
import pytest
from psycopg import sql

from api.dev.postgres import Postgres
from tests.database import Connection, call
from tests.sql.chat_calls import CHAT_FUNCTIONS, build_arguments
from tests.sql.chat_rows import NO_CHAT_ROWS, count_chat_rows, last_message_id
from tests.sql.inactive_chats import MAX_CHATS, new_inactive_chat, purge
from tests.sql.outbox import events
from tests.sql.sessions import connect_autocommit, is_waiting, run_in_parallel
from tests.tokens import new_user
from tests.waiting import wait_until


@pytest.fixture
def database(new_database: Callable[[str], str]) -> str:
    """A database of the test's own."""
    return new_database(f"parley_{new_user().replace('-', '_')}")


@pytest.fixture
def connect_as_dba(postgres: Postgres, database: str) -> Callable[[], AbstractContextManager[Connection]]:
    """Return a function that connects as a superuser; each statement commits."""
    return lambda: connect_autocommit(postgres.url(database))


@pytest.fixture
def app_url(postgres: Postgres, database: str) -> str:
    """The URL of the database, as the API's role."""
    return postgres.url(database, "app", "app")


Dba = Callable[[], AbstractContextManager[Connection]]


@pytest.mark.parametrize("function", CHAT_FUNCTIONS)
def test_function_that_waited_for_a_purged_chat_raises_not_found(
    connect_as_dba: Dba, app_url: str, function: str
) -> None:
    with connect_as_dba() as remover, connect_autocommit(app_url) as client, ThreadPoolExecutor(1) as thread:
        chat = new_inactive_chat(remover, "owner", "member", messages=9)
        message = last_message_id(remover, chat)
        call(remover, "newcomer", "list_chats")
        reads = {"get_chat", "list_members", "list_messages", "get_message"}
        waits = function not in {*reads, "authorize_upload", "add_chat_image"}  # Uploads do not lock the chat.
        with remover.transaction():
            assert purge(remover, 1) == 1
            done = thread.submit(call, client, "owner", function, *build_arguments(function, chat, message))
            if waits:
                wait_until(lambda: is_waiting(remover, client))
            else:
                done.result(15)  # a read sees the chat as of its snapshot
        if waits:
            error = done.exception(15)
            assert isinstance(error, psycopg.Error)
            assert error.sqlstate == "PT404"
        assert count_chat_rows(remover, chat) == NO_CHAT_ROWS | {"chats": 1, "messages": 8, "message_words": 8}
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
def test_plain_sql_that_waited_for_a_purged_chat_affects_no_row(
    connect_as_dba: Dba, app_url: str, statement: str, constraint: str
) -> None:
    with connect_as_dba() as remover, connect_autocommit(app_url) as client, ThreadPoolExecutor(1) as thread:
        chat = new_inactive_chat(remover, "owner", "member", messages=2)
        call(remover, "newcomer", "list_chats")

        def work() -> int:
            with client.transaction():
                client.execute("select session.authenticate(%s)", [json.dumps({"sub": "owner"})])
                return client.execute(sql.SQL(statement).format(chat=sql.Literal(chat))).rowcount

        with remover.transaction():
            assert purge(remover, 1) == 1
            done: Future[int] = thread.submit(work)
            wait_until(lambda: is_waiting(remover, client))
        if constraint:
            error = done.exception(15)
            assert isinstance(error, psycopg.errors.ForeignKeyViolation)
            assert error.diag.constraint_name == constraint
        else:
            assert done.result(15) == 0
        assert count_chat_rows(remover, chat) == NO_CHAT_ROWS | {"chats": 1, "messages": 1, "message_words": 1}
        assert events(remover, chat) == [("chat:deleted", chat)]


@pytest.mark.parametrize("change", ["a message", "a member", "a deletion", "a user's deletion", "a member's row"])
def test_chat_with_a_change_in_progress_is_skipped(connect_as_dba: Dba, change: str) -> None:
    with connect_as_dba() as remover, connect_as_dba() as client:
        chat, other = (
            new_inactive_chat(remover, "owner", "member", messages=2),
            new_inactive_chat(remover, "stranger", age="3 years"),
        )
        call(remover, "newcomer", "list_chats")
        with client.transaction():
            if change == "a message":
                call(client, "owner", "send_message", chat, {"content": "Still here"})
            elif change == "a member":
                client.execute("insert into parley.members (chat_id, user_id) values (%s, 'newcomer')", [chat])
            elif change == "a deletion":
                call(client, "owner", "delete_chat", chat)
            elif change == "a member's row":
                client.execute(
                    "select from parley.members where chat_id = %s and user_id = 'member' for update", [chat]
                )
            else:
                client.execute("delete from next_auth.users where id = 'member'")
            remover.execute("set lock_timeout = '5s'")
            assert [purge(remover), purge(remover)] == [1, 0]
            assert count_chat_rows(remover, other) == NO_CHAT_ROWS
            assert count_chat_rows(remover, chat)["messages"] == 2
        assert purge(remover) == (0 if change == "a message" else 2 + 1)
        assert count_chat_rows(remover, chat)["messages"] == (3 if change == "a message" else 0)


def test_chat_that_gets_a_message_while_it_is_being_selected_is_kept(connect_as_dba: Dba) -> None:
    with connect_as_dba() as remover, connect_as_dba() as client, ThreadPoolExecutor(1) as thread:
        used, unused = new_inactive_chat(remover, "owner", messages=2), new_inactive_chat(remover, "owner", messages=2)
        # The selection of inactive chats waits here, with the rows of its snapshot.
        remover.execute(
            "create or replace function parley.activity_key(chat parley.chats) returns uuid language plpgsql as $$"
            " begin perform pg_advisory_xact_lock_shared(1); return coalesce(chat.last_message_id, chat.id); end $$"
        )
        with client.transaction():
            client.execute("select pg_advisory_xact_lock(1)")
            removing = thread.submit(purge, remover)
            wait_until(lambda: is_waiting(client, remover))
            with connect_as_dba() as sender:
                call(sender, "owner", "send_message", used, {"content": "Still here"})
        assert removing.result(15) == 2 + 1
        assert (count_chat_rows(client, used)["messages"], count_chat_rows(client, unused)) == (3, NO_CHAT_ROWS)
        assert [event for event, _ in events(client, used)] == ["message:sent"]


def test_concurrent_purges_select_different_chats_without_waiting(connect_as_dba: Dba) -> None:
    with connect_as_dba() as first, connect_as_dba() as second:
        for _ in range(MAX_CHATS):
            new_inactive_chat(first, "owner", age="3 years")
        chat = new_inactive_chat(first, "owner", messages=2)
        second.execute("set lock_timeout = '5s'")
        with first.transaction():
            assert purge(first) == MAX_CHATS
            assert purge(second, 1) == 1
        assert [purge(first), purge(second)] == [1 + 1, 0]
        assert events(first, chat) == [("chat:deleted", chat)]


def test_locked_chats_and_messages_are_skipped(connect_as_dba: Dba) -> None:
    with connect_as_dba() as first, connect_as_dba() as second:
        chat = new_inactive_chat(first, "owner", messages=4)
        second.execute("set lock_timeout = '1s'")
        assert purge(first, 1) == 1
        with first.transaction():
            assert purge(first, 1) == 1
            assert purge(second) == 0
        with first.transaction():
            first.execute("select from parley.messages where chat_id = %s limit 1 for update", [chat])
            assert purge(second) == 1
        assert purge(second) == 1 + 1


def test_two_members_added_at_once_get_consecutive_events(connect_as_dba: Dba) -> None:
    waits = "select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
    with (
        connect_as_dba() as first,
        connect_as_dba() as second,
        connect_as_dba() as watcher,
        ThreadPoolExecutor() as pool,
    ):
        chat = new_inactive_chat(first, "owner")
        for user in ("one", "another"):
            call(first, user, "list_chats")
        join = "insert into parley.members (chat_id, user_id) values (%s, %s)"
        with first.transaction():
            first.execute(join, [chat, "one"])
            joining = pool.submit(second.execute, join, [chat, "another"])
            wait_until(lambda: watcher.execute(waits).rowcount == 1)
        assert joining.result().rowcount == 1
        added = "select payload #>> '{}' from parley.outbox where chat_id = %s and event = 'member:added' order by seq"
        assert watcher.execute(added, [chat]).fetchall() == [("one",), ("another",)]


def test_killed_purge_is_completed_by_the_next_one(connect_as_dba: Dba) -> None:
    def purge_and_die() -> None:
        with connect_as_dba() as killed, killed.transaction():
            assert purge(killed, 2) == 2
            dba.execute("select pg_terminate_backend(%s, 10000)", [killed.info.backend_pid])

    with connect_as_dba() as dba:
        chat = new_inactive_chat(dba, "owner", messages=6)
        with pytest.raises(psycopg.OperationalError):
            purge_and_die()
        assert (count_chat_rows(dba, chat)["members"], events(dba, chat)) == (1, [])
        assert purge(dba, 2) == 2
        with pytest.raises(psycopg.OperationalError):
            purge_and_die()
        assert count_chat_rows(dba, chat)["messages"] == 4
        assert [purge(dba, 2), purge(dba, 2), purge(dba, 2)] == [2, 2 + 1, 0]
        assert events(dba, chat) == [("chat:deleted", chat)]


def test_concurrent_purges_and_changes_do_not_deadlock(postgres: Postgres, connect_as_dba: Dba, database: str) -> None:
    users = [new_user() for _ in range(8)]
    with connect_as_dba() as dba:
        chats = [new_inactive_chat(dba, *users, messages=30, age=f"{2 + n % 8} years") for n in range(40)]
        messages = {chat: last_message_id(dba, chat) for chat in chats}
    functions = ("send_message", "list_messages", "update_message", "delete_message", "remove_member")
    removed: list[int] = []

    def work(connection: Connection, n: int) -> None:
        chat, function = chats[n * 7 % len(chats)], "delete_chat" if n % 16 == 0 else functions[n // 2 % len(functions)]
        try:
            if n % 2:
                removed.append(purge(connection, 17, f"{9 - n // 30} years"))
            elif n % 80 == 40:
                connection.execute("delete from next_auth.users where id = %s", [users[1 + n // 80]])
            else:
                call(connection, users[0], function, *build_arguments(function, chat, messages[chat]))
        except psycopg.Error as error:
            assert error.sqlstate == "PT404", error  # noqa: PT017 (a deadlock would be 40P01)

    run_in_parallel(postgres.url(database), work, 240)
    with connect_as_dba() as dba:
        while more := purge(dba, 500):
            removed.append(more)
        deleted = dba.execute("select chat_id::text from parley.outbox where event = 'chat:deleted'").fetchall()
        kept = dba.execute("select id::text from parley.chats where not is_being_removed").fetchall()
        orphans = "select from parley.messages m where not exists (select from parley.chats c where c.id = m.chat_id)"
        assert dba.execute(orphans).rowcount == 0
    assert sorted(deleted + kept) == sorted((chat,) for chat in chats)
    assert kept
    assert sum(removed) > len(chats)
