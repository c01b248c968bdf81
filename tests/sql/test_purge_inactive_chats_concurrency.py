"""Inactive chats are purged while other sessions use them: a chat in use stays, and nothing deadlocks."""

import json
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager

import psycopg
import pytest
from psycopg import sql

from api.dev.postgres import Postgres
from tests.database import Connection, call
from tests.sql.inactive_chats import MOST_CHATS, NOTHING, WAYS, arguments, last_message, left, old_chat, remove
from tests.sql.outbox import events
from tests.sql.sessions import connected, in_parallel, is_waiting
from tests.tokens import new_user
from tests.waiting import wait_until


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
