"""Change chats, list events from the log, and decode and encode cursors."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Any

from tests.database import Connection, add_member, call
from tests.tokens import new_user

Event = dict[str, Any]


def send(connection: Connection, chat: str, content: str = "hello", user: str = "owner") -> Any:
    """Send a message; return it."""
    return call(connection, user, "send_message", chat, {"content": content})


def list_chat_events(connection: Connection, chat: str, after: int = 0, limit: int = 1000, user: str = "owner") -> Any:
    """Return a page of a chat's events after a seq."""
    return call(connection, user, "list_chat_events", chat, after=str(after), limit=str(limit))


def list_events(connection: Connection, after: str | None = None, limit: int = 1000, user: str = "owner") -> Any:
    """Return a page of a user's events after a cursor."""
    return call(connection, user, "list_events", after=after, limit=str(limit))


def seqs_and_names(page: Any) -> list[tuple[int, str]]:
    """Return the seq and the name of each event of a page."""
    return [(event["seq"], event["event"]) for event in page["events"]]


def chats_and_names(events: list[Event]) -> list[tuple[str, str]]:
    """Return the chat and the name of each event."""
    return [(event["chatId"], event["event"]) for event in events]


def read_all_events(connection: Connection, cursor: str, user: str, limit: int = 1000) -> tuple[list[Event], str]:
    """Return all events after a cursor, and the cursor after them."""
    events: list[Event] = []
    while True:
        page = list_events(connection, cursor, limit, user)
        assert len(page["events"]) <= limit
        events += page["events"]
        cursor = page["next"]
        if not page["hasMore"]:
            return events, cursor


def omit_content(sent: Any, reason: str = "truncated") -> Any:
    """Return the data of the `message:sent` event of a message, with its content left out."""
    return {name: value for name, value in sent.items() if name != "content"} | {reason: True}


def seq_of(connection: Connection, chat: str) -> int:
    """Return the seq of a chat's last change."""
    row = connection.execute("select seq from parley.chats where id = %s", [chat]).fetchone()
    assert row
    return int(row[0])


def decode_cursor(cursor: str) -> list[str]:
    """Return the fields of a cursor."""
    return urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode().split(" ")


def encode_cursor(fields: str) -> str:
    """Return the cursor with these fields."""
    return urlsafe_b64encode(fields.encode()).decode().rstrip("=")


def change_chat(connection: Connection, owner: str, chat: str, action: str) -> None:
    """Change a chat as its owner: send, edit or delete a message, rename it, or add or remove a guest."""
    newest = "select id from parley.messages where chat_id = %s order by id desc limit 1"
    row = connection.execute(newest, [chat]).fetchone()
    if action == "join or leave":
        guest = "select from parley.members where chat_id = %s and user_id = 'guest'"
        if connection.execute(guest, [chat]).rowcount:
            call(connection, "guest", "remove_member", chat, "guest")
        else:
            add_member(connection, owner, chat, "guest")
    elif action == "rename":
        call(connection, owner, "update_chat", chat, {"title": f"Renamed {new_user()}"})
    elif action == "send" or row is None:
        send(connection, chat, user=owner)
    elif action == "edit":
        call(connection, owner, "update_message", chat, str(row[0]), {"content": new_user()})
    else:
        call(connection, owner, "delete_message", chat, str(row[0]))
