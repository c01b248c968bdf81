"""SQL in tests: calls of API functions as a user, expected errors, and data that several tests need."""

import itertools
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import psycopg
import pytest

from tests.tokens import new_user
from tests.waiting import wait_until

Connection = psycopg.Connection[Any]
# The settings of a new user, and others, without those that a user cannot set.
DEFAULT_SETTINGS: dict[str, Any] = {
    "model": "default",
    "theme": "system",
    "context": "",
    "runtime": "default",
    "isPremium": False,
    "responseStyle": "detailed",
    "alwaysShowCode": False,
}
CHOSEN_SETTINGS: dict[str, Any] = {
    "model": "large",
    "theme": "dark",
    "context": "Be brief.",
    "runtime": "python3.11",
    "responseStyle": "concise",
    "alwaysShowCode": True,
}
NO_SUCH_ID = "01900000-0000-7000-8000-000000000000"


@contextmanager
def connect_rolled_back(url: str) -> Iterator[Connection]:
    """Connect, in a transaction that is rolled back; blocks of transaction() in it are savepoints."""
    with psycopg.connect(url, autocommit=True) as connection, connection.transaction(force_rollback=True):
        yield connection


def call(connection: Connection, user: str, function: str, *arguments: Any, **named: Any) -> Any:
    """Call an `api` function as a user; return its result. Bodies are dicts. A failed call is rolled back."""
    values = [json.dumps(a) if isinstance(a, dict | list) else a for a in (*arguments, *named.values())]
    placeholders = ["%s"] * len(arguments) + [f'"{name}" => %s' for name in named]
    statement = f"select api.{function}({', '.join(placeholders)}) from session.authenticate(%s)"
    with connection.transaction():
        row = connection.execute(statement, [*values, json.dumps({"sub": user})]).fetchone()
    assert row is not None
    return row[0]


def new_chat(connection: Connection, owner: str, *members: str, title: str = "A chat") -> str:
    """Create a chat of these users; return its id."""
    chat: str = call(connection, owner, "create_chat", {"title": title})["id"]
    for member in members:
        add_member(connection, owner, chat, member)
    return chat


def add_member(connection: Connection, owner: str, chat: str, user: str) -> Any:
    """Create the user, and add them to the chat."""
    call(connection, user, "get_settings")
    return call(connection, owner, "add_member", chat, {"userId": user})


@dataclass
class ExpectedError:
    """The error of a rejected call."""

    message: str = ""
    fields: dict[str, str] = field(default_factory=dict)


@contextmanager
def expect_error(status: int) -> Iterator[ExpectedError]:
    """Expect SQLSTATE PT<status>; the error is set at the end of the block."""
    error = ExpectedError()
    with pytest.raises(psycopg.Error) as caught:
        yield error
    assert caught.value.sqlstate == f"PT{status}", caught.value
    error.message = caught.value.diag.message_primary or ""
    error.fields = json.loads(caught.value.diag.message_detail or "{}").get("fields", {})


def roll_up(connection: Connection, max_messages: int = 1000) -> int:
    """Bring the analysts' views up to date, as far as open transactions allow; return the number of calls."""
    for calls in itertools.count(1):
        if connection.execute("select listener.roll_up(%s)", [max_messages]).fetchone() == (False,):
            connection.execute("select listener.roll_up_chats_and_settings()")
            return calls
    raise AssertionError


def roll_up_to_now(connection: Connection, max_messages: int = 1000) -> None:
    """Bring the analysts' views up to now, which waits for open transactions: autovacuum has them too."""
    now = connection.execute("select clock_timestamp()").fetchone()
    assert now

    def is_done() -> bool:
        roll_up(connection, max_messages)
        return connection.execute("select from parley.rollup_state where as_of > %s", now).rowcount == 1

    wait_until(is_done)


def add_session(connection: Connection, user: str, expires: str = "1 hour", session_token: str | None = None) -> str:
    """Create a database session as a web app does, and its user if needed; return its token."""
    session_token = new_user("session") if session_token is None else session_token
    connection.execute("insert into next_auth.users (id) values (%s) on conflict do nothing", [user])
    connection.execute(
        'insert into next_auth.sessions ("userId", expires, "sessionToken") values (%s, now() + %s::interval, %s)',
        [user, expires, session_token],
    )
    return session_token
