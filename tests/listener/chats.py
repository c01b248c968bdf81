"""What the tests of the relay do in chats: send messages, record events, list what a subscriber received."""

from typing import Any

from tests.database import Connection, call
from tests.listener.support import Subscriber

RECORD = "insert into parley.messages (chat_id, user_id, content) select %s, 'x', n::text from generate_series(1, %s) n"


def send(connection: Connection, chat: str, content: str) -> dict[str, Any]:
    sent: dict[str, Any] = call(connection, "owner", "send_message", chat, {"content": content})
    return sent


def private(chat: str) -> str:
    return f"private-chat-{chat}"


def contents(subscriber: Subscriber) -> list[str]:
    return [data["content"] for data in subscriber.heard("message:sent")]


def record_badly(connection: Connection, chat: str, event: str, payload: str = '"x"') -> int:
    """An event that Pusher will refuse, as a DBA could record it; answers its id."""
    row = connection.execute(
        "with event as (insert into parley.outbox (chat_id, seq, event, payload) select id, seq + 1, %s, %s::json"
        " from parley.chats where id = %s returning id, chat_id), queued as (insert into parley.outbox_queue"
        " select id, chat_id from event), taken as (update parley.chats set seq = seq + 1 where id = %s)"
        " select id from event",
        [event, payload, chat, chat],
    ).fetchone()
    assert row is not None
    return int(row[0])
