"""Call `api` functions with preconditions; the functions whose responses have an entity tag."""

import json
from typing import Any

from tests.database import Connection, call, new_chat
from tests.tokens import new_user


def call_with_preconditions(
    connection: Connection,
    user: str,
    function: str,
    *arguments: Any,
    if_match: str | None = None,
    if_none_match: str | None = None,
) -> tuple[Any, str]:
    """Call an `api` function as a user; return its result and the entity tag of its response."""
    values = [json.dumps(a) if isinstance(a, dict) else a for a in arguments]
    statement = (
        f"select api.{function}({', '.join(['%s'] * len(values))}), current_setting('response.etag', true)"
        " from session.authenticate(%s, null, %s, %s)"
    )
    with connection.transaction():
        row = connection.execute(statement, [*values, json.dumps({"sub": user}), if_match, if_none_match]).fetchone()
    assert row is not None
    return row[0], row[1]


def new_chat_with_member(connection: Connection) -> tuple[str, str, str, str]:
    """Create a chat with a message of its owner; return the ids of the chat, the message, the owner and a member."""
    owner, member = new_user(), new_user()
    chat = new_chat(connection, owner, member)
    return chat, call(connection, owner, "send_message", chat, {"content": "hello"})["id"], owner, member


def read_calls(chat: str, message: str) -> dict[str, list[Any]]:
    """Return the functions whose responses have an entity tag, with the arguments of a call."""
    return {
        "get_chat": [chat], "list_messages": [chat], "get_message": [chat, message],
        "get_profile": [], "get_settings": [],
    }  # fmt: skip


READ_FUNCTIONS = tuple(read_calls(chat="", message=""))
