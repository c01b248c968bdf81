"""The views of schema analytics on chats, settings and health, and what reading the views costs."""

import re
from datetime import UTC, datetime, timedelta

from tests.database import Connection, call, new_chat, roll_up
from tests.sql.sent_messages import SentMessage, insert_message
from tests.tokens import new_user

# A scan of a table in the output of EXPLAIN.
SCAN = re.compile(r"(?<!Subquery )(?<!Function )(?:Scan|Only Scan)(?: Backward)?(?: using \w+)? on (\w+)")


def test_chats_by_size_and_age(own_dba: Connection) -> None:
    sent: list[SentMessage] = []
    now = datetime.now(UTC)
    own_dba.execute("set session_replication_role = replica")
    for days, size in ((-3, 1), (0, 0), (0, 9), (8, 10), (40, 101), (200, 1)):
        chat = own_dba.execute(
            "select parley.generate_uuid7(%s, 1)", [now - timedelta(days=days, minutes=5)]
        ).fetchone()[0]  # type: ignore[index]
        own_dba.execute("insert into parley.chats (id, title, updated_at) values (%s, 'A chat', now())", [chat])
        own_dba.execute("insert into parley.members (chat_id, user_id) values (%s, 'a'), (%s, 'b')", [chat, chat])
        for n in range(size):
            insert_message(
                own_dba, sent, chat, "a", "text", now - timedelta(days=days, minutes=4) + timedelta(milliseconds=n)
            )
    own_dba.execute("reset session_replication_role")
    own_dba.execute("select parley.recount_chat(id) from parley.chats")
    roll_up(own_dba)
    rows = own_dba.execute("select * from analytics.chats_by_size_and_age order by 1, 2").fetchall()
    assert [row[:-1] for row in rows] == [
        (0, 0, 1, 0, 0, 0, 2), (0, 1, 2, 0, 10, 0, 4), (7, 10, 1, 0, 10, 0, 2), (30, 100, 1, 1, 101, 101, 2),
        (180, 1, 1, 1, 1, 1, 2),
    ]  # fmt: skip
    assert rows[0][-1] > now
    own_dba.execute("update parley.chats set is_being_removed = true")
    own_dba.execute("update parley.rollup_state set chats_and_settings_as_of = now() - interval '59 minutes'")
    roll_up(own_dba)
    assert own_dba.execute("select from analytics.chats_by_size_and_age").rowcount == 5  # recounted each hour
    own_dba.execute("update parley.rollup_state set chats_and_settings_as_of = now() - interval '61 minutes'")
    roll_up(own_dba)
    assert own_dba.execute("select from analytics.chats_by_size_and_age").rowcount == 0


def test_settings_of_fewer_than_five_users_are_null(own_dba: Connection) -> None:
    for n in range(6):
        user = new_user()
        model = "gpt-large 4.1" if n < 5 else "ada@example.org"
        settings = {"model": model, "runtime": "me@here.example", "theme": "dark"}
        call(own_dba, user, "update_settings", {"settings": settings})
    for n in range(4):
        call(own_dba, new_user(), "update_settings", {"settings": {"model": f"gpt-small {n // 4}"}})
    roll_up(own_dba)
    query = "select value, users, share::float from analytics.settings_in_use where setting = %s order by 1"
    assert own_dba.execute(query, ["model"]).fetchall() == [("gpt-large 4.1", 5, 0.5), (None, 5, 0.5)]
    assert own_dba.execute(query, ["runtime"]).fetchall() == [(None, 10, 1.0)]
    assert own_dba.execute(query, ["theme"]).fetchall() == [("dark", 6, 0.6), (None, 4, 0.4)]
    call(own_dba, new_user(), "update_settings", {"settings": {"model": "gpt-small 0"}})
    own_dba.execute("update parley.rollup_state set chats_and_settings_as_of = null")
    roll_up(own_dba)
    assert [row[:2] for row in own_dba.execute(query, ["model"]).fetchall()] == [
        ("gpt-large 4.1", 5), ("gpt-small 0", 5), (None, 1),
    ]  # fmt: skip


def test_event_health(own_dba: Connection) -> None:
    view = "select waiting_events, lag_seconds, dead_letter_events, last_dead_lettered_at from analytics.event_health"
    assert own_dba.execute(view).fetchall() == [(0, 0, 0, None)]
    chat = new_chat(own_dba, "owner")
    own_dba.execute("delete from parley.outbox_queue")  # The creation of the chat is published.
    for _ in range(3):
        call(own_dba, "owner", "send_message", chat, {"content": "word"})
    own_dba.execute("update parley.outbox set recorded_at = recorded_at - interval '1 minute' where seq = 2")
    (row,) = own_dba.execute(view).fetchall()
    assert (row[0], row[2]) == (3, 0)
    assert 60 < row[1] < 120
    own_dba.execute("select listener.dead_letter((select min(id) from parley.outbox_queue), 'HTTP 413: too large')")
    (row,) = own_dba.execute(view).fetchall()
    assert (row[0], row[2]) == (2, 1)
    assert row[1] < 60
    assert row[3] is not None
    # As if the clock had been set back since.
    own_dba.execute("update parley.outbox set recorded_at = recorded_at + interval '1 hour'")
    assert [row[:2] for row in own_dba.execute(view).fetchall()] == [(2, 0)]
    for function in ("health", "outbox_health"):
        health = own_dba.execute(f"select waiting_events, lag_seconds from listener.{function}()").fetchall()
        assert health == [(2, 0)]


def test_settings_are_counted_after_the_clock_was_set_back(own_dba: Connection) -> None:
    roll_up(own_dba)
    counted = (
        "select from parley.rollup_state where chats_and_settings_as_of between now() - interval '1 minute' and now()"
    )
    for as_of, is_counted in (("now() + interval '3 hours'", True), ("now() - interval '59 minutes'", False)):
        own_dba.execute(f"update parley.rollup_state set chats_and_settings_as_of = {as_of}")
        roll_up(own_dba)
        assert own_dba.execute(counted).rowcount == is_counted


def test_search_health(own_dba: Connection) -> None:
    chat = new_chat(own_dba, "owner")
    for _ in range(3):
        call(own_dba, "owner", "send_message", chat, {"content": "word"})
    call(own_dba, "owner", "list_messages", chat, search="word")
    own_dba.execute("vacuum analyze parley.message_words")
    (row,) = own_dba.execute("select messages, table_bytes, index_bytes from analytics.search_health").fetchall()
    assert row[0] == 3
    assert row[1] > 8192
    assert row[2] > 8192
    pending = "select pending_messages from analytics.search_health"
    assert own_dba.execute(pending).fetchone() == (0,)


def test_views_read_only_rollups(own_dba: Connection) -> None:
    call(own_dba, "owner", "send_message", new_chat(own_dba, "owner"), {"content": "word"})
    roll_up(own_dba)
    views = own_dba.execute("select viewname from pg_views where schemaname = 'analytics'").fetchall()
    assert len(views) >= 12
    for (view,) in views:
        plan = "\n".join(row[0] for row in own_dba.execute(f"explain select * from analytics.{view}").fetchall())
        read = {name for name in SCAN.findall(plan) if not name.startswith(("rollup_", "pg_"))}
        expected = {"event_health": {"outbox", "outbox_queue"}, "dead_letter_events": {"outbox"}}
        assert read <= expected.get(view, set()), plan
        cost = re.search(r"\.\.(\d+)", plan)
        assert cost
        assert int(cost[1]) < 50_000, plan  # half of jit_above_cost


def test_each_message_type_has_a_column(dba: Connection) -> None:
    row = dba.execute("select rules.allowed_values('type')").fetchone()
    assert row
    for view in ("activity_by_hour", "activity_by_day"):
        columns = dba.execute(
            "select attname from pg_attribute"
            " where attrelid = ('analytics.' || %s)::regclass and attname like '%%_messages'",
            [view],
        ).fetchall()
        assert {name.removesuffix("_messages") for (name,) in columns} == set(row[0])
