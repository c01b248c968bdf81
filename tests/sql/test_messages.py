"""Messages: send, list, get, edit, delete, and the counters of their chat."""

from datetime import UTC, datetime
from uuid import UUID

import psycopg
import pytest

from tests.database import NO_SUCH_ID, Connection, call, expect_error, new_chat
from tests.tokens import new_user


def test_content_is_stored_as_sent(app: Connection) -> None:
    user = new_user()
    chat = new_chat(app, user)
    content = "  def f():\n\treturn 'ünïcødé 上海 🎉'  \r\n"
    sent = call(app, user, "send_message", chat, {"content": content, "type": "code"})
    assert list(sent) == ["id", "content", "type", "userId", "createdAt"]
    assert (sent["content"], sent["type"], sent["userId"]) == (content, "code", user)
    got = call(app, user, "get_message", chat, sent["id"])
    assert got == sent | {"updatedAt": sent["createdAt"]}
    assert call(app, user, "list_messages", chat)["messages"] == [got]


def test_default_type_is_text(app: Connection) -> None:
    user = new_user()
    chat = new_chat(app, user)
    for type_ in ("text", "code", "image"):
        assert call(app, user, "send_message", chat, {"content": "x", "type": type_})["type"] == type_
    assert call(app, user, "send_message", chat, {"content": "x"})["type"] == "text"


def test_ids_are_uuid7_with_the_millisecond_of_created_at(app: Connection) -> None:
    user = new_user()
    chat = call(app, user, "create_chat", {"title": "x"})
    sent = [call(app, user, "send_message", chat["id"], {"content": "x"}) for _ in range(20)]
    for resource in (chat, *sent):
        uuid = UUID(resource["id"])
        created = datetime.fromisoformat(resource["createdAt"])
        assert (uuid.version, uuid.variant) == (7, "specified in RFC 4122")
        assert uuid.int >> 80 == round(created.timestamp() * 1000)
        assert abs((datetime.now(UTC) - created).total_seconds()) < 60
    ids = [message["id"] for message in sent]
    assert ids == sorted(ids)


def test_ids_rise_within_a_millisecond_and_when_the_clock_is_set_back(dba: Connection) -> None:
    user = new_user()
    chat = new_chat(dba, user)
    dba.execute(
        "update parley.chats set last_message_id = parley.min_uuid7(now() + interval '1 hour') where id = %s", [chat]
    )
    ids = [call(dba, user, "send_message", chat, {"content": "x"})["id"] for _ in range(20)]
    assert ids == sorted(ids)
    assert len({UUID(id_).int >> 80 for id_ in ids}) == 1


@pytest.mark.parametrize(
    "change",
    [
        "update parley.chats set seq = (1 << 26) + 5 where id = %s",
        "select parley.start_new_epoch() from parley.chats where id = %s",
    ],
)
def test_ids_rise_when_the_lowest_bits_of_the_seq_do_not(dba: Connection, change: str) -> None:
    user = new_user()
    chat = new_chat(dba, user)
    newest = dba.execute(
        "update parley.chats set last_message_id = parley.generate_uuid7(now() + interval '1 hour', (1 << 26) - 1)"
        " where id = %s returning last_message_id",
        [chat],
    ).fetchone()
    assert newest
    dba.execute(change, [chat])
    ids = [UUID(call(dba, user, "send_message", chat, {"content": "x"})["id"]) for _ in range(20)]
    assert ids == sorted(ids)
    assert {id_.int >> 80 for id_ in ids} == {
        (newest[0].int >> 80) + 1
    }  # one millisecond, and not one for each message


def test_author_can_edit_content_and_type(app: Connection) -> None:
    user = new_user()
    chat = new_chat(app, user)
    sent = call(app, user, "send_message", chat, {"content": "one"})
    edited = call(app, user, "update_message", chat, sent["id"], {"content": "two"})
    assert list(edited) == ["id", "content", "type", "updatedAt"]
    assert (edited["content"], edited["type"]) == ("two", "text")
    assert edited["updatedAt"] >= sent["createdAt"]
    assert call(app, user, "update_message", chat, sent["id"], {"type": "code"})["type"] == "code"
    again = call(app, user, "get_message", chat, sent["id"])
    assert (again["content"], again["type"], again["createdAt"]) == ("two", "code", sent["createdAt"])
    assert call(app, user, "list_messages", chat, search="two")["total"] == 1
    assert call(app, user, "list_messages", chat, search="one")["total"] == 0


def test_updated_at_changes_only_with_a_field(dba: Connection) -> None:
    user = new_user()
    chat = new_chat(dba, user)
    sent = call(dba, user, "send_message", chat, {"content": "one"})
    dba.execute("alter table parley.messages disable trigger messages_before_update")
    dba.execute("update parley.messages set updated_at = '2020-01-01Z' where id = %s", [sent["id"]])
    dba.execute("alter table parley.messages enable trigger messages_before_update")
    same = call(dba, user, "update_message", chat, sent["id"], {"content": "one", "type": "text"})
    assert same["updatedAt"] == "2020-01-01T00:00:00.000Z"
    assert call(dba, user, "update_message", chat, sent["id"], {"content": "two"})["updatedAt"] >= sent["createdAt"]


def test_only_the_author_can_edit_and_the_author_or_owner_can_delete(app: Connection) -> None:
    owner, author, member, stranger = (new_user() for _ in range(4))
    chat = new_chat(app, owner, author, member)
    message, other = (call(app, author, "send_message", chat, {"content": "x"})["id"] for _ in range(2))
    for user, edits, deletes in ((owner, 403, None), (member, 403, 403), (stranger, 404, 404)):
        with expect_error(edits):
            call(app, user, "update_message", chat, message, {"content": "y"})
        if deletes:
            with expect_error(deletes):
                call(app, user, "delete_message", chat, message)
    assert call(app, author, "update_message", chat, message, {"content": "y"})["content"] == "y"
    call(app, author, "delete_message", chat, message)
    call(app, owner, "delete_message", chat, other)
    assert call(app, owner, "list_messages", chat)["total"] == 0
    for function in ("get_message", "delete_message"):
        with expect_error(404):
            call(app, author, function, chat, message)


def test_author_who_left_cannot_edit(app: Connection) -> None:
    owner, author = new_user(), new_user()
    chat = new_chat(app, owner, author)
    message = call(app, author, "send_message", chat, {"content": "x"})["id"]
    call(app, author, "remove_member", chat, author)
    with expect_error(404):
        call(app, author, "update_message", chat, message, {"content": "y"})
    assert call(app, owner, "get_message", chat, message)["content"] == "x"


def test_message_is_found_only_in_its_chat(app: Connection) -> None:
    user = new_user()
    chat, other = new_chat(app, user), new_chat(app, user)
    message = call(app, user, "send_message", chat, {"content": "x"})["id"]
    assert call(app, user, "get_message", chat, message)["id"] == message
    for chat_id, message_id in ((other, message), (chat, NO_SUCH_ID), (chat, "x"), (NO_SUCH_ID, message)):
        with expect_error(404):
            call(app, user, "get_message", chat_id, message_id)


def test_chat_has_the_number_and_the_time_of_its_last_message(app: Connection) -> None:
    user = new_user()
    chat = new_chat(app, user)
    sent = [call(app, user, "send_message", chat, {"content": "x"}) for _ in range(3)]
    assert call(app, user, "get_chat", chat)["lastMessageAt"] == sent[2]["createdAt"]
    call(app, user, "delete_message", chat, sent[2]["id"])
    call(app, user, "delete_message", chat, sent[0]["id"])
    assert call(app, user, "list_messages", chat)["total"] == 1
    assert call(app, user, "get_chat", chat)["lastMessageAt"] == sent[1]["createdAt"]
    call(app, user, "delete_message", chat, sent[1]["id"])
    assert call(app, user, "get_chat", chat)["lastMessageAt"] is None


def test_each_change_increments_the_seq_of_the_chat(dba: Connection) -> None:
    user = new_user()
    chat = new_chat(dba, user)

    def seq() -> int:
        row = dba.execute("select seq from parley.chats where id = %s", [chat]).fetchone()
        assert row
        return int(row[0])

    assert seq() == 1
    message = call(dba, user, "send_message", chat, {"content": "x"})["id"]
    assert seq() == 2
    call(dba, user, "update_message", chat, message, {"content": "y"})
    call(dba, user, "update_chat", chat, {"title": "y"})
    call(dba, user, "delete_message", chat, message)
    assert seq() == 5


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        (None, None, "dcba"),
        ("2026-11-23", None, "dcb"),
        (None, "2026-11-22", "a"),
        ("2026-11-23", "2026-11-23", "cb"),
        ("2026-11-23T12:00:00.001Z", "2026-11-23T12:00:00.001Z", "b"),
        ("2026-11-23T12:00:00.0011Z", "2026-11-23T23:59:59.9989Z", ""),
        ("2026-11-23T13:00:00.001+01:00", "2026-11-23T13:00:00.001+0100", "b"),
        ("2026-11-23T12:00", "2026-11-24t00:00:00z", "dcb"),
        ("2026-11-24", "2026-11-23", ""),
        (None, "2026-11-23T12:00:00.0009999Z", "a"),
        (None, "2026-11-23T12:00:00.0019999Z", "ba"),
        ("0001-01-01", "9999-12-31", "dcba"),
    ],
)
def test_dates_are_inclusive(dba: Connection, start: str | None, end: str | None, expected: str) -> None:
    user = new_user()
    chat = new_chat(dba, user)
    times = {
        "a": "2026-11-22T23:59:59.999Z",
        "b": "2026-11-23T12:00:00.001Z",
        "c": "2026-11-23T23:59:59.999Z",
        "d": "2026-11-24T00:00:00.000Z",
    }
    dba.execute("set local session_replication_role = replica")
    for content, time in times.items():
        dba.execute(
            "insert into parley.messages (chat_id, id, content, user_id, updated_at)"
            " values (%s, parley.generate_uuid7(%s, 0), %s, %s, now())", [chat, time, content, user]
        )  # fmt: skip
    dba.execute("select parley.recount_chat(%s)", [chat])
    listed = call(dba, user, "list_messages", chat, start_date=start, end_date=end)
    assert "".join(m["content"] for m in listed["messages"]) == expected
    assert listed["total"] == len(expected)
    assert {m["content"]: m["createdAt"] for m in listed["messages"]} == {c: times[c] for c in expected}


@pytest.mark.parametrize("time", ["1970-01-01T00:00:00.001Z", "2026-11-23T10:15:30.123Z", "9999-12-31T23:59:59.999Z"])
def test_uuid7_has_the_time_that_it_was_generated_for(dba: Connection, time: str) -> None:
    row = dba.execute("select parley.iso8601(rules.uuid7_timestamp(parley.generate_uuid7(%s, 5)))", [time]).fetchone()
    assert row == (time,)


def test_key_of_a_message_cannot_be_changed(dba: Connection) -> None:
    user = new_user()
    chat, other = new_chat(dba, user), new_chat(dba, user)
    call(dba, user, "send_message", chat, {"content": "hello"})
    for change in ("chat_id = %s", "id = %s"):
        with pytest.raises(psycopg.errors.RaiseException), dba.transaction():
            dba.execute(f"update parley.messages set {change} where chat_id = %s", [other, chat])
