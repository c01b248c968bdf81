"""Migrations under concurrent writes: the examples in example_migrations/, applied after the baseline.

Each test makes a migration or a writer wait for a lock that the other holds.
"""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest

from tests.database import Connection, call, new_chat
from tests.servers import yoyo
from tests.sql.migration_files import add_examples, apply
from tests.tokens import new_user
from tests.waiting import wait_until

EVENTS, CHAT_IMAGES = "0005_events", "0010_chat_images"
LENGTHS, BACKFILL, INDEX = "1001_message_lengths", "1002_lengths_of_older_messages", "1003_index_message_lengths"
BATCH = 100  # messages, in the backfill

WRONG_LENGTHS = """
    select m.chat_id::text from parley.messages m left join parley.message_lengths l using (chat_id, id)
    where l.characters is distinct from char_length(m.content)
"""


@pytest.fixture
def dba(url: str, own_sources: Path) -> Iterator[Connection]:
    """A DBA's connection to a database that has the baseline; the examples are pending."""
    apply(url, own_sources)
    add_examples(own_sources)
    with psycopg.connect(url, autocommit=True) as connection:
        yield connection


@pytest.fixture
def other_connection(url: str) -> Iterator[Connection]:
    """Another connection to it, in autocommit."""
    with psycopg.connect(url, autocommit=True) as connection:
        yield connection


@pytest.fixture
def thread() -> Iterator[ThreadPoolExecutor]:
    """A thread for a call that waits."""
    with ThreadPoolExecutor(1) as executor:
        yield executor


def run_yoyo(url: str, directory: Path, *arguments: str) -> str:
    """Run `yoyo` with the sources in a directory; return its output."""
    return yoyo(url, *arguments, "--config", str(directory / "yoyo.ini"))


def apply_to(url: str, directory: Path, revision: str) -> None:
    """Apply a migration and those that it depends on."""
    run_yoyo(url, directory, "apply", "--batch", "--revision", revision)


def has_waiter(connection: Connection, lock: str) -> bool:
    """Return whether a session waits for a lock that matches this condition on pg_locks."""
    return connection.execute(f"select from pg_locks where not granted and {lock}").rowcount > 0


def kill_migration(connection: Connection) -> None:
    """Terminate the session of the migration that waits for a lock."""
    killed = connection.execute(
        "select pg_terminate_backend(pid) from pg_stat_activity"
        " where datname = current_database() and wait_event_type = 'Lock'"
    )
    assert killed.fetchall() == [(True,)]


def add_messages(connection: Connection, chat: str, user: str, messages: int) -> list[str]:
    """Insert messages; return their ids in order."""
    insert = (
        "insert into parley.messages (chat_id, user_id, content)"
        " select %s, %s, repeat('x', n) from generate_series(1, %s) n returning id::text"
    )
    return sorted(message for (message,) in connection.execute(insert, [chat, user, messages]).fetchall())


def test_migration_that_waits_for_a_writer_blocks_no_writer(
    url: str, own_sources: Path, dba: Connection, other_connection: Connection, thread: ThreadPoolExecutor
) -> None:
    user = new_user()
    chat = new_chat(dba, user)
    with dba.transaction():
        dba.execute("select session.authenticate(%s)", [json.dumps({"sub": user})])
        dba.execute("select parley.select_chat(%s), parley.lock_selected_chat()", [chat])
        applied = thread.submit(apply, url, own_sources)
        wait_until(lambda: has_waiter(other_connection, "relation = 'parley.chats'::regclass"))
        dba.execute("insert into parley.messages (chat_id, content) values (%s, 'now')", [chat])
    applied.result(60)
    assert call(dba, user, "list_messages", chat, search="now")["total"] == 1
    assert dba.execute("select characters from parley.message_lengths").fetchall() == [(3,)]
    call(dba, user, "send_message", chat, {"content": "later"})
    assert dba.execute(WRONG_LENGTHS).rowcount == 0


def test_rollback_of_the_baseline_waits_for_a_writer_without_a_deadlock(
    url: str, own_sources: Path, dba: Connection, other_connection: Connection, thread: ThreadPoolExecutor
) -> None:
    chat = new_chat(dba, "owner")
    # Dropping an index concurrently waits for the writer's transaction, and not for a lock on a table.
    run_yoyo(url, own_sources, "rollback", "--batch", "--revision", CHAT_IMAGES)
    with dba.transaction():
        call(dba, "owner", "update_chat", chat, {"title": "Plans"})
        rolled_back = thread.submit(run_yoyo, url, own_sources, "rollback", "--batch", "--revision", EVENTS)
        wait_until(lambda: has_waiter(other_connection, "locktype = 'relation'"))
        call(dba, "owner", "send_message", chat, {"content": "in progress"})
    rolled_back.result(60)
    assert dba.execute("select to_regclass('parley.outbox')").fetchone() == (None,)
    apply(url, own_sources)
    assert call(dba, "owner", "get_chat", chat)["title"] == "Plans"
    assert call(dba, "owner", "list_messages", chat, search="progress")["total"] == 1
    call(dba, "owner", "send_message", chat, {"content": "after"})
    assert dba.execute("select event from parley.outbox").fetchall() == [("message:sent",)]


def test_rollback_waits_for_a_rename_in_progress(
    url: str, own_sources: Path, dba: Connection, other_connection: Connection, thread: ThreadPoolExecutor
) -> None:
    apply(url, own_sources)
    chat = new_chat(dba, "owner")
    with dba.transaction():
        call(dba, "owner", "update_chat", chat, {"title": "Plans"})
        rolled_back = thread.submit(run_yoyo, url, own_sources, "rollback", "--batch", "--revision", LENGTHS)
        wait_until(lambda: has_waiter(other_connection, "relation = 'parley.chats'::regclass"))
    rolled_back.result(60)
    assert dba.execute("select to_regclass('parley.message_lengths')").fetchone() == (None,)
    assert call(dba, "owner", "get_chat", chat)["title"] == "Plans"
    call(dba, "owner", "send_message", chat, {"content": "after"})
    apply(url, own_sources)
    assert dba.execute(WRONG_LENGTHS).rowcount == 0


def test_backfill_waits_for_an_edit_in_progress(
    url: str, own_sources: Path, dba: Connection, other_connection: Connection, thread: ThreadPoolExecutor
) -> None:
    user = new_user()
    chat = new_chat(dba, user)
    messages = add_messages(dba, chat, user, 4)
    apply_to(url, own_sources, LENGTHS)
    with dba.transaction():
        dba.execute("update parley.messages set content = 'a newer wording' where id = %s", [messages[2]])
        applied = thread.submit(apply, url, own_sources)
        wait_until(lambda: has_waiter(other_connection, "locktype = 'transactionid'"))
    applied.result(60)
    lengths = dba.execute("select characters from parley.message_lengths order by id").fetchall()
    assert lengths == [(1,), (2,), (len("a newer wording"),), (4,)]


def test_killed_backfill_keeps_its_batches_and_can_be_completed(
    url: str, own_sources: Path, dba: Connection, other_connection: Connection, thread: ThreadPoolExecutor
) -> None:
    user = new_user()
    first, second = sorted([new_chat(dba, user), new_chat(dba, user)])
    messages = add_messages(dba, first, user, BATCH)
    (edited, *_) = add_messages(dba, second, user, BATCH + 50)
    apply_to(url, own_sources, LENGTHS)
    with dba.transaction():
        dba.execute("update parley.messages set content = 'edited' where id = %s", [edited])
        applied = thread.submit(apply, url, own_sources)
        wait_until(lambda: has_waiter(other_connection, "locktype = 'transactionid'"))
        call(other_connection, user, "update_message", first, messages[0], {"content": "edited meanwhile"})
        call(other_connection, user, "delete_message", first, messages[1])
        call(other_connection, user, "send_message", first, {"content": "sent meanwhile"})
        kill_migration(other_connection)
        with pytest.raises(AssertionError, match="terminat"):
            applied.result(60)
    # The first batch is stored, and of the others the row that the trigger has inserted for the edited message.
    assert dba.execute(WRONG_LENGTHS).fetchall() == [(second,)] * (BATCH + 49)
    run_yoyo(url, own_sources, "break-lock")
    apply(url, own_sources)
    assert dba.execute(WRONG_LENGTHS).rowcount == 0
    assert dba.execute("select count(*) from parley.messages").fetchone() == (2 * BATCH + 50,)


def test_killed_index_creation_can_be_repeated(
    url: str, own_sources: Path, dba: Connection, other_connection: Connection, thread: ThreadPoolExecutor
) -> None:
    def is_valid() -> tuple[bool, ...] | None:
        query = "select indisvalid from pg_index where indexrelid = to_regclass('parley.message_lengths_longest')"
        return dba.execute(query).fetchone()

    user = new_user()
    chat = new_chat(dba, user)
    apply_to(url, own_sources, BACKFILL)
    with dba.transaction():
        add_messages(dba, chat, user, 1)
        applied = thread.submit(apply, url, own_sources)
        wait_until(lambda: has_waiter(other_connection, "locktype = 'virtualxid'"))
        call(other_connection, user, "send_message", new_chat(other_connection, user), {"content": "while it waits"})
        kill_migration(other_connection)
        with pytest.raises(AssertionError, match="terminat"):
            applied.result(60)
    assert is_valid() == (False,)
    run_yoyo(url, own_sources, "break-lock")
    apply(url, own_sources)
    assert is_valid() == (True,)
    run_yoyo(url, own_sources, "rollback", "--batch", "--revision", INDEX)
    assert is_valid() is None
    apply(url, own_sources)
    assert is_valid() == (True,)
