"""Cursors of api.list_events: which ones are valid, and which have expired."""

from base64 import urlsafe_b64encode

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.database import NO_SUCH_ID, Connection, call, expect_error, new_chat
from tests.sql.event_log import (
    chats_and_names,
    decode_cursor,
    encode_cursor,
    list_chat_events,
    list_events,
    read_all_events,
    send,
    seq_of,
    seqs_and_names,
)
from tests.tokens import new_user


def test_cursor_older_than_a_removed_event_has_expired(module_dba: Connection) -> None:
    owner = new_user()
    chat = new_chat(module_dba, owner)
    old = list_events(module_dba, user=owner)["next"]
    send(module_dba, chat, user=owner)
    new = list_events(module_dba, user=owner)["next"]
    assert len(read_all_events(module_dba, old, owner)[0]) == 1
    module_dba.execute("delete from parley.outbox where chat_id = %s", [chat])
    with expect_error(410) as error:
        list_events(module_dba, old, user=owner)
    assert error.message == "The log does not reach back to this cursor."
    send(module_dba, chat, user=owner)
    assert len(read_all_events(module_dba, new, owner)[0]) == 1
    module_dba.execute("truncate parley.outbox, parley.outbox_queue")
    with expect_error(410):
        list_events(module_dba, new, user=owner)
    assert read_all_events(module_dba, list_events(module_dba, user=owner)["next"], owner)[0] == []


def test_events_from_another_cluster_are_not_returned_again(module_dba: Connection) -> None:
    owner = new_user()
    chat = new_chat(module_dba, owner)
    module_dba.execute("update parley.outbox set transaction_id = '1000000000000' where chat_id = %s", [chat])
    start = list_events(module_dba, user=owner)["next"]
    send(module_dba, chat, user=owner)
    events, cursor = read_all_events(module_dba, start, owner)
    assert chats_and_names(events) == [(chat, "message:sent")]
    send(module_dba, chat, user=owner)
    assert len(read_all_events(module_dba, cursor, owner)[0]) == 1
    module_dba.execute("delete from parley.outbox where chat_id = %s and transaction_id >= '1000000000000'", [chat])
    assert len(read_all_events(module_dba, start, owner)[0]) == 2
    module_dba.execute("update parley.outbox_state set removed_until = '1000000000000'")
    assert len(read_all_events(module_dba, start, owner)[0]) == 2


def test_cursors_expire_at_a_restore(module_dba: Connection) -> None:
    owner = new_user()
    chat = new_chat(module_dba, owner)
    send(module_dba, chat, user=owner)
    start, seq = list_events(module_dba, user=owner)["next"], seq_of(module_dba, chat)
    assert list_chat_events(module_dba, chat, seq, user=owner)["events"] == []
    assert list_events(module_dba, start, user=owner)["hasMore"] is False
    module_dba.execute("select parley.start_new_epoch()")
    with expect_error(410):
        list_chat_events(module_dba, chat, seq, user=owner)
    with expect_error(410):
        list_events(module_dba, start, user=owner)
    seq = seq_of(module_dba, chat)
    send(module_dba, chat, user=owner)
    assert seqs_and_names(list_chat_events(module_dba, chat, seq, user=owner)) == [(seq + 1, "message:sent")]


def test_cursor_of_lost_changes_expires_at_a_restore(module_dba: Connection) -> None:
    owner = new_user()
    chat = new_chat(module_dba, owner)
    lineage, _ = decode_cursor(list_events(module_dba, user=owner)["next"])
    later = encode_cursor(f"{lineage} 1000000000000:1000000000000:")
    send(module_dba, chat, user=owner)
    assert list_events(module_dba, later, user=owner)["events"] == []  # the snapshot has seen all transactions so far
    module_dba.execute("select parley.start_new_epoch()")
    with expect_error(410):
        list_events(module_dba, later, user=owner)


def test_cursors_work_where_the_owner_may_not_read_the_control_file(own_dba: Connection) -> None:
    """Managed services deny it: then only start_new_epoch() invalidates cursors after a restore."""
    chat = new_chat(own_dba, "owner")
    start = call(own_dba, "owner", "list_events")["next"]
    own_dba.execute("create role managed")
    own_dba.execute("grant create on schema parley to managed")
    for function in ("parley.system_identifier()", "parley.timeline()"):
        own_dba.execute(f"alter function {function} owner to managed")
    own_dba.execute("revoke execute on function pg_walfile_name(pg_lsn) from public")
    assert call(own_dba, "owner", "list_events", after=start)["events"] == []  # the control file has the same timeline
    own_dba.execute("revoke execute on function pg_control_system(), pg_control_checkpoint() from public")
    with expect_error(410):
        call(own_dba, "owner", "list_events", after=start)
    start = call(own_dba, "owner", "list_events")["next"]
    call(own_dba, "owner", "send_message", chat, {"content": "x"})
    assert len(call(own_dba, "owner", "list_events", after=start)["events"]) == 1
    own_dba.execute("select parley.start_new_epoch()")
    with expect_error(410):
        call(own_dba, "owner", "list_events", after=start)
    own_dba.execute("reassign owned by managed to current_user")
    own_dba.execute("drop owned by managed")
    own_dba.execute("drop role managed")


def test_cursor_of_another_lineage_has_expired(module_dba: Connection) -> None:
    owner = new_user()
    new_chat(module_dba, owner)
    lineage, snapshot = decode_cursor(list_events(module_dba, user=owner)["next"])
    with expect_error(410):
        list_events(module_dba, encode_cursor(f"{lineage[::-1]} {snapshot}"), user=owner)
    assert list_events(module_dba, encode_cursor(f"{lineage} {snapshot}"), user=owner)["events"] == []


@given(junk=st.text(max_size=30) | st.binary(max_size=60).map(lambda b: urlsafe_b64encode(b).decode()))
@settings(max_examples=60)
def test_invalid_cursor_is_rejected(module_url: str, junk: str) -> None:
    with psycopg.connect(module_url, autocommit=True) as connection:
        with expect_error(400) as error:
            list_events(connection, junk.replace("\0", ""), user="reader")
        assert error.fields == {"after": "must be a cursor from an earlier response"}


@pytest.mark.parametrize(
    "fields",
    ["{h}", "{h} {s} {s}", "{h} 9:1:", "{h} x", "{h} {s} {s} x 1", "{h} {s} {s} {c} x", "{h} {s} {s} {c} 1 1", "  "],
)
def test_cursor_with_an_invalid_field_is_rejected(module_dba: Connection, fields: str) -> None:
    lineage, snapshot = decode_cursor(list_events(module_dba, user="reader")["next"])
    parts = {"h": lineage, "s": snapshot, "c": NO_SUCH_ID}
    good = "{h} {s} {s} {c} 1"
    assert list_events(module_dba, encode_cursor(good.format(**parts)), user="reader")["events"] == []
    with expect_error(400):
        list_events(module_dba, encode_cursor(fields.format(**parts)), user="reader")


@pytest.mark.parametrize("seq", [-(2**63), -1, 0, 2**63 - 1])
@pytest.mark.parametrize("is_member", [True, False])
def test_forged_cursor_returns_no_further_events(module_dba: Connection, seq: int, is_member: bool) -> None:
    owner, member = new_user(), new_user()
    chat = new_chat(module_dba, owner, member)
    start = list_events(module_dba, user=member)["next"]
    send(module_dba, chat, user=owner)
    if not is_member:
        call(module_dba, owner, "remove_member", chat, member)
    lineage, snapshot = decode_cursor(start)
    _, now = decode_cursor(list_events(module_dba, user=member)["next"])
    forged = list_events(module_dba, encode_cursor(f"{lineage} {snapshot} {now} {chat} {seq}"), user=member)
    events = read_all_events(module_dba, start, member)[0]
    assert events
    assert forged["events"] == (events if seq < 1 else [])
