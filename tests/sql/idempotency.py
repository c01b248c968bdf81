"""Statements of `POST` routes with an idempotency key, and the keys that are stored."""

import hashlib
import json
from typing import Any

import psycopg

from api.routes import CHAT, MESSAGES, ROUTES
from tests.database import Connection, call

STATEMENTS = {(route.method, route.path): route.statement for route in ROUTES}
CHATS = CHAT.rpartition("/")[0]
KEY = "8e03978e-40d5-43e8-bc93-6894a57f9324"
BAD_KEY = "must be given once, as 1 to 255 visible ASCII characters, in quotes or without"


def post(
    connection: Connection, user: str | dict[str, Any], path: str, *arguments: Any, key: str | None
) -> tuple[str, bool]:
    """Execute the statement of a `POST`; return the response as text, and whether it is replayed."""
    identity = json.dumps(user if isinstance(user, dict) else {"sub": user})
    fingerprint = hashlib.sha256(repr((path, arguments)).encode()).digest()
    values = [json.dumps(value).encode() if isinstance(value, dict) else value for value in arguments]
    values += [None] * (path == "/api/pusher/auth")  # channel_name[]
    query = f"select response::text, is_replayed from ({STATEMENTS['POST', path]}) result (response, is_replayed)"
    with connection.transaction():
        row = psycopg.RawCursor(connection).execute(query, [identity, None, key, fingerprint, *values]).fetchone()
    assert row is not None
    response, is_replayed = row
    return response, is_replayed


def send(connection: Connection, user: str, chat: str, key: str | None, content: str = "Hello") -> tuple[str, bool]:
    """Send a message with a key, or without; return as post() does."""
    return post(connection, user, MESSAGES, chat, {"content": content}, key=key)


def count_messages(connection: Connection, user: str, chat: str) -> int:
    """Return the number of messages in a chat."""
    total: int = call(connection, user, "list_messages", chat)["total"]
    return total


def stored_keys(connection: Connection, user: str) -> list[str]:
    """Return the keys of the stored responses of a user, sorted."""
    rows = connection.execute("select key from parley.idempotency_keys where user_id = %s", [user])
    return sorted(key for (key,) in rows)


def purge_keys(connection: Connection, max_keys: int) -> int:
    """Purge up to so many expired keys; return their number."""
    row = connection.execute("select listener.purge_idempotency_keys(%s)", [max_keys]).fetchone()
    assert row is not None
    return int(row[0])
