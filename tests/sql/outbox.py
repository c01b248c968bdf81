"""Read the outbox, fetch from it as the listener does, and cause events."""

from typing import Any
from uuid import UUID

from tests.database import Connection, call, new_chat

SMALL_CHAT_MEMBERS = 100


def new_published_chat(connection: Connection, owner: str, *members: str) -> str:
    """Create a chat of these users whose events so far are published; return its id."""
    chat = new_chat(connection, owner, *members)
    connection.execute("delete from parley.outbox_queue where chat_id = %s", [chat])
    return chat


def events(connection: Connection, chat: str) -> list[tuple[str, Any]]:
    """Return the events of a chat and their payloads in the order of their seq, without `member:added`."""
    query = "select event, payload from parley.outbox where chat_id = %s and event <> 'member:added' order by seq"
    return connection.execute(query, [chat]).fetchall()


def id_before(chat: str) -> str:
    """Return the id before a chat's: a round that continues after it visits this chat next."""
    return str(UUID(int=UUID(chat).int - 1))


def fetch(connection: Connection, chat: str, **options: Any) -> list[dict[str, Any]]:
    """Return the events of a chat that the listener publishes under their own names, in a round from this chat on."""
    options.setdefault("after_chat", id_before(chat))
    return [row for row in fetch_all(connection, **options) if str(row["chat_id"]) == chat]


def fetch_all(connection: Connection, **options: Any) -> list[dict[str, Any]]:
    """Return the events that the listener publishes under their own names."""
    rows = fetch_publications(connection, **options)
    return [row for row in rows if row["event"] != "chat:event" and (row["channels"] or row["terminated_user"])]


def fetch_publications(connection: Connection, **options: Any) -> list[dict[str, Any]]:
    """Return the publications that the listener fetches."""
    arguments: dict[str, Any] = {"acked": [], "held_chats": [], "held_until": []}
    arguments |= {"max_events": 1000, "max_events_per_chat": 1000, "max_bytes": 1_000_000} | options
    cursor = connection.execute(
        "select * from listener.ack_and_fetch_events(%(acked)s, %(after_chat)s, %(held_chats)s::uuid[],"
        " %(held_until)s::bigint[], %(max_events)s, %(max_events_per_chat)s, %(max_bytes)s)",
        arguments,
    )
    assert cursor.description is not None
    names = [column.name for column in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor]


def send(connection: Connection, chat: str, content: str = "hello", user: str = "owner") -> dict[str, Any]:
    """Send a message; return it."""
    sent: dict[str, Any] = call(connection, user, "send_message", chat, {"content": content})
    return sent


def add_members(connection: Connection, chat: str, count: int) -> None:
    """Add new users to a chat. The events of that are published."""
    users = "select %(chat)s::text || '-' || n as id from generate_series(1, %(count)s) n"
    values = {"chat": chat, "count": count}
    connection.execute(f"insert into next_auth.users (id) {users}", values)
    connection.execute(
        f"insert into parley.members (chat_id, user_id) select %(chat)s::uuid, id from ({users}) u", values
    )
    connection.execute("delete from parley.outbox_queue where chat_id = %s", [chat])
