"""What clients of any version do: requests of the API, calls of the listener, and a writer in the background."""

from threading import Event, Thread
from types import TracebackType
from typing import Any, Self

import psycopg

from tests.database import Connection, add_member, call, new_chat
from tests.sql.outbox import fetch_publications
from tests.tokens import new_user
from tests.waiting import wait_until

# As api/db does, a request is repeated once if a schema change made it fail.
SCHEMA_CHANGES = (
    psycopg.errors.UndefinedFunction,
    psycopg.errors.UndefinedColumn,
    psycopg.errors.UndefinedTable,
    psycopg.errors.DatatypeMismatch,
    psycopg.errors.InternalError_,
)
COUNTS = """
    select c.message_count, (select count(*) from parley.messages m where m.chat_id = c.id),
        (select count(*) from parley.outbox o where o.chat_id = c.id and o.event = 'message:sent')
    from parley.chats c where c.id = %s
"""


def use_api(connection: Connection) -> None:
    """Create a chat, and send, edit, find and delete messages in it."""
    owner, member = new_user(), new_user()
    chat = new_chat(connection, owner, member)
    first = call(connection, owner, "send_message", chat, {"content": "a rare giraffe"})
    second = call(connection, member, "send_message", chat, {"content": "f()", "type": "code"})
    call(connection, owner, "update_message", chat, first["id"], {"content": "a rarer giraffe"})
    assert call(connection, member, "list_messages", chat, search="giraffe")["total"] == 1
    call(connection, member, "delete_message", chat, second["id"])
    call(connection, owner, "update_chat", chat, {"title": "Animals"})
    call(connection, owner, "update_settings", {"settings": {"theme": "dark"}})
    assert call(connection, owner, "get_chat", chat)["title"] == "Animals"
    assert call(connection, member, "list_chats")["total"] == 1
    assert {"message:sent", "message:updated", "message:deleted", "chat:updated"} <= {
        event["event"] for event in call(connection, member, "list_chat_events", chat, after="0")["events"]
    }
    call(connection, owner, "remove_member", chat, member)
    call(connection, owner, "delete_chat", chat)


def use_listener(connection: Connection) -> None:
    """Fetch, acknowledge and dead-letter events, and do the maintenance of each minute."""
    published = fetch_publications(connection, after_chat=None)
    acked = sorted({row["id"] for row in published if row["id"]})
    assert acked
    connection.execute("select listener.dead_letter(%s, 'HTTP 400')", [acked[-1]])
    fetch_publications(connection, after_chat=None, acked=acked[:-1])
    for statement in (
        "health()", "purge_deleted_chats(1000)", "purge_memberships(1000)", "purge_idempotency_keys(1000)",
        "purge_events('1 week', 1000)", "roll_up(1000)", "roll_up_chats_and_settings()",
    ):  # fmt: skip
        connection.execute(f"select listener.{statement}")


def use_all(url: str) -> None:
    """Use the functions of the API and of the listener."""
    with psycopg.connect(url, autocommit=True) as connection:
        use_api(connection)
        use_listener(connection)


class Writer:
    """A thread that sends messages in one chat for a block, and records the errors of each."""

    def __init__(self, url: str) -> None:
        self.errors: list[psycopg.Error] = []
        self.sent = 0
        self._user, self._stop = new_user(), Event()
        self._connection = psycopg.connect(url, autocommit=True)
        call(self._connection, self._user, "get_settings")
        self._chat = new_chat(self._connection, self._user)
        add_member(self._connection, self._user, self._chat, new_user())
        self._thread = Thread(target=self._write)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._stop.set()
        self._thread.join()

    def wait_until_sent(self, messages: int) -> None:
        """Wait until a number of messages have been sent."""
        wait_until(lambda: self.sent >= messages)

    def assert_complete(self) -> None:
        """Assert that each message that was sent is stored, counted and recorded as an event."""
        assert self.sent > 0
        assert self._connection.execute(COUNTS, [self._chat]).fetchone() == (self.sent, self.sent, self.sent)
        self._connection.close()

    def _write(self) -> None:
        while not self._stop.is_set():
            try:
                try:
                    self._send()
                except SCHEMA_CHANGES:
                    self._send()
                self.sent += 1
            except psycopg.Error as error:
                self.errors.append(error)

    def _send(self) -> Any:
        return call(self._connection, self._user, "send_message", self._chat, {"content": f"message {self.sent}"})
