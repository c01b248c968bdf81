"""Cursors of list_events: which are valid, and which the log no longer covers."""

from base64 import urlsafe_b64encode

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.database import NO_SUCH_ID, Connection, call, expect_error, new_chat
from tests.sql.event_log import brief, drained, encoded, names, of_all, of_chat, said_by, send, seq_of
from tests.tokens import new_user


def test_a_cursor_from_before_what_was_removed_is_gone(committing: Connection) -> None:
    owner = new_user()
    chat = new_chat(committing, owner)
    old = of_all(committing, user=owner)["next"]
    send(committing, chat, user=owner)
    new = of_all(committing, user=owner)["next"]
    assert len(drained(committing, old, owner)[0]) == 1
    committing.execute("delete from parley.outbox where chat_id = %s", [chat])
    with expect_error(410) as error:
        of_all(committing, old, user=owner)
    assert error.message == "The log does not reach back to this cursor."
    send(committing, chat, user=owner)
    assert len(drained(committing, new, owner)[0]) == 1
    committing.execute("truncate parley.outbox, parley.outbox_queue")
    with expect_error(410):
        of_all(committing, new, user=owner)
    assert drained(committing, of_all(committing, user=owner)["next"], owner)[0] == []


def test_a_log_that_came_from_another_cluster_is_not_told_again(committing: Connection) -> None:
    owner = new_user()
    chat = new_chat(committing, owner)
    committing.execute("update parley.outbox set transaction_id = '1000000000000' where chat_id = %s", [chat])
    start = of_all(committing, user=owner)["next"]
    send(committing, chat, user=owner)
    events, cursor = drained(committing, start, owner)
    assert brief(events) == [(chat, "message:sent")]
    send(committing, chat, user=owner)
    assert len(drained(committing, cursor, owner)[0]) == 1
    committing.execute("delete from parley.outbox where chat_id = %s and transaction_id >= '1000000000000'", [chat])
    assert len(drained(committing, start, owner)[0]) == 2
    committing.execute("update parley.outbox_state set removed_until = '1000000000000'")
    assert len(drained(committing, start, owner)[0]) == 2


def test_after_a_restore_nobody_goes_on_from_where_they_were(committing: Connection) -> None:
    owner = new_user()
    chat = new_chat(committing, owner)
    send(committing, chat, user=owner)
    start, seq = of_all(committing, user=owner)["next"], seq_of(committing, chat)
    assert of_chat(committing, chat, seq, user=owner)["events"] == []
    assert of_all(committing, start, user=owner)["hasMore"] is False
    committing.execute("select parley.start_new_epoch()")
    with expect_error(410):
        of_chat(committing, chat, seq, user=owner)
    with expect_error(410):
        of_all(committing, start, user=owner)
    seq = seq_of(committing, chat)
    send(committing, chat, user=owner)
    assert names(of_chat(committing, chat, seq, user=owner)) == [(seq + 1, "message:sent")]


def test_after_a_restore_nobody_goes_on_from_what_did_not_happen(committing: Connection) -> None:
    owner = new_user()
    chat = new_chat(committing, owner)
    history, _ = said_by(of_all(committing, user=owner)["next"])
    later = encoded(f"{history} 1000000000000:1000000000000:")
    send(committing, chat, user=owner)
    assert of_all(committing, later, user=owner)["events"] == []  # what happened before, it knows of
    committing.execute("select parley.start_new_epoch()")
    with expect_error(410):
        of_all(committing, later, user=owner)


def test_cursors_work_where_the_owner_may_not_read_the_control_file(own: Connection) -> None:
    """As a managed service has it: a restore is noticed after start_new_epoch(), as other databases are at once."""
    chat = new_chat(own, "owner")
    start = call(own, "owner", "list_events")["next"]
    own.execute("create role managed")
    own.execute("grant create on schema parley to managed")
    for function in ("parley.system_identifier()", "parley.timeline()"):
        own.execute(f"alter function {function} owner to managed")
    own.execute("revoke execute on function pg_walfile_name(pg_lsn) from public")
    assert call(own, "owner", "list_events", after=start)["events"] == []  # the control file has the same timeline
    own.execute("revoke execute on function pg_control_system(), pg_control_checkpoint() from public")
    with expect_error(410):
        call(own, "owner", "list_events", after=start)
    start = call(own, "owner", "list_events")["next"]
    call(own, "owner", "send_message", chat, {"content": "x"})
    assert len(call(own, "owner", "list_events", after=start)["events"]) == 1
    own.execute("select parley.start_new_epoch()")
    with expect_error(410):
        call(own, "owner", "list_events", after=start)
    own.execute("reassign owned by managed to current_user")
    own.execute("drop owned by managed")
    own.execute("drop role managed")


def test_a_cursor_of_another_history_is_gone(committing: Connection) -> None:
    owner = new_user()
    new_chat(committing, owner)
    history, snapshot = said_by(of_all(committing, user=owner)["next"])
    with expect_error(410):
        of_all(committing, encoded(f"{history[::-1]} {snapshot}"), user=owner)
    assert of_all(committing, encoded(f"{history} {snapshot}"), user=owner)["events"] == []


@given(junk=st.text(max_size=30) | st.binary(max_size=60).map(lambda b: urlsafe_b64encode(b).decode()))
@settings(max_examples=60)
def test_what_is_no_cursor_is_refused(log_url: str, junk: str) -> None:
    with psycopg.connect(log_url, autocommit=True) as connection:
        with expect_error(400) as error:
            of_all(connection, junk.replace("\0", ""), user="reader")
        assert error.fields == {"after": "must be a cursor from an earlier response"}


@pytest.mark.parametrize(
    "said",
    ["{h}", "{h} {s} {s}", "{h} 9:1:", "{h} x", "{h} {s} {s} x 1", "{h} {s} {s} {c} x", "{h} {s} {s} {c} 1 1", "  "],
)
def test_what_is_nearly_a_cursor_is_refused(committing: Connection, said: str) -> None:
    history, snapshot = said_by(of_all(committing, user="reader")["next"])
    parts = {"h": history, "s": snapshot, "c": NO_SUCH_ID}
    good = "{h} {s} {s} {c} 1"
    assert of_all(committing, encoded(good.format(**parts)), user="reader")["events"] == []
    with expect_error(400):
        of_all(committing, encoded(said.format(**parts)), user="reader")


@pytest.mark.parametrize("seq", [-(2**63), -1, 0, 2**63 - 1])
@pytest.mark.parametrize("is_member", [True, False])
def test_a_cursor_that_was_made_up_tells_no_more(committing: Connection, seq: int, is_member: bool) -> None:
    owner, member = new_user(), new_user()
    chat = new_chat(committing, owner, member)
    start = of_all(committing, user=member)["next"]
    send(committing, chat, user=owner)
    if not is_member:
        call(committing, owner, "remove_member", chat, member)
    history, snapshot = said_by(start)
    _, now = said_by(of_all(committing, user=member)["next"])
    made_up = of_all(committing, encoded(f"{history} {snapshot} {now} {chat} {seq}"), user=member)
    told = drained(committing, start, member)[0]
    assert told
    assert made_up["events"] == (told if seq < 1 else [])
