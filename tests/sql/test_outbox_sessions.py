"""The outbox with several sessions: one leads, writers notify a listener that waits, and changes are concurrent."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from api.dev.postgres import Postgres
from tests.database import Connection, add_member, call, connect_rolled_back, new_chat
from tests.sql.outbox import events, fetch, send
from tests.sql.sessions import connect_autocommit
from tests.tokens import new_user
from tests.waiting import wait_until


@pytest.fixture
def database_url(postgres: Postgres, new_database: Callable[[str], str]) -> str:
    """The URL of a database of the test's own."""
    return postgres.url(new_database(f"parley_{new_user().replace('-', '_')}"))


def is_true(connection: Connection, expression: str) -> bool:
    """Return whether an SQL expression is true."""
    row = connection.execute(f"select {expression}").fetchone()
    return row is not None and bool(row[0])


def count_notifications(listener: Connection, writer: Connection) -> int:
    """Return the number of notifications since the last call."""
    writer.execute("notify parley_outbox, 'the end'")
    for count, notification in enumerate(listener.notifies(timeout=10)):
        if notification.payload == "the end":
            return count
    raise AssertionError("no end")


def test_leader_is_one_session_until_it_ends(database_url: str) -> None:
    with connect_autocommit(database_url) as second:
        with connect_autocommit(database_url) as first:
            assert is_true(first, "listener.try_lead()")
            assert not is_true(second, "listener.try_lead()")
        second.execute("select pg_advisory_lock(4242108500)")


def test_writers_notify_only_while_notifications_are_enabled(database_url: str) -> None:
    with connect_autocommit(database_url) as listener, connect_autocommit(database_url) as writer:
        listener.execute("listen parley_outbox")
        chat = new_chat(writer, "owner")
        counts = []
        for step in ("select 1", "select listener.enable_notify()", "select listener.disable_notify()"):
            listener.execute(step)
            send(writer, chat)
            counts.append(count_notifications(listener, writer))
        assert counts == [0, 1, 0]


def test_notifications_are_not_enabled_while_a_writer_has_not_committed(database_url: str) -> None:
    with connect_autocommit(database_url) as listener, connect_autocommit(database_url) as writer:
        chat = new_chat(writer, "owner")
        with writer.transaction():
            send(writer, chat)
            assert not is_true(listener, "listener.enable_notify()")
            assert fetch(listener, chat) == []
        assert is_true(listener, "listener.enable_notify()")
        assert len(fetch(listener, chat)) == 1


def test_transaction_with_many_events_notifies_once(database_url: str) -> None:
    with connect_autocommit(database_url) as listener, connect_autocommit(database_url) as writer:
        chat = new_chat(writer, "owner")
        listener.execute("listen parley_outbox")
        assert is_true(listener, "listener.enable_notify()")
        with writer.transaction():
            for _ in range(20):
                send(writer, chat)
        assert count_notifications(listener, writer) == 1


def test_deletion_of_a_user_does_not_wait_for_a_deletion_of_a_chat(database_url: str) -> None:
    with (
        connect_autocommit(database_url) as chat_deletion,
        connect_autocommit(database_url) as user_deletion,
        connect_autocommit(database_url) as observer,
    ):
        chat = new_chat(chat_deletion, "owner", "member")
        user_deletion.execute("set lock_timeout = '5s'")
        with chat_deletion.transaction():
            chat_deletion.execute("select from parley.chats where id = %s for update", [chat])
            assert user_deletion.execute("delete from next_auth.users where id = 'member'").rowcount == 1
            chat_deletion.execute("delete from parley.chats where id = %s", [chat])
        assert events(observer, chat) == [("chat:deleted", chat)]
        assert is_true(observer, "not exists (select from parley.members where user_id = 'member')")


def test_recipients_of_a_deletion_are_the_members_at_its_commit(database_url: str) -> None:
    with connect_autocommit(database_url) as owner, connect_rolled_back(database_url) as observer:
        chat = new_chat(owner, "owner")
        for n in range(3):
            add_member(owner, "owner", chat, f"member-{n}")
        call(owner, "owner", "remove_member", chat, "member-1")
        call(owner, "owner", "delete_chat", chat)
        rows = observer.execute("select recipients from parley.outbox where event = 'chat:deleted'").fetchall()
        assert [sorted(recipients) for (recipients,) in rows] == [["member-0", "member-2", "owner"]]


def test_member_added_during_a_rename_gets_the_new_title(database_url: str) -> None:
    is_waiting = "exists (select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock')"
    with (
        connect_autocommit(database_url) as renamer,
        connect_autocommit(database_url) as adder,
        connect_autocommit(database_url) as observer,
    ):
        chat = new_chat(renamer, "owner")
        call(adder, "member", "list_chats")
        with ThreadPoolExecutor() as pool:
            with renamer.transaction():
                call(renamer, "owner", "update_chat", chat, {"title": "New title"})
                adding = pool.submit(call, adder, "owner", "add_member", chat, {"userId": "member"})
                wait_until(lambda: is_true(observer, is_waiting))
            assert adding.result()["userId"] == "member"
        assert call(observer, "member", "get_chat", chat)["title"] == "New title"
