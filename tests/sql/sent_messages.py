"""Messages that a test has sent, and what the views of schema analytics must show of them."""

import itertools
import json
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from tests.database import Connection

MONDAY = datetime(2026, 3, 2, tzinfo=UTC)
_numbers = itertools.count(1)


@dataclass
class SentMessage:
    """A message as it was sent."""

    chat: str
    id: str
    user: str
    type: str
    at: datetime


def insert_message(
    connection: Connection, sent: list[SentMessage], chat: str, user: str, type_: str, at: datetime
) -> None:
    """Insert a message with a time in the past, as a DBA loads it."""
    row = connection.execute(
        "insert into parley.messages (chat_id, id, user_id, type, content, updated_at)"
        " values (%s, parley.generate_uuid7(%s, %s), %s, %s, 'word', now()) returning id::text",
        [chat, at, next(_numbers), user, type_],
    ).fetchone()
    assert row
    sent.append(SentMessage(chat, row[0], user, type_, at))


def insert_message_and_event(
    connection: Connection, sent: list[SentMessage], chat: str, user: str, type_: str, at: datetime
) -> None:
    """Insert a message with a time in the past, and its event."""
    insert_message(connection, sent, chat, user, type_, at)
    payload = {"id": sent[-1].id, "type": type_, "userId": user, "content": "word"}
    connection.execute(
        "insert into parley.outbox (chat_id, seq, event, payload) values (%s, 1, 'message:sent', %s)",
        [chat, json.dumps(payload)],
    )


def day_of(at: datetime) -> date:
    """Return the day in UTC."""
    return at.astimezone(UTC).date()


def week_of(at: datetime) -> date:
    """Return the Monday of the week in UTC."""
    return day_of(at) - timedelta(days=day_of(at).weekday())


def expected_periods(sent: list[SentMessage], start_of: Callable[[datetime], Any]) -> dict[Any, tuple[int, ...]]:
    """Return the numbers of messages, of those of each type, of users and of chats in each period."""
    by_period: defaultdict[Any, list[SentMessage]] = defaultdict(list)
    for message in sent:
        by_period[start_of(message.at)].append(message)
    return {
        period: (
            len(messages),
            *(sum(m.type == type_ for m in messages) for type_ in ("text", "code", "image")),
            len({m.user for m in messages}),
            len({m.chat for m in messages}),
        )
        for period, messages in by_period.items()
    }


def read_periods(connection: Connection, view: str, column: str) -> dict[Any, tuple[int, ...]]:
    """Return the same numbers from a view."""
    rows = connection.execute(
        f"select {column}, messages, text_messages, code_messages, image_messages, active_users, active_chats"
        f" from analytics.{view}"
    ).fetchall()
    return {row[0]: row[1:] for row in rows}


def expected_retention(sent: list[SentMessage]) -> Counter[tuple[date, date]]:
    """Return the number of active users by cohort and week."""
    weeks: defaultdict[str, set[date]] = defaultdict(set)
    for message in sent:
        weeks[message.user].add(week_of(message.at))
    return Counter((min(active), week) for active in weeks.values() for week in active)


def expected_responses(sent: list[SentMessage]) -> Counter[date]:
    """Return the number of responses by day."""
    count: Counter[date] = Counter()
    in_order = sorted(sent, key=lambda m: (m.chat, m.id))
    for _, of_chat in itertools.groupby(in_order, key=lambda m: m.chat):
        for previous, message in itertools.pairwise(of_chat):
            if previous.user != message.user and message.at - previous.at <= timedelta(days=7):
                count[day_of(message.at)] += 1
    return count


def expected_rows(sent: list[SentMessage], key: str, today: date) -> dict[str, tuple[int | None, date]]:
    """Return the messages and the last day of each user or chat, without its last day if that is today."""
    days: defaultdict[str, list[date]] = defaultdict(list)
    for message in sent:
        days[getattr(message, key)].append(day_of(message.at))
    rows = {}
    for id_, of_key in days.items():
        shown = of_key if max(of_key) < today else [day for day in of_key if day < max(of_key)]
        if shown and max(shown) < today:
            rows[id_] = (len(shown) if len(shown) >= 5 else None, max(shown))
    return rows


def assert_views_match(connection: Connection, sent: list[SentMessage]) -> None:
    """Compare every view of sent messages with the messages."""
    assert read_periods(connection, "activity_by_hour", "hour") == expected_periods(
        sent, lambda at: at.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    )
    assert read_periods(connection, "activity_by_day", "day") == expected_periods(sent, day_of)
    assert_cohorts_match(connection, sent)
    responses = connection.execute("select day, responses from analytics.response_times_by_day").fetchall()
    assert dict(responses) == expected_responses(sent)
    row = connection.execute("select (as_of at time zone 'UTC')::date from parley.rollup_state").fetchone()
    assert row
    for view, key in (("users", "user"), ("chats", "chat")):
        expected = expected_rows(sent, key, row[0])
        found = connection.execute(
            f"select k.id, v.messages, v.last_message_on from analytics.{view} v"
            f" join unnest(%s::text[]) k (id) on v.{key}_key = parley.pseudonym(%s, k.id)",
            [list({getattr(message, key) for message in sent}), key],
        ).fetchall()
        assert {id_: (messages, day) for id_, messages, day in found} == expected
        assert connection.execute(f"select count(*) from analytics.{view}").fetchone() == (len(expected),)


def assert_cohorts_match(connection: Connection, sent: list[SentMessage]) -> None:
    """Compare the views of retention and growth with the messages."""
    retention = expected_retention(sent)
    rows = connection.execute("select cohort, week, active_users from analytics.retention_by_cohort").fetchall()
    assert {(cohort, week): users for cohort, week, users in rows if users} == retention
    assert len({row[:2] for row in rows}) == len(rows)
    weeks = {week: row for week, *row in connection.execute(
        "select week, new_users, active_users, returning_users, active_chats, messages, cumulative_users"
        " from analytics.growth_by_week").fetchall()}  # fmt: skip
    for week, of_week in expected_periods(sent, week_of).items():
        new = retention[week, week]
        cumulative = sum(users for (cohort, at), users in retention.items() if cohort == at <= week)
        assert weeks[week] == [new, of_week[4], of_week[4] - new, of_week[5], of_week[0], cumulative]
