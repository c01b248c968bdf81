"""Removal in batches with several sessions: concurrent changes and batches, a killed batch, and a rollback."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest

from api.dev.postgres import Postgres
from tests.database import call, expect_error, new_chat
from tests.sql.inactive_chats import NOTHING, last_message, left
from tests.sql.outbox import events
from tests.sql.removal import AT_ONCE, batch, chats_of, delete_user, is_being_removed, memberships
from tests.sql.sessions import connected
from tests.tokens import new_user
from tests.waiting import wait_until


@pytest.fixture
def url(postgres: Postgres, new_database: Callable[[str], str]) -> str:
    """A database of the test's own, as a superuser."""
    return postgres.url(new_database(f"parley_{new_user().replace('-', '_')}"))


WAITING = "select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"


def test_who_was_in_a_deleted_chat_catches_up_with_its_end_alone(url: str) -> None:
    with connected(url) as dba:
        chat = new_chat(dba, "owner", "member")
        cursor = call(dba, "member", "list_events")["next"]
        call(dba, "owner", "send_message", chat, {"content": "secret"})
        call(dba, "owner", "delete_chat", chat)
        assert left(dba, chat)["messages"] == 1
        (event,) = call(dba, "member", "list_events", after=cursor)["events"]
        assert (event["event"], event["data"]) == ("chat:deleted", chat)


def test_a_deleted_user_is_out_while_memberships_are_left(url: str) -> None:
    with connected(url) as dba:
        chats_of(dba, "owner", 2 * AT_ONCE, "leaver")
        delete_user(dba, "leaver")
        assert memberships(dba, "leaver") == AT_ONCE
        with expect_error(401):
            call(dba, "leaver", "list_chats")
        insert = "insert into next_auth.users (id) values ('leaver')"
        with pytest.raises(psycopg.errors.ObjectInUse, match="still being removed"):
            dba.execute(insert)
        assert batch(dba, "purge_memberships", 1000) == AT_ONCE
        dba.execute(insert)
        assert call(dba, "leaver", "list_chats")["total"] == 0


def test_a_deletion_passes_over_locked_chats(url: str) -> None:
    with connected(url) as dba, connected(url) as other:
        (chat, *_) = chats_of(dba, "owner", 3, "leaver")
        dba.execute("set lock_timeout = '5s'")
        with other.transaction():
            call(other, "owner", "send_message", chat, {"content": "Still here"})
            delete_user(dba, "leaver")
            assert (memberships(dba, "leaver"), is_being_removed(dba, "leaver")) == (1, True)
            assert batch(dba, "purge_memberships", 100) == 0
        assert batch(dba, "purge_memberships", 100) == 1
        assert not is_being_removed(dba, "leaver")
        assert [event for event, _ in events(dba, chat)] == ["message:sent", "member:removed"]


@pytest.mark.parametrize("first", ["the deletion", "the membership"])
def test_a_user_who_is_added_while_they_are_deleted_does_not_stay(url: str, first: str) -> None:
    with connected(url) as deleting, connected(url) as adding, connected(url) as dba, ThreadPoolExecutor() as threads:
        chat = new_chat(dba, "owner")
        call(dba, "leaver", "get_settings")

        def add() -> Any:
            return adding.execute("insert into parley.members (chat_id, user_id) values (%s, 'leaver')", [chat])

        if first == "the deletion":
            with deleting.transaction():
                delete_user(deleting, "leaver")
                waiting = threads.submit(add)
                wait_until(lambda: dba.execute(WAITING).rowcount == 1)
            with pytest.raises(psycopg.errors.ForeignKeyViolation):
                waiting.result()
        else:
            with adding.transaction():
                add()
                deletion = threads.submit(delete_user, deleting, "leaver")
                wait_until(lambda: dba.execute(WAITING).rowcount == 1)
            deletion.result()
        assert (memberships(dba, "leaver"), is_being_removed(dba, "leaver")) == (0, False)


def test_a_member_who_is_added_while_the_chat_is_deleted_is_refused(url: str) -> None:
    with connected(url) as deleting, connected(url) as adding, connected(url) as dba, ThreadPoolExecutor() as threads:
        chat = new_chat(dba, "owner")
        call(dba, "member", "get_settings")
        with deleting.transaction():
            call(deleting, "owner", "delete_chat", chat)
            add = "insert into parley.members (chat_id, user_id) values (%s, 'member')"
            waiting = threads.submit(adding.execute, add, [chat])
            wait_until(lambda: dba.execute(WAITING).rowcount == 1)
        with pytest.raises(psycopg.errors.ForeignKeyViolation) as caught:
            waiting.result()
        assert caught.value.diag.constraint_name == "members_chat_exists"
        assert left(dba, chat)["members"] == 0


def test_batches_at_once_remove_each_row_once(url: str) -> None:
    with connected(url) as dba:
        chats = chats_of(dba, "owner", 2 * AT_ONCE, "leaver")
        for chat in chats[:5]:
            for _ in range(40):
                call(dba, "owner", "send_message", chat, {"content": "x"})
            call(dba, "owner", "delete_chat", chat)
        delete_user(dba, "leaver")

        def remove(_: int) -> int:
            with connected(url) as own:
                own.execute("set lock_timeout = '5s'")
                return sum(batch(own, f, 9) for f in ("purge_deleted_chats", "purge_memberships") for _ in range(12))

        with ThreadPoolExecutor(4) as threads:
            removed = sum(threads.map(remove, range(4)))
        for function in ("purge_deleted_chats", "purge_memberships"):
            while more := batch(dba, function, 1000):
                removed += more
        assert removed == 5 * 40 + 5 + 2 * AT_ONCE - 5 - AT_ONCE
        told = "select from parley.outbox where event = 'member:removed'"
        assert dba.execute(told).rowcount == 2 * AT_ONCE - 5
        assert left(dba, chats[0]) == NOTHING


def test_what_a_killed_batch_began_the_next_one_completes(url: str) -> None:
    with connected(url) as dba:
        (chat, *_) = chats_of(dba, "owner", AT_ONCE + 20, "leaver")
        for _ in range(6):
            call(dba, "owner", "send_message", chat, {"content": "x"})
        last_message(dba, chat)
        call(dba, "owner", "delete_chat", chat)
        delete_user(dba, "leaver")
        before = left(dba, chat), memberships(dba, "leaver")

        def remove_and_die() -> None:
            with connected(url) as killed, killed.transaction():
                assert batch(killed, "purge_deleted_chats", 2) == 2
                assert batch(killed, "purge_memberships", 2) == 2
                dba.execute("select pg_terminate_backend(%s, 10000)", [killed.info.backend_pid])

        with pytest.raises(psycopg.OperationalError):
            remove_and_die()
        assert (left(dba, chat), memberships(dba, "leaver")) == before
        while batch(dba, "purge_deleted_chats", 2) + batch(dba, "purge_memberships", 5):
            pass
        assert (left(dba, chat), memberships(dba, "leaver")) == (NOTHING, 0)
