"""What the listener does each minute besides: it counts for the analysts' views, and removes what is old or deleted."""

from listener.maintenance import INTERVAL_SECONDS, REMOVAL_BATCH
from tests.database import call, new_chat
from tests.listener.chats import RECORD, send
from tests.listener.conftest import Stage
from tests.listener.support import listening
from tests.waiting import wait_until


def test_the_listener_counts_and_then_removes(stage: Stage) -> None:
    chat = new_chat(stage.dba, "owner")
    for _ in range(3):
        call(stage.dba, "owner", "send_message", chat, {"content": "Hello"})
    stage.dba.execute("update parley.outbox set recorded_at = now() - interval '8 days' where seq <= 2")
    counted = "select messages from analytics.activity_by_day"
    assert stage.dba.execute(counted).fetchall() == []
    with listening(stage.listener()):
        wait_until(lambda: stage.waiting() == 0)
        # What is published just then may put the count off to the next time.
        wait_until(lambda: stage.dba.execute(counted).fetchall() == [(3,)], seconds=INTERVAL_SECONDS + 15)
    with listening(stage.listener()):  # it looks at once
        wait_until(lambda: stage.dba.execute("select seq from parley.outbox order by 1").fetchall() == [(3,), (4,)])


def test_the_listener_removes_answers_that_are_too_old_to_be_repeated(stage: Stage) -> None:
    stage.dba.execute(
        "insert into parley.idempotency_keys (user_id, key, fingerprint, response, created_at)"
        " select 'user', n, '', '1', now() - interval '1 day' + interval '1 hour' * (n = 0)::int"
        " from generate_series(0, 2 * %s) n",
        [REMOVAL_BATCH],
    )
    with listening(stage.listener()):
        wait_until(lambda: stage.dba.execute("select key from parley.idempotency_keys").fetchall() == [("0",)])


def test_the_listener_removes_deleted_chats_and_the_memberships_of_deleted_users(stage: Stage) -> None:
    chat = new_chat(stage.dba, "owner")
    stage.dba.execute(
        "insert into parley.chats (title, owner_id) select 'A chat', 'owner' from generate_series(1, 150)"
    )
    call(stage.dba, "owner", "send_message", chat, {"content": "Hello"})
    call(stage.dba, "owner", "delete_chat", chat)
    stage.dba.execute("delete from next_auth.users where id = 'owner'")
    rows = "select (select count(*) from parley.messages), (select count(*) from parley.members)"
    assert stage.dba.execute(rows).fetchall() == [(1, 50)]
    with listening(stage.listener()):
        wait_until(lambda: stage.dba.execute(rows).fetchall() == [(0, 0)])


def test_old_events_are_removed(stage: Stage) -> None:
    chat = new_chat(stage.dba, "owner")
    stage.dba.execute(RECORD, [chat, 2500])
    stage.dba.execute("update parley.outbox set recorded_at = now() - interval '25 hours'")
    send(stage.dba, chat, "young")
    stage.dba.execute("truncate parley.outbox_queue")  # what is published meanwhile may put the count off by a minute
    count = "select count(*) from parley.outbox"
    with listening(stage.listener(OUTBOX_RETENTION_DAYS="1")):
        wait_until(lambda: stage.dba.execute(count).fetchone() == (1,))
