"""The views of schema analytics that count messages: each is counted as it was sent, also after its deletion."""

import itertools
import random
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

from tests.database import Connection, call, new_chat, roll_up
from tests.sql.sent_messages import (
    MONDAY,
    SentMessage,
    assert_views_match,
    day_of,
    insert_message,
    insert_message_and_event,
)
from tests.tokens import new_user


@pytest.mark.parametrize(("size", "time_zone"), [(1, "UTC"), (7, "America/New_York"), (1000, "Pacific/Auckland")])
def test_views_count_all_sent_messages(own_dba: Connection, size: int, time_zone: str) -> None:
    own_dba.execute("select set_config('timezone', %s, false)", [time_zone])
    chance = random.Random(size)  # noqa: S311 (no secret)
    sent: list[SentMessage] = []
    users = [new_user() for _ in range(6)]
    chats = [new_chat(own_dba, users[0]) for _ in range(4)]

    def insert_random(write: Callable[..., None], first: datetime, days: int, count: int, chats: list[str]) -> None:
        own_dba.execute("set session_replication_role = replica")
        for _ in range(count):
            at = first + timedelta(milliseconds=chance.randrange(days * 86_400_000))
            write(own_dba, sent, chance.choice(chats), chance.choice(users[: 2 + at.isocalendar().week % 5]),
                  chance.choice(["text", "text", "code", "image"]), at)  # fmt: skip
        own_dba.execute("reset session_replication_role")
        own_dba.execute("select parley.recount_chat(id) from parley.chats")

    insert_random(insert_message, MONDAY - timedelta(days=10), 60, 150, chats)
    assert roll_up(own_dba, size) > 1
    assert_views_match(own_dba, sent)
    assert roll_up(own_dba, size) <= 3
    assert_views_match(own_dba, sent)
    for chat, user in itertools.product(chats, users[1:]):
        call(own_dba, user, "list_chats")
        call(own_dba, users[0], "add_member", chat, {"userId": user})
    posted: list[tuple[str, dict[str, Any]]] = []
    for _ in range(20):
        chat, user = chance.choice(chats), chance.choice(users)
        response = call(
            own_dba, user, "send_message", chat, {"content": "word", "type": chance.choice(["text", "code"])}
        )
        posted.append((chat, response))
        at = datetime.fromisoformat(response["createdAt"])
        sent.append(SentMessage(chat, response["id"], user, response["type"], at))
    call(own_dba, posted[0][1]["userId"], "update_message", posted[0][0], posted[0][1]["id"], {"type": "image"})
    roll_up(own_dba, size)
    assert_views_match(own_dba, sent)
    call(own_dba, users[0], "delete_message", posted[3][0], posted[3][1]["id"])
    call(own_dba, users[0], "delete_chat", chats[0])
    own_dba.execute("delete from next_auth.users where id = %s", [users[1]])
    roll_up(own_dba, size)
    assert_views_match(own_dba, sent)
    # From here on, messages are counted by their events, in any order, since their periods are not over.
    own_dba.execute(
        "update parley.rollup_state set backfill_until = parley.min_uuid7(%s)", [MONDAY + timedelta(days=70)]
    )
    insert_random(insert_message_and_event, MONDAY + timedelta(days=77), 20, 40, chats[1:])
    roll_up(own_dba, size)
    assert_views_match(own_dba, sent)


def test_deleted_messages_are_counted(own_dba: Connection) -> None:
    chat = new_chat(own_dba, "owner", "member")
    roll_up(own_dba)
    kept = call(own_dba, "owner", "send_message", chat, {"content": "word"})
    deleted = call(own_dba, "member", "send_message", chat, {"content": "word"})
    call(own_dba, "member", "delete_message", chat, deleted["id"])
    roll_up(own_dba)
    assert own_dba.execute("select messages, active_users from analytics.activity_by_day").fetchall() == [(2, 2)]
    call(own_dba, "owner", "delete_message", chat, kept["id"])
    call(own_dba, "owner", "delete_chat", chat)
    roll_up(own_dba)
    assert own_dba.execute("select messages, active_users from analytics.activity_by_day").fetchall() == [(2, 2)]


def test_reset_rollups_counts_all_existing_messages(own_dba: Connection) -> None:
    sent: list[SentMessage] = []
    chat = new_chat(own_dba, "owner")
    roll_up(own_dba)
    own_dba.execute("set session_replication_role = replica")
    for n in range(5):
        insert_message(own_dba, sent, chat, "owner" if n % 2 else "member", "text", MONDAY + timedelta(days=n))
    own_dba.execute("reset session_replication_role")
    own_dba.execute("select parley.recount_chat(%s)", [chat])
    roll_up(own_dba)
    assert own_dba.execute("select from analytics.activity_by_day").rowcount == 0
    for _ in range(2):
        own_dba.execute("select parley.reset_rollups()")
        roll_up(own_dba)
        assert_views_match(own_dba, sent)


def test_active_keys_are_purged_after_their_period(own_dba: Connection) -> None:
    sent: list[SentMessage] = []
    chat = new_chat(own_dba, "owner")
    own_dba.execute("set session_replication_role = replica")
    for n in range(0, 40, 5):
        insert_message(own_dba, sent, chat, "owner", "text", MONDAY + timedelta(days=n))
    own_dba.execute("reset session_replication_role")
    own_dba.execute("select parley.recount_chat(%s)", [chat])
    call(own_dba, "owner", "send_message", chat, {"content": "word"})
    roll_up(own_dba, 2)
    assert own_dba.execute("select from parley.rollup_active_keys").rowcount == 6  # of this hour, day and week
    for minutes, kept in ((59, 6), (61, 4)):
        own_dba.execute(
            "update parley.rollup_state set as_of = interval '1 hour' + %s * interval '1 minute'"
            " + (select max(starts_at) from parley.rollup_active_keys where grain = 'hour')", [minutes]
        )  # fmt: skip
        own_dba.execute("select parley.purge_active_keys()")
        assert own_dba.execute("select from parley.rollup_active_keys where grain = 'hour'").rowcount == kept - 4


def test_response_times(own_dba: Connection) -> None:
    sent: list[SentMessage] = []
    chat, other = new_chat(own_dba, "owner"), new_chat(own_dba, "owner")
    own_dba.execute("set session_replication_role = replica")
    seconds = [1, 2, 4, 8, 60, 60, 60, 60, 3600, 7 * 86_400 - 9000]
    at = MONDAY
    for n, gap in enumerate([0, *seconds]):
        at += timedelta(seconds=gap)
        insert_message(own_dba, sent, chat, "owner" if n % 2 else "member", "text", at)
    insert_message(own_dba, sent, chat, "owner" if n % 2 else "member", "text", at + timedelta(seconds=1))  # same user
    insert_message(own_dba, sent, other, "third", "text", MONDAY)
    insert_message(own_dba, sent, other, "owner", "text", MONDAY + timedelta(days=7, seconds=1))  # too late
    own_dba.execute("reset session_replication_role")
    own_dba.execute("select parley.recount_chat(id) from parley.chats")
    roll_up(own_dba)
    rows = own_dba.execute("select * from analytics.response_times_by_day order by day").fetchall()
    assert [row[:2] for row in rows] == [(day_of(MONDAY), 9), (day_of(at), 1)]
    assert 60 <= rows[0][2] <= 66
    assert 3600 <= rows[0][3] <= 3600 * 1.1
    assert float(rows[1][2]) / seconds[-1] == pytest.approx(1.045, abs=0.05)
    histogram = own_dba.execute(
        "select max_seconds, responses from analytics.response_times where day = %s order by 1", [day_of(MONDAY)]
    ).fetchall()
    assert [(float(bound), n) for bound, n in histogram[:4]] == [(1, 1), (2, 1), (4, 1), (8, 1)]
