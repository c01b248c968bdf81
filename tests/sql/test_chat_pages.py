"""Pages of chats, in the order of their latest activity."""

from tests.database import Connection, call, new_chat
from tests.sql.paging import links
from tests.tokens import new_user
from tests.waiting import next_millisecond


def test_chats_page_by_their_latest_activity_while_it_moves(app: Connection) -> None:
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
    place = links(app)["next"]
    assert place == {"before": first["chats"][-1]["lastMessage"]["id"]}
    next_millisecond()
    call(app, user, "send_message", order[1], {"content": "again"})  # it goes up, nothing is seen twice
    second = call(app, user, "list_chats", limit="4", **place)
    assert [c["id"] for c in second["chats"]] == order[4:8]
    assert (second["total"], second["page"], second["limit"]) == (9, None, 4)
    back = links(app)["prev"]
    assert [c["id"] for c in call(app, user, "list_chats", limit="9", **back)["chats"]] == [
        order[1],
        order[0],
        *order[2:4],
    ]
    call(app, user, "list_chats", limit="4", **back)
    assert "prev" not in links(app)


def test_a_chat_shows_the_beginning_of_its_last_message(app: Connection) -> None:
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
