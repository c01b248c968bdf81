"""Purges in several sessions: concurrent changes and batches, a killed batch, and a rollback."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest

from api.dev.postgres import Postgres
from tests.database import call, expect_error, new_chat
from tests.sql.chat_rows import NO_CHAT_ROWS, count_chat_rows, last_message_id
from tests.sql.outbox import events
from tests.sql.removal import (
    MEMBERSHIPS_REMOVED_AT_ONCE,
    count_memberships,
    delete_user,
    insert_chats,
    is_being_removed,
    purge_batch,
)
from tests.sql.sessions import connect_autocommit
from tests.tokens import new_user
from tests.waiting import wait_until


@pytest.fixture
def url(postgres: Postgres, new_database: Callable[[str], str]) -> str:
    """The URL of a database of the test's own, as a superuser."""
    return postgres.url(new_database(f"parley_{new_user().replace('-', '_')}"))


WAITING_SESSIONS = "select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"


def test_event_log_of_a_former_member_has_only_the_deletion_of_the_chat(url: str) -> None:
    with connect_autocommit(url) as dba:
        chat = new_chat(dba, "owner", "member")
        cursor = call(dba, "member", "list_events")["next"]
        call(dba, "owner", "send_message", chat, {"content": "secret"})
        call(dba, "owner", "delete_chat", chat)
        assert count_chat_rows(dba, chat)["messages"] == 1
        (event,) = call(dba, "member", "list_events", after=cursor)["events"]
        assert (event["event"], event["data"]) == ("chat:deleted", chat)


def test_deleted_user_is_rejected_while_memberships_remain(url: str) -> None:
    with connect_autocommit(url) as dba:
        insert_chats(dba, "owner", 2 * MEMBERSHIPS_REMOVED_AT_ONCE, "deleted")
        delete_user(dba, "deleted")
        assert count_memberships(dba, "deleted") == MEMBERSHIPS_REMOVED_AT_ONCE
        with expect_error(401):
            call(dba, "deleted", "list_chats")
        insert = "insert into next_auth.users (id) values ('deleted')"
        with pytest.raises(psycopg.errors.ObjectInUse, match="still being removed"):
            dba.execute(insert)
        assert purge_batch(dba, "purge_memberships", 1000) == MEMBERSHIPS_REMOVED_AT_ONCE
        dba.execute(insert)
        assert call(dba, "deleted", "list_chats")["total"] == 0


def test_deletion_of_a_user_skips_locked_chats(url: str) -> None:
    with connect_autocommit(url) as dba, connect_autocommit(url) as other:
        (chat, *_) = insert_chats(dba, "owner", 3, "deleted")
        dba.execute("set lock_timeout = '5s'")
        with other.transaction():
            call(other, "owner", "send_message", chat, {"content": "Still here"})
            delete_user(dba, "deleted")
            assert (count_memberships(dba, "deleted"), is_being_removed(dba, "deleted")) == (1, True)
            assert purge_batch(dba, "purge_memberships", 100) == 0
        assert purge_batch(dba, "purge_memberships", 100) == 1
        assert not is_being_removed(dba, "deleted")
        assert [event for event, _ in events(dba, chat)] == ["message:sent", "member:removed"]


@pytest.mark.parametrize("first", ["the deletion", "the membership"])
def test_user_deleted_while_being_added_is_no_member(url: str, first: str) -> None:
    with (
        connect_autocommit(url) as deleting,
        connect_autocommit(url) as adding,
        connect_autocommit(url) as dba,
        ThreadPoolExecutor() as threads,
    ):
        chat = new_chat(dba, "owner")
        call(dba, "deleted", "get_settings")

        def add() -> Any:
            return adding.execute("insert into parley.members (chat_id, user_id) values (%s, 'deleted')", [chat])

        if first == "the deletion":
            with deleting.transaction():
                delete_user(deleting, "deleted")
                waiting = threads.submit(add)
                wait_until(lambda: dba.execute(WAITING_SESSIONS).rowcount == 1)
            with pytest.raises(psycopg.errors.ForeignKeyViolation):
                waiting.result()
        else:
            with adding.transaction():
                add()
                deletion = threads.submit(delete_user, deleting, "deleted")
                wait_until(lambda: dba.execute(WAITING_SESSIONS).rowcount == 1)
            deletion.result()
        assert (count_memberships(dba, "deleted"), is_being_removed(dba, "deleted")) == (0, False)


def test_member_added_while_the_chat_is_deleted_is_rejected(url: str) -> None:
    with (
        connect_autocommit(url) as deleting,
        connect_autocommit(url) as adding,
        connect_autocommit(url) as dba,
        ThreadPoolExecutor() as threads,
    ):
        chat = new_chat(dba, "owner")
        call(dba, "member", "get_settings")
        with deleting.transaction():
            call(deleting, "owner", "delete_chat", chat)
            add = "insert into parley.members (chat_id, user_id) values (%s, 'member')"
            waiting = threads.submit(adding.execute, add, [chat])
            wait_until(lambda: dba.execute(WAITING_SESSIONS).rowcount == 1)
        with pytest.raises(psycopg.errors.ForeignKeyViolation) as caught:
            waiting.result()
        assert caught.value.diag.constraint_name == "members_chat_exists"
        assert count_chat_rows(dba, chat)["members"] == 0


def test_concurrent_purges_remove_each_row_once(url: str) -> None:
    with connect_autocommit(url) as dba:
        chats = insert_chats(dba, "owner", 2 * MEMBERSHIPS_REMOVED_AT_ONCE, "deleted")
        for chat in chats[:5]:
            for _ in range(40):
                call(dba, "owner", "send_message", chat, {"content": "x"})
            call(dba, "owner", "delete_chat", chat)
        delete_user(dba, "deleted")

        def purge_batches(_: int) -> int:
            with connect_autocommit(url) as connection:
                connection.execute("set lock_timeout = '5s'")
                return sum(
                    purge_batch(connection, f, 9)
                    for f in ("purge_deleted_chats", "purge_memberships")
                    for _ in range(12)
                )

        with ThreadPoolExecutor(4) as threads:
            removed = sum(threads.map(purge_batches, range(4)))
        for function in ("purge_deleted_chats", "purge_memberships"):
            while more := purge_batch(dba, function, 1000):
                removed += more
        assert removed == 5 * 40 + 5 + 2 * MEMBERSHIPS_REMOVED_AT_ONCE - 5 - MEMBERSHIPS_REMOVED_AT_ONCE
        removals = "select from parley.outbox where event = 'member:removed'"
        assert dba.execute(removals).rowcount == 2 * MEMBERSHIPS_REMOVED_AT_ONCE - 5
        assert count_chat_rows(dba, chats[0]) == NO_CHAT_ROWS


def test_killed_batch_is_completed_by_the_next_ones(url: str) -> None:
    with connect_autocommit(url) as dba:
        (chat, *_) = insert_chats(dba, "owner", MEMBERSHIPS_REMOVED_AT_ONCE + 20, "deleted")
        for _ in range(6):
            call(dba, "owner", "send_message", chat, {"content": "x"})
        last_message_id(dba, chat)
        call(dba, "owner", "delete_chat", chat)
        delete_user(dba, "deleted")
        before = count_chat_rows(dba, chat), count_memberships(dba, "deleted")

        def purge_and_die() -> None:
            with connect_autocommit(url) as killed, killed.transaction():
                assert purge_batch(killed, "purge_deleted_chats", 2) == 2
                assert purge_batch(killed, "purge_memberships", 2) == 2
                dba.execute("select pg_terminate_backend(%s, 10000)", [killed.info.backend_pid])

        with pytest.raises(psycopg.OperationalError):
            purge_and_die()
        assert (count_chat_rows(dba, chat), count_memberships(dba, "deleted")) == before
        while purge_batch(dba, "purge_deleted_chats", 2) + purge_batch(dba, "purge_memberships", 5):
            pass
        assert (count_chat_rows(dba, chat), count_memberships(dba, "deleted")) == (NO_CHAT_ROWS, 0)
