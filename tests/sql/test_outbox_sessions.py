"""The outbox with several sessions: one leads, writers notify a listener that waits, and changes at once."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import psycopg
import pytest

from api.dev.postgres import Postgres
from tests.database import Connection, add_member, call, connect_rolled_back, new_chat
from tests.sql.outbox import events, fetch, send
from tests.tokens import new_user
from tests.waiting import wait_until


@pytest.fixture
def database(postgres: Postgres, new_database: Callable[[str], str]) -> str:
    """The URL of a database of the test's own."""
    return postgres.url(new_database(f"parley_{new_user().replace('-', '_')}"))


@contextmanager
def session(url: str) -> Iterator[Connection]:
    with psycopg.connect(url, autocommit=True) as connection:
        yield connection


def yes(connection: Connection, question: str) -> bool:
    row = connection.execute(f"select {question}").fetchone()
    return row is not None and bool(row[0])


def nudges(listener: Connection, writer: Connection) -> int:
    """How many were sent so far."""
    writer.execute("notify parley_outbox, 'the end'")
    for count, nudge in enumerate(listener.notifies(timeout=10)):
        if nudge.payload == "the end":
            return count
    raise AssertionError("no end")


def test_one_session_leads_until_it_ends(database: str) -> None:
    with session(database) as second:
        with session(database) as first:
            assert yes(first, "listener.try_lead()")
            assert not yes(second, "listener.try_lead()")
        second.execute("select pg_advisory_lock(4242108500)")


def test_writers_notify_only_a_sleeping_listener(database: str) -> None:
    with session(database) as listener, session(database) as writer:
        listener.execute("listen parley_outbox")
        chat = new_chat(writer, "owner")
        heard = []
        for step in ("select 1", "select listener.enable_notify()", "select listener.disable_notify()"):
            listener.execute(step)
            send(writer, chat)
            heard.append(nudges(listener, writer))
        assert heard == [0, 1, 0]


def test_no_commit_comes_between_falling_asleep_and_the_last_look(database: str) -> None:
    with session(database) as listener, session(database) as writer:
        chat = new_chat(writer, "owner")
        with writer.transaction():
            send(writer, chat)
            assert not yes(listener, "listener.enable_notify()")
            assert fetch(listener, chat) == []
        assert yes(listener, "listener.enable_notify()")
        assert len(fetch(listener, chat)) == 1


def test_a_commit_of_many_events_notifies_once(database: str) -> None:
    with session(database) as listener, session(database) as writer:
        chat = new_chat(writer, "owner")
        listener.execute("listen parley_outbox")
        assert yes(listener, "listener.enable_notify()")
        with writer.transaction():
            for _ in range(20):
                send(writer, chat)
        assert nudges(listener, writer) == 1


def test_a_user_who_is_deleted_does_not_wait_for_a_chat_that_is(database: str) -> None:
    with session(database) as chat_goes, session(database) as user_goes, session(database) as watcher:
        chat = new_chat(chat_goes, "owner", "member")
        user_goes.execute("set lock_timeout = '5s'")
        with chat_goes.transaction():
            chat_goes.execute("select from parley.chats where id = %s for update", [chat])
            assert user_goes.execute("delete from next_auth.users where id = 'member'").rowcount == 1
            chat_goes.execute("delete from parley.chats where id = %s", [chat])
        assert events(watcher, chat) == [("chat:deleted", chat)]
        assert yes(watcher, "not exists (select from parley.members where user_id = 'member')")


def test_the_recipients_of_a_deletion_are_those_at_its_commit(database: str) -> None:
    with session(database) as owner, connect_rolled_back(database) as watcher:
        chat = new_chat(owner, "owner")
        for n in range(3):
            add_member(owner, "owner", chat, f"member-{n}")
        call(owner, "owner", "remove_member", chat, "member-1")
        call(owner, "owner", "delete_chat", chat)
        rows = watcher.execute("select recipients from parley.outbox where event = 'chat:deleted'").fetchall()
        assert [sorted(recipients) for (recipients,) in rows] == [["member-0", "member-2", "owner"]]


def test_who_is_added_while_the_chat_is_renamed_hears_of_it(database: str) -> None:
    waits = "exists (select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock')"
    with session(database) as renamer, session(database) as adder, session(database) as watcher:
        chat = new_chat(renamer, "owner")
        call(adder, "member", "list_chats")
        with ThreadPoolExecutor() as pool:
            with renamer.transaction():
                call(renamer, "owner", "update_chat", chat, {"title": "old news"})
                adding = pool.submit(call, adder, "owner", "add_member", chat, {"userId": "member"})
                wait_until(lambda: yes(watcher, waits))
            assert adding.result()["userId"] == "member"
        assert call(watcher, "member", "get_chat", chat)["title"] == "old news"
