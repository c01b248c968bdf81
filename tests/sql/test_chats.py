"""Chats: create, list, get, rename, delete."""

import pytest

from tests.database import NO_SUCH_ID, Connection, add_member, call, expect_error, new_chat
from tests.tokens import new_user
from tests.waiting import next_millisecond


def test_creator_of_a_chat_is_its_owner_and_member(app: Connection) -> None:
    owner = new_user()
    created = call(app, owner, "create_chat", {"title": "Plans"})
    assert list(created) == ["id", "title", "createdAt"]
    assert call(app, owner, "get_chat", created["id"]) == {
        "id": created["id"],
        "title": "Plans",
        "role": "owner",
        "createdAt": created["createdAt"],
        "updatedAt": created["createdAt"],
        "lastMessageAt": None,
        "lastMessage": None,
        "unreadCount": 0,
        "lastReadMessageId": None,
        "memberCount": 1,
    }
    assert [m["userId"] for m in call(app, owner, "list_members", created["id"])["members"]] == [owner]


def test_updated_at_changes_only_with_the_title(app: Connection) -> None:
    owner = new_user()
    chat = new_chat(app, owner, title="Plans")
    before = call(app, owner, "get_chat", chat)
    assert call(app, owner, "update_chat", chat, {"title": "Plans"}) == before
    renamed = call(app, owner, "update_chat", chat, {"title": "Plan B"})
    assert renamed["title"] == "Plan B"
    assert renamed["updatedAt"] > before["updatedAt"]


def test_member_cannot_rename_or_delete_a_chat(app: Connection) -> None:
    owner, member = new_user(), new_user()
    chat = new_chat(app, owner, member)
    assert call(app, member, "get_chat", chat)["role"] == "member"
    with expect_error(403):
        call(app, member, "update_chat", chat, {"title": "Mine"})
    with expect_error(403):
        call(app, member, "delete_chat", chat)
    assert call(app, owner, "update_chat", chat, {"title": "Ours"})["title"] == "Ours"


def test_other_users_cannot_detect_that_a_chat_exists(app: Connection) -> None:
    owner, stranger = new_user(), new_user()
    chat = new_chat(app, owner)
    for function, arguments in (("get_chat", []), ("update_chat", [{"title": "Mine"}]), ("delete_chat", [])):
        with expect_error(404) as hidden:
            call(app, stranger, function, chat, *arguments)
        with expect_error(404) as absent:
            call(app, owner, function, NO_SUCH_ID, *arguments)
        assert hidden.message == absent.message
    assert call(app, owner, "get_chat", chat)["id"] == chat


def test_malformed_chat_id_is_not_found(app: Connection) -> None:
    for chat in ("", "1", f"{{{NO_SUCH_ID}}}", NO_SUCH_ID.replace("-", ""), NO_SUCH_ID + "0", "é" * 36):
        with expect_error(404):
            call(app, new_user(), "get_chat", chat)


@pytest.mark.usefixtures("no_pending_removals")
def test_deleted_chat_is_not_found_and_its_rows_are_purged(dba: Connection) -> None:
    owner = new_user()
    chat = new_chat(dba, owner)
    call(dba, owner, "send_message", chat, {"content": "hello"})
    call(dba, owner, "delete_chat", chat)
    with expect_error(404):
        call(dba, owner, "get_chat", chat)
    assert dba.execute("select listener.purge_deleted_chats(10)").fetchone() == (2,)
    for table, column in (("chats", "id"), ("members", "chat_id"), ("messages", "chat_id")):
        assert dba.execute(f"select count(*) from parley.{table} where {column} = %s", [chat]).fetchone() == (0,)


def test_chats_are_listed_by_latest_activity(app: Connection) -> None:
    owner = new_user()
    chats = [new_chat(app, owner, title=f"Chat {n}") for n in range(5)]
    next_millisecond()
    call(app, owner, "send_message", chats[1], {"content": "hello"})
    expected = [chats.pop(1), *sorted(chats, reverse=True)]  # ids order chats of one millisecond
    listed = call(app, owner, "list_chats")
    assert [chat["id"] for chat in listed["chats"]] == expected
    assert (listed["total"], listed["page"], listed["limit"]) == (5, 1, 50)
    assert listed["chats"][0] == call(app, owner, "get_chat", expected[0])
    second = call(app, owner, "list_chats", page="2", limit="2")
    assert [chat["id"] for chat in second["chats"]] == expected[2:4]
    beyond = call(app, owner, "list_chats", page="1000000000", limit="100")
    assert beyond == {"chats": [], "total": 5, "page": 1_000_000_000, "limit": 100}


def test_list_has_only_chats_of_the_user(app: Connection) -> None:
    owner, member, stranger = new_user(), new_user(), new_user()
    chat = new_chat(app, owner, member)
    for user, expected in ((owner, [chat]), (member, [chat]), (stranger, [])):
        assert [c["id"] for c in call(app, user, "list_chats")["chats"]] == expected


def test_chat_remains_after_its_owner_is_deleted(dba: Connection) -> None:
    owner, member = new_user(), new_user()
    chat = new_chat(dba, owner, member)
    call(dba, owner, "send_message", chat, {"content": "hello"})
    dba.execute("delete from next_auth.users where id = %s", [owner])
    assert call(dba, member, "list_messages", chat)["messages"][0]["userId"] == owner
    assert [m["role"] for m in call(dba, member, "list_members", chat)["members"]] == ["member"]


def test_user_can_own_chats_and_be_a_member_of_others(app: Connection) -> None:
    one, two = new_user(), new_user()
    owned, joined = new_chat(app, one), new_chat(app, two)
    add_member(app, two, joined, one)
    roles = {chat["id"]: chat["role"] for chat in call(app, one, "list_chats")["chats"]}
    assert roles == {owned: "owner", joined: "member"}
