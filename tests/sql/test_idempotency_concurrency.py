"""Idempotency keys with several sessions: while the first request is in progress, and while keys are purged."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import psycopg
import pytest

from tests.database import Connection, expect_error, new_chat
from tests.sql.idempotency import CHATS, KEY, count_messages, post, purge_keys, send, stored_keys
from tests.tokens import new_user
from tests.waiting import wait_until


def is_statement_waiting(url: str, query: str) -> bool:
    """Return whether a statement that begins like this waits for a lock."""
    waiting = "select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
    with psycopg.connect(url) as watcher:
        return watcher.execute(f"{waiting} and query ~ %s", [f"^{query}"]).rowcount == 1


@contextmanager
def request_in_progress(url: str, user: str, chat: str, key: str | None) -> Iterator[Connection]:
    """Send a message without committing; yield its connection."""
    with psycopg.connect(url) as connection:
        connection.execute("select")  # begins a transaction, so that the next statement does not commit
        assert not send(connection, user, chat, key)[1]
        yield connection


def test_repeated_request_is_a_conflict_while_the_first_is_in_progress(own_dba: Connection, own_url: str) -> None:
    user, other = new_user(), new_user()
    chat = new_chat(own_dba, user, other)
    with request_in_progress(own_url, user, chat, KEY) as connection:
        for content in ("Hello", "Something else"):
            with pytest.raises(psycopg.Error) as caught:
                post(own_dba, user, CHATS, {"title": content}, key=KEY)
            assert caught.value.sqlstate == "PT409"
            assert json.loads(caught.value.diag.message_detail or "") == {"retryAfter": 1}
        assert not post(own_dba, other, CHATS, {"title": "x"}, key=KEY)[1]
        assert not post(own_dba, user, CHATS, {"title": "x"}, key="another")[1]
        connection.commit()
        assert send(own_dba, user, chat, KEY)[1]
    assert count_messages(own_dba, user, chat) == 1


def test_repeated_request_is_executed_after_a_rollback_of_the_first(own_dba: Connection, own_url: str) -> None:
    user = new_user()
    chat = new_chat(own_dba, user)
    with request_in_progress(own_url, user, chat, KEY) as connection:
        with expect_error(409):
            send(own_dba, user, chat, KEY)
        connection.rollback()
        assert not send(own_dba, user, chat, KEY)[1]
    assert count_messages(own_dba, user, chat) == 1


def test_key_that_is_renewed_during_the_purge_is_not_purged(own_dba: Connection, own_url: str) -> None:
    user = new_user()
    chat = new_chat(own_dba, user)
    send(own_dba, user, chat, KEY)
    own_dba.execute("update parley.idempotency_keys set created_at = now() - interval '2 days'")
    with ThreadPoolExecutor() as threads, request_in_progress(own_url, user, chat, KEY) as connection:
        removal = threads.submit(purge_keys, own_dba, 10)
        wait_until(lambda: is_statement_waiting(own_url, "select listener.purge_idempotency_keys"))
        connection.commit()
        assert removal.result() == 0
    assert send(own_dba, user, chat, KEY)[1]


def test_keys_of_a_deleted_user_are_removed_with_those_of_requests_in_progress(
    own_dba: Connection, own_url: str
) -> None:
    user, other = new_user(), new_user()
    chat = new_chat(own_dba, other, user)
    send(own_dba, other, chat, KEY)
    send(own_dba, user, chat, "another-key")
    with request_in_progress(own_url, user, chat, KEY) as connection:
        own_dba.execute("set lock_timeout = '5s'")
        own_dba.execute("delete from next_auth.users where id = %s", [user])
        assert stored_keys(own_dba, user) == []
        connection.commit()
    assert stored_keys(own_dba, user) == [KEY]
    assert own_dba.execute("select listener.purge_memberships(100)").fetchone() == (2,)  # with a read marker
    assert stored_keys(own_dba, user) == []
    assert stored_keys(own_dba, other) == [KEY]
    with expect_error(401):
        send(own_dba, user, chat, KEY)
