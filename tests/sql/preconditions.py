"""Calls of `api` functions with preconditions, and the resources that have a version."""

import json
from typing import Any

from tests.database import Connection, call, new_chat
from tests.tokens import new_user


def asked(
    connection: Connection, user: str, function: str, *arguments: Any, match: str | None = None, none: str | None = None
) -> tuple[Any, str]:
    """What an `api` function answers to a user with If-Match and If-None-Match, and the ETag that it tells."""
    values = [json.dumps(a) if isinstance(a, dict) else a for a in arguments]
    statement = (
        f"select api.{function}({', '.join(['%s'] * len(values))}), current_setting('response.etag', true)"
        " from session.authenticate(%s, null, %s, %s)"
    )
    with connection.transaction():
        row = connection.execute(statement, [*values, json.dumps({"sub": user}), match, none]).fetchone()
    assert row is not None
    return row[0], row[1]


def chat_of_two(connection: Connection) -> tuple[str, str, str, str]:
    owner, member = new_user(), new_user()
    chat = new_chat(connection, owner, member)
    return chat, call(connection, owner, "send_message", chat, {"content": "hello"})["id"], owner, member


def reads(chat: str, message: str) -> dict[str, list[Any]]:
    """Everything that has a version, and how to ask for it."""
    return {
        "get_chat": [chat], "list_messages": [chat], "get_message": [chat, message],
        "get_profile": [], "get_settings": [],
    }  # fmt: skip
