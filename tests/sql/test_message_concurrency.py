"""Concurrent changes of messages: counts are exact, ids rise in the order of commits, nothing deadlocks."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

import psycopg
import pytest

from api.dev.postgres import Postgres
from tests.database import Connection, call, new_chat
from tests.sql.sessions import connect_autocommit, is_waiting, run_in_parallel
from tests.tokens import new_user
from tests.waiting import wait_until


@pytest.fixture(scope="module")
def url(postgres: Postgres, new_database: Callable[[str], str]) -> str:
    """The URL of a database of this file, as the API's role."""
    return postgres.url(new_database("parley_message_concurrency"), "app", "app")


def test_messages_of_concurrent_writers_are_counted_exactly(url: str) -> None:
    user = new_user()
    with connect_autocommit(url) as connection:
        chat = new_chat(connection, user)

    def work(connection: Connection, n: int) -> None:
        message = call(connection, user, "send_message", chat, {"content": f"m{n}"})["id"]
        if n % 4 == 0:
            call(connection, user, "update_message", chat, message, {"content": f"edited {n}"})
        if n % 8 == 0:
            call(connection, user, "delete_message", chat, message)

    run_in_parallel(url, work, 80)
    with connect_autocommit(url) as connection:
        listed = call(connection, user, "list_messages", chat, limit="100")
    assert listed["total"] == len(listed["messages"]) == 70
    assert len({m["id"] for m in listed["messages"]}) == 70


def test_messages_become_visible_in_the_order_of_their_ids(url: str) -> None:
    user = new_user()
    with connect_autocommit(url) as connection:
        chat = new_chat(connection, user)
    pages: list[list[str]] = []

    def work(connection: Connection, n: int) -> None:
        if n % 2:
            call(connection, user, "send_message", chat, {"content": f"m{n}"})
        else:
            listed = call(connection, user, "list_messages", chat, limit="100")
            pages.append([m["id"] for m in listed["messages"]])

    run_in_parallel(url, work, 120)
    with connect_autocommit(url) as connection:
        final = [m["id"] for m in call(connection, user, "list_messages", chat, limit="100")["messages"]]
    assert len(final) == 60
    for ids in pages:
        assert ids == final[len(final) - len(ids) :]
    assert [UUID(i) for i in final] == sorted((UUID(i) for i in final), reverse=True)


def test_message_waits_for_an_uncommitted_message_of_its_chat(url: str) -> None:
    user = new_user()
    with connect_autocommit(url) as first, connect_autocommit(url) as second, ThreadPoolExecutor(1) as thread:
        chat = new_chat(first, user)
        with first.transaction():
            one = call(first, user, "send_message", chat, {"content": "one"})
            waiting = thread.submit(call, second, user, "send_message", chat, {"content": "two"})
            wait_until(lambda: is_waiting(first, second))
        assert waiting.result()["id"] > one["id"]


def test_concurrent_deletion_of_messages_and_their_chat_does_not_deadlock(url: str) -> None:
    user = new_user()
    with connect_autocommit(url) as connection:
        chats = [new_chat(connection, user) for _ in range(6)]
        messages = {
            chat: [call(connection, user, "send_message", chat, {"content": "x"})["id"] for _ in range(7)]
            for chat in chats
        }

    def work(connection: Connection, n: int) -> None:
        chat = chats[n // 8]
        try:
            if n % 8 == 4:
                call(connection, user, "delete_chat", chat)
            else:
                call(connection, user, "delete_message", chat, messages[chat][n % 8 - (n % 8 > 4)])
        except psycopg.Error as error:
            assert error.sqlstate == "PT404", error  # noqa: PT017 (a deadlock would be 40P01)

    run_in_parallel(url, work, 48)
    with connect_autocommit(url) as connection:
        assert call(connection, user, "list_chats")["total"] == 0


@pytest.mark.parametrize("committed_first", ["delete_chat", "remove_member"])
def test_message_that_waited_for_a_deletion_or_removal_raises_not_found(url: str, committed_first: str) -> None:
    owner, member = new_user(), new_user()
    with connect_autocommit(url) as first, connect_autocommit(url) as second, ThreadPoolExecutor(1) as thread:
        chat = new_chat(first, owner, member)
        with first.transaction():
            call(first, owner, "send_message", chat, {"content": "first"})
            sending = thread.submit(call, second, member, "send_message", chat, {"content": "late"})
            wait_until(lambda: is_waiting(first, second))
            call(first, owner, committed_first, chat, *([member] if committed_first == "remove_member" else []))
        error = sending.exception()
        assert isinstance(error, psycopg.Error)
        assert error.sqlstate == "PT404"


def test_deletion_in_plain_sql_updates_the_last_message_that_it_waited_for(postgres: Postgres, url: str) -> None:
    user = new_user()
    with (
        connect_autocommit(url) as first,
        connect_autocommit(postgres.url("parley_message_concurrency")) as dba,
        ThreadPoolExecutor(1) as thread,
    ):
        chat = new_chat(first, user)
        old = call(first, user, "send_message", chat, {"content": "old"})["id"]
        with first.transaction():
            new = call(first, user, "send_message", chat, {"content": "new"})
            deleting = thread.submit(dba.execute, "delete from parley.messages where id = %s", [old])
            wait_until(lambda: is_waiting(first, dba))
        deleting.result()
        assert call(first, user, "get_chat", chat)["lastMessageAt"] == new["createdAt"]
        assert call(first, user, "list_messages", chat)["total"] == 1


def test_edit_that_waited_for_the_deletion_of_its_message_raises_not_found(url: str) -> None:
    user = new_user()
    with connect_autocommit(url) as first, connect_autocommit(url) as second, ThreadPoolExecutor(1) as thread:
        chat = new_chat(first, user)
        message = call(first, user, "send_message", chat, {"content": "one"})["id"]
        with first.transaction():
            call(first, user, "delete_message", chat, message)
            editing = thread.submit(call, second, user, "update_message", chat, message, {"content": "two"})
            wait_until(lambda: is_waiting(first, second))
        error = editing.exception()
        assert isinstance(error, psycopg.Error)
        assert error.sqlstate == "PT404"


def test_message_blocks_are_counted_exactly_under_concurrent_changes(postgres: Postgres, url: str) -> None:
    user = new_user()
    with connect_autocommit(url) as connection:
        chat = new_chat(connection, user)
    database = url.rpartition("/")[2]
    with psycopg.connect(postgres.url(database), autocommit=True) as dba:
        dba.execute(
            "insert into parley.messages (chat_id, content, user_id) select %s, n, %s from generate_series(1, 1990) n",
            [chat, user],
        )
        ids = [row[0] for row in dba.execute(
            "select id::text from parley.messages where chat_id = %s order by id", [chat]).fetchall()]  # fmt: skip

    def work(connection: Connection, n: int) -> None:
        call(connection, user, "send_message", chat, {"content": f"new {n}"})
        call(connection, user, "delete_message", chat, ids[n * 24])
        call(connection, user, "update_message", chat, ids[n * 24 + 1], {"type": ("code", "image")[n % 2]})

    run_in_parallel(url, work, 80)
    counters = "select message_count, counted_messages from parley.chats where id = %s"
    blocks = "select messages, by_type from parley.message_blocks where chat_id = %s order by first_id"
    with psycopg.connect(postgres.url(database), autocommit=True) as dba:
        row = dba.execute(counters, [chat]).fetchone()
        assert row is not None
        assert row[0] == 1990
        stored = dba.execute(blocks, [chat]).fetchall()
        assert sum(block[0] for block in stored) == row[1] > 1900
        actual = dba.execute(
            "select count(m.id)::integer, (select jsonb_object_agg(t.type, t.n) from ("
            " select o.type, count(*) as n from parley.messages o"
            " where o.chat_id = b.chat_id and o.id >= b.first_id and o.id < b.before_id group by 1) t)"
            " from parley.message_blocks b join parley.messages m"
            " on m.chat_id = b.chat_id and m.id >= b.first_id and m.id < b.before_id"
            " where b.chat_id = %s group by b.chat_id, b.first_id, b.before_id order by b.first_id", [chat]
        ).fetchall()  # fmt: skip
        assert stored == actual
