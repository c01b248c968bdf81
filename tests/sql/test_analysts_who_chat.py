"""Analysts who are users too cannot recognize the rows of the users and chats with whom they exchange messages."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.database import Connection, call, new_chat, roll_up_to_now
from tests.sql.sent_messages import SentMessage, insert_message_and_event

TABLES = ("users", "chats")
CROWD = 4  # other users, each with a chat of their own


def read_rows(connection: Connection, relation: str, key: str) -> dict[Any, Any]:
    """Return all rows by their keys."""
    rows = connection.execute(f"select {key}, r.last_message_on, r.messages from {relation} r").fetchall()
    return {row[0]: row[1:] for row in rows}


def find_changed(connection: Connection, chat: str, relation: str, key: str) -> set[Any]:
    """Return the keys of the rows that change whenever the partner, and nobody else, sends a message."""
    suspects: set[Any] | None = None
    before = read_rows(connection, relation, key)
    for _ in range(3):
        call(connection, "partner", "send_message", chat, {"content": "hello"})
        roll_up_to_now(connection)
        after = read_rows(connection, relation, key)
        changed = {name for name in after if after[name] != before.get(name)}
        suspects = changed if suspects is None else suspects & changed
        before = after
    return suspects or set()


@pytest.fixture
def chat(own_dba: Connection) -> str:
    """The chat of an analyst and a partner, who like others have written on earlier days."""
    chats = [new_chat(own_dba, "partner", "analyst"), *(new_chat(own_dba, f"user {n}") for n in range(CROWD))]
    for n, each in enumerate(chats):
        for _ in range(7):
            call(own_dba, "partner" if n == 0 else f"user {n - 1}", "send_message", each, {"content": "hello"})
    roll_up_to_now(own_dba)
    for table in TABLES:
        own_dba.execute(f"update parley.rollup_{table} set last_message_on = last_message_on - 1")
    return chats[0]


@pytest.mark.parametrize("table", TABLES)
def test_polling_reveals_no_pseudonym(own_dba: Connection, chat: str, table: str) -> None:
    singular = table.removesuffix("s")
    subject = "partner" if table == "users" else chat
    row = own_dba.execute("select parley.pseudonym(%s, %s)", [singular, subject]).fetchone()
    assert row
    view, key = f"analytics.{table}", f"{singular}_key"
    shown = read_rows(own_dba, view, key)
    assert len(shown) == CROWD + 1
    assert {messages for _, messages in shown.values()} == {7}
    assert find_changed(own_dba, chat, f"parley.rollup_{table}", "key") == {row[0]}  # the attack, on exact counts
    assert find_changed(own_dba, chat, view, key) == set()
    assert read_rows(own_dba, view, key) == shown
    own_dba.execute("update parley.rollup_state set as_of = as_of + interval '1 day'")
    assert read_rows(own_dba, view, key)[row[0]][1] == 13


@pytest.mark.parametrize("table", TABLES)
def test_new_row_appears_on_the_next_day(own_dba: Connection, table: str) -> None:
    for user, messages in (("few", 4), ("many", 5)):
        chat = new_chat(own_dba, user)
        for _ in range(messages):
            call(own_dba, user, "send_message", chat, {"content": "hello"})
    roll_up_to_now(own_dba)
    counts = f"select messages from analytics.{table} order by messages"
    assert own_dba.execute(f"select from parley.rollup_{table}").rowcount == 2
    assert own_dba.execute(counts).fetchall() == []
    own_dba.execute("update parley.rollup_state set as_of = as_of + interval '1 day'")
    assert own_dba.execute(counts).fetchall() == [(5,), (None,)]


@pytest.mark.parametrize("table", TABLES)
def test_order_and_cost_reveal_no_pseudonym(own_dba: Connection, chat: str, table: str) -> None:
    singular, subject = table.removesuffix("s"), "partner" if table == "users" else chat
    key = f"{singular}_key"
    stored, shown = f"select key from parley.rollup_{table}", f"select {key} from analytics.{table}"
    own_dba.execute(
        f"update parley.rollup_{table} set key = key where key <> parley.pseudonym(%s, %s)", [singular, subject]
    )
    order = own_dba.execute(stored).fetchall()
    call(own_dba, "partner", "send_message", chat, {"content": "hello"})
    roll_up_to_now(own_dba)
    assert own_dba.execute(stored).fetchall() != order  # the attack: PostgreSQL has moved the row
    assert own_dba.execute(shown).fetchall() == sorted(order)
    row = own_dba.execute(f"explain (format json) {shown} where {key} = %s", [order[0][0]]).fetchone()
    assert row
    assert "Filter" in row[0][0]["Plan"]  # of all rows: a search in the table would read more pages after a change
    assert "Index Cond" not in str(row[0])


@pytest.mark.parametrize("table", TABLES)
def test_rows_stay_when_a_day_ends_while_messages_are_counted(own_dba: Connection, table: str) -> None:
    sent: list[SentMessage] = []
    chat = new_chat(own_dba, "partner", "analyst")
    roll_up_to_now(own_dba)
    now = datetime.now(UTC)
    own_dba.execute("set session_replication_role = replica")
    for days in (1, 1, 1, 1, 1, 0):
        insert_message_and_event(own_dba, sent, chat, "partner", "text", now - timedelta(days=days))
    own_dba.execute("reset session_replication_role")
    own_dba.execute("update parley.rollup_state set backfill_until = parley.min_uuid7(now() - interval '2 days')")
    own_dba.execute("update parley.rollup_state set cutoff_at = now() - interval '1 day', cutoff_event = null")
    for _ in range(2):
        own_dba.execute("select listener.roll_up(1000)")
    assert own_dba.execute(f"select from parley.rollup_{table}").rowcount == 0  # The counting has started again.
    own_dba.execute("select listener.roll_up(1000)")
    assert own_dba.execute(f"select messages from analytics.{table}").fetchall() == [(5,)]
