"""Pages of chats, in the order of their latest activity."""

from tests.database import Connection, call, new_chat
from tests.sql.paging import response_links
from tests.tokens import new_user
from tests.waiting import next_millisecond


def test_pages_of_chats_stay_consistent_while_activity_changes(app: Connection) -> None:
    user = new_user()
    chats = []
    for n in range(9):
        next_millisecond()
        chats.append(new_chat(app, user, title=f"Chat {n}"))
    for chat in chats[::2]:
        next_millisecond()
        call(app, user, "send_message", chat, {"content": f"hello in {chat}"})
    order = [*chats[8::-2], *chats[7::-2]]
    first = call(app, user, "list_chats", limit="4")
    assert [c["id"] for c in first["chats"]] == order[:4]
    cursor = response_links(app)["next"]
    assert cursor == {"before": first["chats"][-1]["lastMessage"]["id"]}
    next_millisecond()
    call(
        app, user, "send_message", order[1], {"content": "again"}
    )  # a chat moves to the top, and no chat is returned twice
    second = call(app, user, "list_chats", limit="4", **cursor)
    assert [c["id"] for c in second["chats"]] == order[4:8]
    assert (second["total"], second["page"], second["limit"]) == (9, None, 4)
    previous = response_links(app)["prev"]
    assert [c["id"] for c in call(app, user, "list_chats", limit="9", **previous)["chats"]] == [
        order[1],
        order[0],
        *order[2:4],
    ]
    call(app, user, "list_chats", limit="4", **previous)
    assert "prev" not in response_links(app)


def test_chat_has_the_first_200_characters_of_its_last_message(app: Connection) -> None:
    user = new_user()
    chat = new_chat(app, user)
    first = call(app, user, "send_message", chat, {"content": "hello"})
    last = call(app, user, "send_message", chat, {"content": "é" * 1000, "type": "code"})
    listed = call(app, user, "list_chats")["chats"][0]
    assert listed["lastMessage"] == last | {"content": "é" * 200}
    assert listed["lastMessageAt"] == last["createdAt"]
    assert call(app, user, "get_chat", chat) == listed
    call(app, user, "delete_message", chat, last["id"])
    assert call(app, user, "list_chats")["chats"][0]["lastMessage"] == first
    call(app, user, "delete_message", chat, first["id"])
    assert call(app, user, "list_chats")["chats"][0]["lastMessage"] is None
