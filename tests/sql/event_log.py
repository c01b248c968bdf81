"""What the tests of the event log do: change chats, list events, read and make cursors."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Any

from tests.database import Connection, add_member, call
from tests.tokens import new_user

Event = dict[str, Any]


def send(connection: Connection, chat: str, content: str = "hello", user: str = "owner") -> Any:
    return call(connection, user, "send_message", chat, {"content": content})


def of_chat(connection: Connection, chat: str, after: int = 0, limit: int = 1000, user: str = "owner") -> Any:
    return call(connection, user, "list_chat_events", chat, after=str(after), limit=str(limit))


def of_all(connection: Connection, after: str | None = None, limit: int = 1000, user: str = "owner") -> Any:
    return call(connection, user, "list_events", after=after, limit=str(limit))


def names(answer: Any) -> list[tuple[int, str]]:
    return [(event["seq"], event["event"]) for event in answer["events"]]


def brief(events: list[Event]) -> list[tuple[str, str]]:
    return [(event["chatId"], event["event"]) for event in events]


def drained(connection: Connection, cursor: str, user: str, limit: int = 1000) -> tuple[list[Event], str]:
    """All events since a cursor, and the one after them."""
    events: list[Event] = []
    while True:
        answer = of_all(connection, cursor, limit, user)
        assert len(answer["events"]) <= limit
        events += answer["events"]
        cursor = answer["next"]
        if not answer["hasMore"]:
            return events, cursor


def strip_content(sent: Any) -> Any:
    """The data of the event of a message as sent, if its content is left out."""
    return {name: value for name, value in sent.items() if name != "content"} | {"truncated": True}


def seq_of(connection: Connection, chat: str) -> int:
    row = connection.execute("select seq from parley.chats where id = %s", [chat]).fetchone()
    assert row
    return int(row[0])


def said_by(cursor: str) -> list[str]:
    return urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode().split(" ")


def encoded(said: str) -> str:
    return urlsafe_b64encode(said.encode()).decode().rstrip("=")


def change(connection: Connection, owner: str, chat: str, what: str) -> None:
    newest = "select id from parley.messages where chat_id = %s order by id desc limit 1"
    row = connection.execute(newest, [chat]).fetchone()
    if what == "join or leave":
        guest = "select from parley.members where chat_id = %s and user_id = 'guest'"
        if connection.execute(guest, [chat]).rowcount:
            call(connection, "guest", "remove_member", chat, "guest")
        else:
            add_member(connection, owner, chat, "guest")
    elif what == "rename":
        call(connection, owner, "update_chat", chat, {"title": f"Renamed {new_user()}"})
    elif what == "send" or row is None:
        send(connection, chat, user=owner)
    elif what == "edit":
        call(connection, owner, "update_message", chat, str(row[0]), {"content": new_user()})
    else:
        call(connection, owner, "delete_message", chat, str(row[0]))
