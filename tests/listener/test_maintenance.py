"""Maintenance by the listener: counts for the analysts' views, and removal of expired and deleted rows."""

from listener.maintenance import INTERVAL_SECONDS, REMOVAL_BATCH
from tests.database import call, new_chat
from tests.listener.chats import INSERT_MESSAGES, send_message
from tests.listener.conftest import Harness
from tests.listener.process import running_listener
from tests.waiting import wait_until


def test_events_are_purged_after_they_are_counted(harness: Harness) -> None:
    chat = new_chat(harness.dba, "owner")
    for _ in range(3):
        call(harness.dba, "owner", "send_message", chat, {"content": "Hello"})
    harness.dba.execute("update parley.outbox set recorded_at = now() - interval '8 days' where seq <= 2")
    daily_counts = "select messages from analytics.activity_by_day"
    assert harness.dba.execute(daily_counts).fetchall() == []
    with running_listener(harness.new_listener()):
        wait_until(lambda: harness.count_queued() == 0)
        # Events published during the count may postpone it by one interval.
        wait_until(lambda: harness.dba.execute(daily_counts).fetchall() == [(3,)], seconds=INTERVAL_SECONDS + 15)
    with running_listener(harness.new_listener()):  # A listener runs maintenance when it starts.
        wait_until(lambda: harness.dba.execute("select seq from parley.outbox order by 1").fetchall() == [(3,), (4,)])


def test_expired_idempotency_keys_are_purged(harness: Harness) -> None:
    harness.dba.execute(
        "insert into parley.idempotency_keys (user_id, key, fingerprint, response, created_at)"
        " select 'user', n, '', '1', now() - interval '1 day' + interval '1 hour' * (n = 0)::int"
        " from generate_series(0, 2 * %s) n",
        [REMOVAL_BATCH],
    )
    with running_listener(harness.new_listener()):
        wait_until(lambda: harness.dba.execute("select key from parley.idempotency_keys").fetchall() == [("0",)])


def test_deleted_chats_and_memberships_of_deleted_users_are_purged(harness: Harness) -> None:
    chat = new_chat(harness.dba, "owner")
    harness.dba.execute(
        "insert into parley.chats (title, owner_id) select 'A chat', 'owner' from generate_series(1, 150)"
    )
    call(harness.dba, "owner", "send_message", chat, {"content": "Hello"})
    call(harness.dba, "owner", "delete_chat", chat)
    harness.dba.execute("delete from next_auth.users where id = 'owner'")
    rows = "select (select count(*) from parley.messages), (select count(*) from parley.members)"
    assert harness.dba.execute(rows).fetchall() == [(1, 50)]
    with running_listener(harness.new_listener()):
        wait_until(lambda: harness.dba.execute(rows).fetchall() == [(0, 0)])


def test_old_events_are_purged(harness: Harness) -> None:
    chat = new_chat(harness.dba, "owner")
    harness.dba.execute(INSERT_MESSAGES, [chat, 2500])
    harness.dba.execute("update parley.outbox set recorded_at = now() - interval '25 hours'")
    send_message(harness.dba, chat, "recent")
    harness.dba.execute("truncate parley.outbox_queue")  # events published meanwhile may postpone the count by a minute
    count = "select count(*) from parley.outbox"
    with running_listener(harness.new_listener(OUTBOX_RETENTION_DAYS="1")):
        wait_until(lambda: harness.dba.execute(count).fetchone() == (1,))
