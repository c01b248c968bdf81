"""Events that changes record in the outbox."""

import psycopg
import pytest

from api.openapi.models.events import MAX_EVENT_BYTES
from tests.database import NO_SUCH_ID, Connection, call, expect_error, new_chat
from tests.sql.outbox import add_members, events, fetch, send


def test_changes_of_a_message_are_recorded_in_the_format_of_the_api(dba: Connection) -> None:
    chat = new_chat(dba, "owner", "member")
    sent = send(dba, chat)
    call(dba, "owner", "update_message", chat, sent["id"], {"content": "bye"})
    call(dba, "owner", "update_message", chat, sent["id"], {"content": "bye", "type": "code"})
    call(dba, "owner", "update_message", chat, sent["id"], {"content": "f()", "type": "text"})
    call(dba, "owner", "update_message", chat, sent["id"], {"content": "f()"})
    call(dba, "owner", "delete_message", chat, sent["id"])
    assert sent.keys() == {"id", "content", "type", "userId", "createdAt"}
    assert events(dba, chat) == [
        ("message:sent", sent),
        ("message:updated", {"id": sent["id"], "updates": {"content": "bye"}}),
        ("message:updated", {"id": sent["id"], "updates": {"type": "code"}}),
        ("message:updated", {"id": sent["id"], "updates": {"content": "f()", "type": "text"}}),
        ("message:deleted", sent["id"]),
    ]
    assert {tuple(row["channels"]) for row in fetch(dba, chat)} == {(f"private-chat-{chat}",)}


def test_changes_of_a_chat_are_published_on_its_channel_and_its_members_channels(dba: Connection) -> None:
    chat = new_chat(dba, "owner", "member")
    new_chat(dba, "stranger")
    call(dba, "owner", "update_chat", chat, {"title": "Plans"})
    call(dba, "owner", "update_chat", chat, {"title": "Plans"})
    call(dba, "owner", "delete_chat", chat)
    assert events(dba, chat) == [("chat:updated", {"id": chat, "updates": {"title": "Plans"}}), ("chat:deleted", chat)]
    channels = {f"private-chat-{chat}", "private-user-b3duZXI", "private-user-bWVtYmVy"}
    assert [set(row["channels"]) for row in fetch(dba, chat)] == [channels, channels]


def test_deleted_chat_records_no_events_for_its_messages_and_members(dba: Connection) -> None:
    chat = new_chat(dba, "owner", "member")
    send(dba, chat)
    call(dba, "owner", "delete_chat", chat)
    assert [event for event, _ in events(dba, chat)] == ["message:sent", "chat:deleted"]


def test_added_member_is_recorded_and_has_no_event_on_the_chats_channel(dba: Connection) -> None:
    chat = new_chat(dba, "owner", "member")
    query = "select id, seq, payload #>> '{}', changed_at from parley.outbox where chat_id = %s order by seq"
    first, second = dba.execute(query, [chat]).fetchall()
    joined = dba.execute(
        "select user_id, joined_at from parley.members where chat_id = %s order by user_id = 'member'", [chat]
    ).fetchall()
    assert (first[1:], second[1:]) == ((1, *joined[0]), (2, *joined[1]))
    assert fetch(dba, chat) == []


def test_members_added_by_one_statement_have_an_event_each(dba: Connection) -> None:
    chat = new_chat(dba, "owner")
    dba.execute("insert into next_auth.users (id) values ('ann'), ('ben')")
    with pytest.raises(psycopg.errors.UniqueViolation), dba.transaction():
        dba.execute("insert into parley.members (chat_id, user_id) values (%s, 'owner')", [chat])
    dba.execute(
        "insert into parley.members (chat_id, user_id) values (%(chat)s, 'owner'), (%(chat)s, 'ben'), (%(chat)s, 'ann')"
        " on conflict do nothing",
        {"chat": chat},
    )
    query = "select seq, event, payload #>> '{}' from parley.outbox where chat_id = %s order by seq"
    expected = [(1, "member:added", "owner"), (2, "member:added", "ann"), (3, "member:added", "ben")]
    assert dba.execute(query, [chat]).fetchall() == expected


@pytest.mark.parametrize("change", ["removed", "left", "deleted their account"])
def test_removed_member_is_recorded_and_their_connections_are_terminated(dba: Connection, change: str) -> None:
    chat = new_chat(dba, "owner", "member")
    call(dba, "member", "authorize_channel", "1.2", f"private-chat-{chat}")
    if change == "deleted their account":
        dba.execute("delete from next_auth.users where id = 'member'")
    else:
        call(dba, "owner" if change == "removed" else "member", "remove_member", chat, "member")
    send(dba, chat)
    (removed, sent) = fetch(dba, chat)
    assert (removed["event"], removed["terminated_user"], removed["channels"]) == ("member:removed", "bWVtYmVy", None)
    assert sent["event"] == "message:sent"


def test_rejected_changes_record_no_events(dba: Connection) -> None:
    chat = new_chat(dba, "owner", "member")
    sent = send(dba, chat)
    with expect_error(400):
        send(dba, chat, "")
    with expect_error(403):
        call(dba, "member", "update_message", chat, sent["id"], {"content": "mine"})
    with pytest.raises(psycopg.errors.CheckViolation), dba.transaction():
        dba.execute("update parley.messages set type = 'video', content = 'x' where chat_id = %s", [chat])
    with pytest.raises(psycopg.errors.ForeignKeyViolation), dba.transaction():
        dba.execute("insert into parley.messages (chat_id, user_id, content) values (%s, 'x', 'x')", [NO_SUCH_ID])
    assert [event for event, _ in events(dba, chat)] == ["message:sent"]
    assert events(dba, NO_SUCH_ID) == []


def test_message_in_a_deleted_chat_violates_the_foreign_key(dba: Connection) -> None:
    chat = new_chat(dba, "owner")
    call(dba, "owner", "delete_chat", chat)
    with pytest.raises(psycopg.errors.ForeignKeyViolation), dba.transaction():
        dba.execute("insert into parley.messages (chat_id, user_id, content) values (%s, 'x', 'x')", [chat])


def test_messages_of_one_statement_have_an_event_each(dba: Connection) -> None:
    chat, other = new_chat(dba, "owner"), new_chat(dba, "owner")
    for chat_id in (chat, other):
        dba.execute(
            "insert into parley.messages (chat_id, user_id, content)"
            " select %s, 'x', n::text from generate_series(1, 5) n",
            [chat_id],
        )
    ids = dba.execute("select id::text from parley.messages where chat_id = %s order by id", [chat]).fetchall()
    dba.execute("delete from parley.messages where chat_id in (%s, %s) and content <> '3'", [chat, other])
    seqs = dba.execute("select seq from parley.outbox where chat_id = %s order by id", [chat]).fetchall()
    assert [seq for (seq,) in seqs] == list(range(1, 11))
    deleted = [payload for event, payload in events(dba, chat) if event == "message:deleted"]
    assert deleted == [ids[n][0] for n in (0, 1, 3, 4)]
    assert len(events(dba, other)) == 9


def test_last_event_has_the_seq_of_the_chat(dba: Connection) -> None:
    chat = new_chat(dba, "owner", "member")
    for n in range(3):
        send(dba, chat, str(n))
    call(dba, "member", "remove_member", chat, "member")
    last = dba.execute("select seq from parley.chats where id = %s", [chat]).fetchone()
    assert last == dba.execute("select max(seq) from parley.outbox where chat_id = %s", [chat]).fetchone() == (6,)


def test_key_of_a_member_cannot_be_changed(dba: Connection) -> None:
    chat, other = new_chat(dba, "owner", "member"), new_chat(dba, "owner")
    send(dba, chat)
    call(dba, "stranger", "list_chats")
    for change in (
        "update parley.members set chat_id = %s where chat_id = %s and user_id = 'member'",
        "update parley.members set user_id = 'stranger' || left(%s, 0) where chat_id = %s and user_id = 'member'",
    ):
        with pytest.raises(psycopg.errors.RaiseException, match="cannot be updated"), dba.transaction():
            dba.execute(change, [other, chat])
    dba.execute("update parley.members set joined_at = now() where chat_id = %s", [chat])


def last_payload_size(connection: Connection, chat: str) -> int:
    """Return the size in bytes of the payload of a chat's last event."""
    query = "select octet_length(payload::text) from parley.outbox where chat_id = %s order by id desc limit 1"
    row = connection.execute(query, [chat]).fetchone()
    assert row is not None
    return int(row[0])


def test_payload_over_the_limit_is_recorded_without_content(dba: Connection) -> None:
    chat = new_chat(dba, "owner")
    send(dba, chat, "é")
    overhead = last_payload_size(dba, chat) - 2
    largest = send(dba, chat, "é" * ((MAX_EVENT_BYTES - overhead) // 2) + "x" * ((MAX_EVENT_BYTES - overhead) % 2))
    assert last_payload_size(dba, chat) == MAX_EVENT_BYTES == 10_000
    too_large = send(dba, chat, largest["content"] + "x")
    call(dba, "owner", "update_message", chat, largest["id"], {"content": "é" * 5000})
    call(dba, "owner", "update_message", chat, too_large["id"], {"content": "x" * MAX_EVENT_BYTES, "type": "code"})
    truncate_payload = {key: value for key, value in too_large.items() if key != "content"}
    assert [payload for _, payload in events(dba, chat)][1:] == [
        largest,
        truncate_payload | {"truncated": True},
        {"id": largest["id"], "updates": {}, "truncated": True},
        {"id": too_large["id"], "updates": {"type": "code"}, "truncated": True},
    ]


def test_longest_title_is_within_the_payload_limit(dba: Connection) -> None:
    chat = new_chat(dba, "owner")
    call(dba, "owner", "update_chat", chat, {"title": "x" + "\x01" * 199})
    assert last_payload_size(dba, chat) < MAX_EVENT_BYTES


def test_user_id_that_is_too_long_for_a_channel_name_is_hashed(dba: Connection) -> None:
    longest, too_long = "ö" * 56 + "x", "ö" * 57
    chat = new_chat(dba, "owner", longest, too_long)
    call(dba, "owner", "update_chat", chat, {"title": "Plans"})
    (updated,) = fetch(dba, chat)
    call(dba, too_long, "authorize_channel", "1.2", f"presence-chat-{chat}")
    call(dba, too_long, "remove_member", chat, too_long)
    (removed,) = fetch(dba, chat, held_chats=[chat], held_until=[updated["id"]])
    assert sorted(map(len, updated["channels"])) == [20, 49, 63, 164]
    assert f"private-user-{removed['terminated_user']}" in updated["channels"]


def test_event_of_a_rename_has_the_same_size_for_any_number_of_members(dba: Connection) -> None:
    small, large = new_chat(dba, "owner"), new_chat(dba, "owner")
    add_members(dba, large, 3000)
    sizes = []
    for chat in (small, large):
        call(dba, "owner", "update_chat", chat, {"title": "Plans"})
        query = "select pg_column_size(o), recipients from parley.outbox o where chat_id = %s order by id desc limit 1"
        sizes.append(dba.execute(query, [chat]).fetchone())
    assert sizes[0] == sizes[1]
    assert sizes[0] is not None
    assert sizes[0][0] < 300
    (event,) = fetch(dba, large)
    assert len(set(event["channels"])) == 1 + 1 + 3000
