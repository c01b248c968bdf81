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
    connection: Connection, user: str | dict[str, Any], path: str, *arguments: Any, key: str | None, same: str = ""
) -> tuple[str, bool]:
    """What a POST is answered, to the byte, and whether that is a repetition; what fails is rolled back.

    `same` is what has to be the same in a repeat, in place of the arguments.
    """
    identity = json.dumps(user if isinstance(user, dict) else {"sub": user})
    fingerprint = hashlib.sha256((same or repr((path, arguments))).encode()).digest()
    values = [json.dumps(value).encode() if isinstance(value, dict) else value for value in arguments]
    query = f"select answer::text, is_repeated from ({STATEMENTS['POST', path]}) asked (answer, is_repeated)"
    with connection.transaction():
        row = psycopg.RawCursor(connection).execute(query, [identity, None, key, fingerprint, *values]).fetchone()
    assert row is not None
    answer, is_repeated = row
    return answer, is_repeated


def send(connection: Connection, user: str, chat: str, key: str | None, content: str = "Hello") -> tuple[str, bool]:
    """A message of this content, with a key."""
    return post(connection, user, MESSAGES, chat, {"content": content}, key=key)


def messages(connection: Connection, user: str, chat: str) -> int:
    """How many there are."""
    total: int = call(connection, user, "list_messages", chat)["total"]
    return total


def kept(connection: Connection, user: str) -> list[str]:
    """The keys of this user's answers, in the order of the alphabet."""
    rows = connection.execute("select key from parley.idempotency_keys where user_id = %s", [user])
    return sorted(key for (key,) in rows)


def removed(connection: Connection, most: int) -> int:
    """How many old answers go, of so many at most."""
    row = connection.execute("select listener.purge_idempotency_keys(%s)", [most]).fetchone()
    assert row is not None
    return int(row[0])
