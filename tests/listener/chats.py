"""Messages and events of chats, for the tests of the listener."""

from base64 import urlsafe_b64encode
from typing import Any

from tests.database import Connection, call, new_chat
from tests.listener.subscriber import Subscriber

INSERT_MESSAGES = (
    "insert into parley.messages (chat_id, user_id, content) select %s, 'x', n::text from generate_series(1, %s) n"
)


def new_large_chat(connection: Connection, owner: str, *members: str) -> str:
    """Create a chat that counts as a large one, with events on its own channel only; return its id.

    The events of its creation are published.
    """
    chat = new_chat(connection, owner, *members)
    connection.execute("update parley.chats set member_count = 1000 where id = %s", [chat])
    connection.execute("delete from parley.outbox_queue where chat_id = %s", [chat])
    return chat


def send_message(connection: Connection, chat: str, content: str) -> dict[str, Any]:
    sent: dict[str, Any] = call(connection, "owner", "send_message", chat, {"content": content})
    return sent


def chat_channel(chat: str) -> str:
    return f"private-chat-{chat}"


def pusher_user_id(user: str) -> str:
    """Return the id that a user has at Pusher."""
    return urlsafe_b64encode(user.encode()).rstrip(b"=").decode()


def received_contents(subscriber: Subscriber) -> list[str]:
    return [data["content"] for data in subscriber.received("message:sent")]


def record_invalid_event(connection: Connection, chat: str, event: str, payload: str = '"x"') -> int:
    """Record an event that Pusher rejects; return its id."""
    row = connection.execute(
        "with event as (insert into parley.outbox (chat_id, seq, event, payload) select id, seq + 1, %s, %s::json"
        " from parley.chats where id = %s returning id, chat_id), queued as (insert into parley.outbox_queue"
        " select id, chat_id from event), allocated as (update parley.chats set seq = seq + 1 where id = %s)"
        " select id from event",
        [event, payload, chat, chat],
    ).fetchone()
    assert row is not None
    return int(row[0])
