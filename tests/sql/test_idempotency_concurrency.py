"""Idempotency keys while another session executes the first request with the key, or purges old keys."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import psycopg
import pytest

from tests.database import Connection, expect_error, new_chat
from tests.sql.idempotency import CHATS, KEY, kept, messages, post, removed, send
from tests.tokens import new_user
from tests.waiting import wait_until


def waits(url: str, query: str) -> bool:
    """Whether a statement that begins like this waits for a lock."""
    asked = "select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
    with psycopg.connect(url) as watcher:
        return watcher.execute(f"{asked} and query ~ %s", [f"^{query}"]).rowcount == 1


@contextmanager
def under_way(url: str, user: str, chat: str, key: str | None) -> Iterator[Connection]:
    """A connection that has sent a message, with a key or without, and has not committed."""
    with psycopg.connect(url) as connection:
        connection.execute("select")  # begins, so that what follows does not commit
        assert not send(connection, user, chat, key)[1]
        yield connection


def test_while_the_first_is_under_way_a_repeat_is_told_to_come_again(own: Connection, own_url: str) -> None:
    user, other = new_user(), new_user()
    chat = new_chat(own, user, other)
    with under_way(own_url, user, chat, KEY) as connection:
        for content in ("Hello", "Something else"):
            with pytest.raises(psycopg.Error) as caught:
                post(own, user, CHATS, {"title": content}, key=KEY)
            assert caught.value.sqlstate == "PT409"
            assert json.loads(caught.value.diag.message_detail or "") == {"retryAfter": 1}
        assert not post(own, other, CHATS, {"title": "x"}, key=KEY)[1]
        assert not post(own, user, CHATS, {"title": "x"}, key="another")[1]
        connection.commit()
        assert send(own, user, chat, KEY)[1]
    assert messages(own, user, chat) == 1


def test_when_the_first_came_to_nothing_a_repeat_is_the_first(own: Connection, own_url: str) -> None:
    user = new_user()
    chat = new_chat(own, user)
    with under_way(own_url, user, chat, KEY) as connection:
        with expect_error(409):
            send(own, user, chat, KEY)
        connection.rollback()
        assert not send(own, user, chat, KEY)[1]
    assert messages(own, user, chat) == 1


def test_an_answer_that_is_renewed_just_now_is_not_removed(own: Connection, own_url: str) -> None:
    user = new_user()
    chat = new_chat(own, user)
    send(own, user, chat, KEY)
    own.execute("update parley.idempotency_keys set created_at = now() - interval '2 days'")
    with ThreadPoolExecutor() as threads, under_way(own_url, user, chat, KEY) as connection:
        removal = threads.submit(removed, own, 10)
        wait_until(lambda: waits(own_url, "select listener.purge_idempotency_keys"))
        connection.commit()
        assert removal.result() == 0
    assert send(own, user, chat, KEY)[1]


def test_a_deleted_users_answers_are_removed_also_of_a_request_under_way(own: Connection, own_url: str) -> None:
    user, other = new_user(), new_user()
    chat = new_chat(own, other, user)
    send(own, other, chat, KEY)
    send(own, user, chat, "another-key")
    with under_way(own_url, user, chat, KEY) as connection:
        own.execute("set lock_timeout = '5s'")
        own.execute("delete from next_auth.users where id = %s", [user])
        assert kept(own, user) == []
        connection.commit()
    assert kept(own, user) == [KEY]
    assert own.execute("select listener.purge_memberships(100)").fetchone() == (1,)
    assert kept(own, user) == []
    assert kept(own, other) == [KEY]
    with expect_error(401):
        send(own, user, chat, KEY)
