"""What is published for an event, and to whom: on the channel of the chat, and on the channels of users."""

import json
from typing import Any

import pytest

from api.openapi.models.events import MAX_EVENT_BYTES
from tests.database import Connection, add_member, call, new_chat
from tests.sql.outbox import SMALL_CHAT_MEMBERS, add_members, fetch_publications, id_before, new_published_chat, send
from tests.tokens import new_user


def publications(dba: Connection, chat: str) -> list[tuple[str, Any, set[str]]]:
    """Return the name, the data and the channels of each publication of a chat's queued events."""
    rows = fetch_publications(dba, after_chat=id_before(chat))
    return [
        (row["event"], json.loads(row["payload"]), set(row["channels"] or []))
        for row in rows
        if str(row["chat_id"]) == chat and row["payload"]
    ]


def entries(dba: Connection, chat: str, user: str) -> list[tuple[int, str, Any]]:
    """Return the seq, the event and the data of each entry that is published on the channel of a user."""
    channel = user_channel(dba, user)
    return [
        (data["seq"], data["event"], data["data"])
        for name, data, channels in publications(dba, chat)
        if name == "chat:event" and channel in channels
    ]


def user_channel(dba: Connection, user: str) -> str:
    """Return the name of the channel of a user."""
    row = dba.execute("select parley.user_channel(%s)", [user]).fetchone()
    assert row
    return str(row[0])


@pytest.fixture
def users(dba: Connection) -> list[str]:
    """Three users: an owner, a member and another one."""
    names = [new_user() for _ in range(3)]
    for name in names:
        call(dba, name, "get_settings")
    return names


def test_each_entry_of_the_log_is_published_on_the_channels_of_the_members(dba: Connection, users: list[str]) -> None:
    owner, member, other = users
    chat = new_chat(dba, owner, member)
    sent = send(dba, chat, "hello", owner)
    call(dba, owner, "update_message", chat, sent["id"], {"content": "hi"})
    call(dba, member, "mark_read", chat, {"messageId": sent["id"]})
    call(dba, owner, "update_chat", chat, {"title": "Plans"})
    call(dba, owner, "delete_message", chat, sent["id"])
    log = call(dba, owner, "list_chat_events", chat, after="0")["events"]
    expected = [(entry["seq"], entry["event"]) for entry in log]
    assert [entry[:2] for entry in entries(dba, chat, owner)] == expected
    assert [event for _, event in expected] == [
        "member:added", "member:added", "message:sent", "message:updated", "chat:read", "chat:updated",
        "message:deleted",
    ]  # fmt: skip
    assert [entry[:2] for entry in entries(dba, chat, member)] == expected[1:]
    assert entries(dba, chat, other) == []
    assert entries(dba, chat, owner)[2] == (3, "message:sent", sent)
    read = {"userId": member, "lastReadMessageId": sent["id"], "unreadCount": 0}
    assert entries(dba, chat, owner)[4] == (5, "chat:read", read)
    (deleted, *_) = [data for name, data, _ in publications(dba, chat) if name == "chat:event" and data["seq"] == 7]
    assert deleted == next(entry for entry in log if entry["seq"] == 7)


def test_entry_has_the_name_and_image_of_the_user_whom_it_names(dba: Connection, users: list[str]) -> None:
    owner, member, _ = users
    image = "https://example.org/ada.png"
    dba.execute("update next_auth.users set name = 'Ada', image = %s where id = %s", [image, owner])
    chat = new_published_chat(dba, owner)
    add_member(dba, owner, chat, member)
    sent = call(dba, owner, "send_message", chat, {"content": "hello", "nonce": "n-1"})
    call(dba, member, "mark_read", chat, {"messageId": sent["id"]})
    call(dba, owner, "update_chat", chat, {"title": "Plans"})
    named = [(data["event"], data.get("user")) for name, data, _ in publications(dba, chat) if name == "chat:event"]
    ada, unnamed = {"id": owner, "name": "Ada", "imageUrl": image}, {"id": member, "name": None, "imageUrl": None}
    assert named == [
        ("member:added", unnamed), ("member:added", unnamed), ("message:sent", ada), ("message:sent", ada),
        ("chat:read", unnamed), ("chat:updated", None),
    ]  # fmt: skip
    dba.execute("delete from next_auth.users where id = %s", [owner])
    sent_by = [data["user"] for _, data, _ in publications(dba, chat) if data.get("event") == "message:sent"]
    assert sent_by
    assert all(user == {"id": owner, "name": None, "imageUrl": None} for user in sent_by)


def test_new_member_receives_the_chat_as_sync_returns_it(dba: Connection, users: list[str]) -> None:
    owner, member, other = users
    chat = new_published_chat(dba, owner, other)
    send(dba, chat, "before", owner)
    add_member(dba, owner, chat, member)
    send(dba, chat, "after", owner)
    added = [
        (channels, data.get("chat"))
        for name, data, channels in publications(dba, chat)
        if name == "chat:event" and data["event"] == "member:added"
    ]
    (expected,) = call(dba, member, "sync")["chats"]
    assert (expected["unreadCount"], expected["role"]) == (2, "member")
    assert added == [
        ({user_channel(dba, member)}, expected),
        ({user_channel(dba, owner), user_channel(dba, other)}, None),
    ]
    for user, entry_chat in ((member, expected), (owner, None)):
        log = call(dba, user, "list_chat_events", chat, after="0")["events"]
        assert [entry.get("chat") for entry in log if entry["data"] == member] == [entry_chat]


def test_chat_over_the_limit_is_left_out_for_the_new_member(dba: Connection) -> None:
    owner, member = (name.ljust(255, "\u2603") for name in (new_user(), new_user()))
    chat = new_published_chat(dba, owner)
    call(dba, owner, "update_chat", chat, {"title": "\u2603" * 200})
    send(dba, chat, "\u0001" * 200, owner)
    call(dba, member, "get_settings")
    profile = "\u2603" * 100, f"https://example.org/{'x' * 1980}", [owner, member]
    dba.execute("update next_auth.users set name = %s, image = %s where id = any (%s)", profile)
    add_member(dba, owner, chat, member)

    def have_chat() -> list[bool]:
        added = [data for _, data, _ in publications(dba, chat) if "event" in data and data["event"] == "member:added"]
        assert all(len(json.dumps(data, ensure_ascii=False).encode()) <= MAX_EVENT_BYTES for data in added)
        return ["chat" in data for data in added]

    assert have_chat() == [False, False]
    send(dba, chat, "short", owner)
    assert have_chat() == [True, False]


def test_events_before_a_member_joined_are_not_published_to_them(dba: Connection, users: list[str]) -> None:
    owner, member, newcomer = users
    chat = new_published_chat(dba, owner, member)
    send(dba, chat, "before", owner)
    call(dba, owner, "update_chat", chat, {"title": "Before"})
    add_member(dba, owner, chat, newcomer)
    send(dba, chat, "after", owner)
    assert [event for _, event, _ in entries(dba, chat, newcomer)] == ["member:added", "message:sent"]
    assert len(entries(dba, chat, owner)) == 4
    renamed = next(channels for name, _, channels in publications(dba, chat) if name == "chat:updated")
    assert user_channel(dba, newcomer) not in renamed
    assert user_channel(dba, member) in renamed


def test_former_member_receives_nothing_but_the_removal(dba: Connection, users: list[str]) -> None:
    owner, member, _ = users
    chat = new_published_chat(dba, owner, member)
    send(dba, chat, "published too late", owner)
    call(dba, owner, "remove_member", chat, member)
    send(dba, chat, "after", owner)
    assert [entry[:2] for entry in entries(dba, chat, member)] == [(4, "member:removed")]
    add_member(dba, owner, chat, member)
    assert [entry[:2] for entry in entries(dba, chat, member)] == [(4, "member:removed"), (6, "member:added")]
    assert [seq for seq, *_ in entries(dba, chat, owner)] == [3, 4, 5, 6]


@pytest.mark.parametrize("was_authorized", [False, True])
def test_only_a_member_who_was_authorized_for_the_chat_is_disconnected(
    dba: Connection, users: list[str], was_authorized: bool
) -> None:
    owner, member, _ = users
    chat = new_published_chat(dba, owner, member)
    call(dba, member, "authorize_channel", "1.2", user_channel(dba, member))
    if was_authorized:
        call(dba, member, "authorize_channel", "1.2", f"presence-chat-{chat}")
    call(dba, owner, "remove_member", chat, member)
    rows = fetch_publications(dba, after_chat=id_before(chat), max_events=1)
    assert [row["terminated_user"] for row in rows if row["terminated_user"]] == (
        [user_channel(dba, member).removeprefix("private-user-")] if was_authorized else []
    )


def test_chat_of_more_than_100_members_is_published_on_its_own_channel(dba: Connection, users: list[str]) -> None:
    owner, member, other = users
    chat = new_chat(dba, owner)
    add_members(dba, chat, SMALL_CHAT_MEMBERS - 1)
    send(dba, chat, "in a small chat", owner)
    add_member(dba, owner, chat, member)  # everybody learns that the chat is a large one now
    send(dba, chat, "in a large chat", owner)
    add_member(dba, owner, chat, other)
    call(dba, member, "mark_read", chat, {"messageId": send(dba, chat, "unread", owner)["id"]})
    assert [event for _, event, _ in entries(dba, chat, owner)] == ["message:sent", "member:added"]
    assert [event for _, event, _ in entries(dba, chat, member)] == ["member:added"]
    assert [event for _, event, _ in entries(dba, chat, other)] == ["member:added"]
    sent = [channels for name, _, channels in publications(dba, chat) if name == "message:sent"]
    assert sent == [{f"private-chat-{chat}"}] * 3
    call(dba, owner, "remove_member", chat, member)
    call(dba, owner, "remove_member", chat, other)
    send(dba, chat, "in a small chat again", owner)
    assert [event for _, event, _ in entries(dba, chat, member)] == ["member:removed"]
    assert [event for _, event, _ in entries(dba, chat, other)] == ["member:removed"]
    assert [event for _, event, _ in entries(dba, chat, owner)][2:] == ["member:removed", "message:sent"]


@pytest.mark.parametrize("is_large", [False, True])
def test_nonce_is_returned_to_the_sender_only(dba: Connection, users: list[str], is_large: bool) -> None:
    owner, member, _ = users
    chat = new_chat(dba, owner, member)
    add_members(dba, chat, SMALL_CHAT_MEMBERS * is_large)
    call(dba, owner, "send_message", chat, {"content": "hello", "nonce": "n-1"})
    call(dba, owner, "send_message", chat, {"content": "without"})
    found = [(data.get("nonce"), channels) for name, data, channels in publications(dba, chat) if name == "chat:event"]
    assert [channels for nonce, channels in found if nonce] == [{user_channel(dba, owner)}]
    others = [channels for nonce, channels in found if not nonce and user_channel(dba, member) in channels]
    assert len(others) == (0 if is_large else 2)
    for user, nonces in ((owner, ["n-1", None]), (member, [None, None])):
        log = call(dba, user, "list_chat_events", chat, after="0", limit="1000")["events"]
        assert [entry.get("nonce") for entry in log if entry["event"] == "message:sent"] == nonces


def test_entry_over_the_limit_is_published_without_content(dba: Connection) -> None:
    owner = new_user()
    chat = new_published_chat(dba, owner)
    sent = send(dba, chat, "x" * (MAX_EVENT_BYTES - 200), owner)
    message, entry = publications(dba, chat)
    assert message[1] == sent
    assert "content" not in entry[1]["data"]
    assert entry[1]["data"]["truncated"] is True
    call(dba, owner, "update_message", chat, sent["id"], {"content": "x" * (MAX_EVENT_BYTES - 500)})
    assert len(publications(dba, chat)[3][1]["data"]["updates"]["content"]) == MAX_EVENT_BYTES - 500


def test_change_of_a_user_is_published_to_members_of_common_chats(dba: Connection, users: list[str]) -> None:
    owner, member, stranger = users
    new_chat(dba, owner, member)
    new_chat(dba, member, stranger)
    large = new_chat(dba, owner)
    add_members(dba, large, SMALL_CHAT_MEMBERS)
    (queue,) = dba.execute("select parley.user_queue_id(%s)::text", [owner]).fetchone() or ("",)
    assert publications(dba, queue) == []
    call(dba, owner, "update_profile", {"email": f"{owner}@example.org"})
    assert publications(dba, queue) == []
    call(dba, owner, "update_profile", {"name": "Ada"})
    channels = {user_channel(dba, owner), user_channel(dba, member)}
    assert publications(dba, queue) == [("user:updated", {"id": owner, "name": "Ada", "imageUrl": None}, channels)]


def test_change_of_a_user_in_many_chats_is_published_to_a_bounded_number(dba: Connection) -> None:
    owner = new_user()
    for _ in range(15):
        add_members(dba, new_chat(dba, owner), SMALL_CHAT_MEMBERS - 1)
    (queue,) = dba.execute("select parley.user_queue_id(%s)::text", [owner]).fetchone() or ("",)
    call(dba, owner, "update_profile", {"name": "Ada"})
    ((_, _, channels),) = publications(dba, queue)
    assert len(channels) in (1000, 1001)
    assert user_channel(dba, owner) in channels


def test_only_the_last_of_several_changes_of_a_user_is_published(dba: Connection) -> None:
    owner = new_user()
    new_chat(dba, owner)
    for name in ("Ada", "Bea", "Cleo"):
        call(dba, owner, "update_profile", {"name": name})
    (queue,) = dba.execute("select parley.user_queue_id(%s)::text", [owner]).fetchone() or ("",)
    assert [data["name"] for _, data, _ in publications(dba, queue)] == ["Cleo"]


def test_values_of_a_user_that_the_web_app_has_stored_fit_into_events(dba: Connection) -> None:
    owner = new_user()
    chat = new_published_chat(dba, owner)
    dba.execute(
        "update next_auth.users set name = %s, image = %s where id = %s",
        ["x" * 15_000, "data:image/png;base64," + "A" * 20_000, owner],
    )
    send(dba, chat, "hello", owner)
    (queue,) = dba.execute("select parley.user_queue_id(%s)::text", [owner]).fetchone() or ("",)
    public = {"id": owner, "name": "x" * 100, "imageUrl": None}
    assert [data for _, data, _ in publications(dba, queue)] == [public]
    assert [data["user"] for name, data, _ in publications(dba, chat) if name == "chat:event"] == [public]
