"""The analysts' views say what is so: each message is counted once, whatever is under way."""

import itertools
import json
import random
import re
import threading
from collections import Counter, defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

import psycopg
import pytest

from tests.support import Connection, call, new_chat, new_user, next_millisecond, roll_up, roll_up_to_now, wait_until

MONDAY = datetime(2026, 3, 2, tzinfo=UTC)
_numbers = itertools.count(1)


@dataclass
class Message:
    """What was sent."""

    chat: str
    id: str
    user: str
    type: str
    at: datetime


@dataclass
class Log:
    """Every message that was sent, whatever became of it."""

    messages: list[Message] = field(default_factory=list)


def add(connection: Connection, log: Log, chat: str, user: str, type_: str, at: datetime) -> None:
    """A message of the past, as a DBA loads it."""
    row = connection.execute(
        "insert into parley.messages (chat_id, id, user_id, type, content, updated_at)"
        " values (%s, parley.generate_uuid7(%s, %s), %s, %s, 'word', now()) returning id::text",
        [chat, at, next(_numbers), user, type_],
    ).fetchone()
    assert row
    log.messages.append(Message(chat, row[0], user, type_, at))


def record(connection: Connection, log: Log, chat: str, user: str, type_: str, at: datetime) -> None:
    """A message and its event, as of another time."""
    add(connection, log, chat, user, type_, at)
    payload = {"id": log.messages[-1].id, "type": type_, "userId": user, "content": "word"}
    connection.execute(
        "insert into parley.outbox (chat_id, seq, event, payload) values (%s, 1, 'message:sent', %s)",
        [chat, json.dumps(payload)],
    )


def day_of(at: datetime) -> date:
    return at.astimezone(UTC).date()


def week_of(at: datetime) -> date:
    return day_of(at) - timedelta(days=day_of(at).weekday())


def expected_periods(log: Log, start: Callable[[datetime], Any]) -> dict[Any, tuple[int, ...]]:
    """messages, text, code, image, users, chats by what `start` says of a time."""
    by_period: defaultdict[Any, list[Message]] = defaultdict(list)
    for message in log.messages:
        by_period[start(message.at)].append(message)
    return {
        period: (
            len(them),
            *(sum(m.type == type_ for m in them) for type_ in ("text", "code", "image")),
            len({m.user for m in them}),
            len({m.chat for m in them}),
        )
        for period, them in by_period.items()
    }


def periods(connection: Connection, view: str, column: str) -> dict[Any, tuple[int, ...]]:
    """The same from a view."""
    rows = connection.execute(
        f"select {column}, messages, text_messages, code_messages, image_messages, active_users, active_chats"
        f" from analytics.{view}"
    ).fetchall()
    return {row[0]: row[1:] for row in rows}


def expected_retention(log: Log) -> Counter[tuple[date, date]]:
    """How many users of a cohort were active in a week."""
    weeks: defaultdict[str, set[date]] = defaultdict(set)
    for message in log.messages:
        weeks[message.user].add(week_of(message.at))
    return Counter((min(theirs), week) for theirs in weeks.values() for week in theirs)


def expected_responses(log: Log) -> Counter[date]:
    """How many messages came after somebody else's, by day."""
    count: Counter[date] = Counter()
    for _, group in itertools.groupby(sorted(log.messages, key=lambda m: (m.chat, m.id)), key=lambda m: m.chat):
        for before, message in itertools.pairwise(group):
            if before.user != message.user and message.at - before.at <= timedelta(days=7):
                count[day_of(message.at)] += 1
    return count


def check(connection: Connection, log: Log) -> None:
    """Holds every view of what was sent against the log."""
    assert periods(connection, "activity_by_hour", "hour") == expected_periods(
        log, lambda at: at.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    )
    assert periods(connection, "activity_by_day", "day") == expected_periods(log, day_of)
    retention = expected_retention(log)
    rows = connection.execute("select cohort, week, active_users from analytics.retention_by_cohort").fetchall()
    assert {(cohort, week): users for cohort, week, users in rows if users} == retention
    assert len({row[:2] for row in rows}) == len(rows)
    weeks = {week: row for week, *row in connection.execute(
        "select week, new_users, active_users, returning_users, active_chats, messages, cumulative_users"
        " from analytics.growth_by_week").fetchall()}  # fmt: skip
    for week, of_week in expected_periods(log, week_of).items():
        new = retention[week, week]
        so_far = sum(users for (cohort, at), users in retention.items() if cohort == at <= week)
        assert weeks[week] == [new, of_week[4], of_week[4] - new, of_week[5], of_week[0], so_far]
    responses = connection.execute("select day, responses from analytics.response_times_by_day").fetchall()
    assert dict(responses) == expected_responses(log)
    for view, key in (("users", "user"), ("chats", "chat")):
        counts = Counter(getattr(message, key) for message in log.messages)
        last = {getattr(m, key): day_of(m.at) for m in sorted(log.messages, key=lambda m: m.at)}
        found = connection.execute(
            f"select k.id, v.messages, v.last_message_on from analytics.{view} v"
            f" join unnest(%s::text[]) k (id) on v.{key}_key = parley.pseudonym(%s, k.id)",
            [list(counts), key],
        ).fetchall()
        shown = {id_: (messages, day) for id_, messages, day in found}
        assert shown == {id_: (counts[id_], last[id_]) for id_ in counts}
        assert connection.execute(f"select count(*) from analytics.{view}").fetchone() == (len(counts),)


@pytest.mark.parametrize(("size", "time_zone"), [(1, "UTC"), (7, "America/New_York"), (1000, "Pacific/Auckland")])
def test_views_say_what_was_sent(own: Connection, size: int, time_zone: str) -> None:
    own.execute("select set_config('timezone', %s, false)", [time_zone])
    chance = random.Random(size)  # noqa: S311 (no secret)
    log = Log()
    users = [new_user() for _ in range(6)]
    chats = [new_chat(own, users[0]) for _ in range(4)]

    def some(write: Callable[..., None], first: datetime, days: int, count: int, chats: list[str]) -> None:
        own.execute("set session_replication_role = replica")
        for _ in range(count):
            at = first + timedelta(milliseconds=chance.randrange(days * 86_400_000))
            write(own, log, chance.choice(chats), chance.choice(users[: 2 + at.isocalendar().week % 5]),
                  chance.choice(["text", "text", "code", "image"]), at)  # fmt: skip
        own.execute("reset session_replication_role")
        own.execute("select parley.recount_chat(id) from parley.chats")

    some(add, MONDAY - timedelta(days=10), 60, 150, chats)
    assert roll_up(own, size) > 1
    check(own, log)
    assert roll_up(own, size) <= 3
    check(own, log)
    for chat, user in itertools.product(chats, users[1:]):
        call(own, user, "list_chats")
        call(own, users[0], "add_member", chat, {"userId": user})
    sent: list[tuple[str, dict[str, Any]]] = []
    for _ in range(20):
        chat, user = chance.choice(chats), chance.choice(users)
        answer = call(own, user, "send_message", chat, {"content": "word", "type": chance.choice(["text", "code"])})
        sent.append((chat, answer))
        at = datetime.fromisoformat(answer["createdAt"])
        log.messages.append(Message(chat, answer["id"], user, answer["type"], at))
    call(own, sent[0][1]["userId"], "update_message", sent[0][0], sent[0][1]["id"], {"type": "image"})
    roll_up(own, size)
    check(own, log)
    call(own, users[0], "delete_message", sent[3][0], sent[3][1]["id"])
    call(own, users[0], "delete_chat", chats[0])
    own.execute("delete from next_auth.users where id = %s", [users[1]])
    roll_up(own, size)
    check(own, log)
    # As if events had told of all since then; in any order, since no period is over for them.
    own.execute("update parley.rollup_state set backfill_until = parley.min_uuid7(%s)", [MONDAY + timedelta(days=70)])
    some(record, MONDAY + timedelta(days=77), 20, 40, chats[1:])
    roll_up(own, size)
    check(own, log)


def test_what_is_deleted_before_it_is_counted_was_sent_all_the_same(own: Connection) -> None:
    chat = new_chat(own, "owner", "member")
    roll_up(own)
    kept = call(own, "owner", "send_message", chat, {"content": "word"})
    gone = call(own, "member", "send_message", chat, {"content": "word"})
    call(own, "member", "delete_message", chat, gone["id"])
    roll_up(own)
    assert own.execute("select messages, active_users from analytics.activity_by_day").fetchall() == [(2, 2)]
    call(own, "owner", "delete_message", chat, kept["id"])
    call(own, "owner", "delete_chat", chat)
    roll_up(own)
    assert own.execute("select messages, active_users from analytics.activity_by_day").fetchall() == [(2, 2)]


def test_as_of_is_true_whatever_is_under_way(own: Connection, own_url: str) -> None:
    early, late = new_chat(own, "owner"), new_chat(own, "owner")
    counted = "select coalesce(sum(messages), 0), max(as_of) from analytics.activity_by_hour"
    with psycopg.connect(own_url) as writer:
        writer.execute("select")
        call(writer, "owner", "send_message", early, {"content": "of before"})
        roll_up(own)  # from here on, messages are counted by their events
        call(own, "owner", "send_message", late, {"content": "of before, too"})
        roll_up(own)
        assert own.execute(counted).fetchone() == (0, None)
        writer.commit()
        roll_up(own)
        assert own.execute(counted).fetchone()[0] == 2  # type: ignore[index]
        next_millisecond()
        writer.execute("select")
        call(writer, "owner", "send_message", early, {"content": "first"})
        sent = call(own, "owner", "send_message", late, {"content": "second"})
        next_millisecond()
        for _ in range(2):
            roll_up(own)
            messages, as_of = own.execute(counted).fetchone()  # type: ignore[misc]
            assert messages == 2
            assert as_of < datetime.fromisoformat(sent["createdAt"])
        writer.rollback()
        writer.execute("select")
        call(writer, "owner", "send_message", early, {"content": "third"})
        for _ in range(2):
            roll_up(own)
            assert own.execute(counted).fetchone() == (2, as_of)
        writer.commit()
    roll_up(own)
    messages, as_of = own.execute(counted).fetchone()  # type: ignore[misc]
    assert messages == 4
    assert as_of > datetime.fromisoformat(sent["createdAt"])


def test_who_read_the_clock_and_has_no_event_yet_is_waited_for(own: Connection, own_url: str) -> None:
    chat = new_chat(own, "owner")
    roll_up_to_now(own)
    waiting = "select from pg_locks where not granted and relation = 'parley.outbox'::regclass"
    with psycopg.connect(own_url) as other, ThreadPoolExecutor(1) as thread:
        other.execute("lock table parley.outbox in share mode")
        with psycopg.connect(own_url, autocommit=True) as writer:
            sending = thread.submit(call, writer, "owner", "send_message", chat, {"content": "word"})
            wait_until(lambda: own.execute(waiting).rowcount == 1)
            next_millisecond()
            roll_up(own)
            other.rollback()
            sent_at = datetime.fromisoformat(sending.result()["createdAt"])
    roll_up(own)
    (as_of,) = own.execute("select as_of from parley.rollup_state").fetchone()  # type: ignore[misc]
    assert as_of > sent_at
    assert own.execute("select messages from analytics.activity_by_day").fetchall() == [(1,)]


def test_as_of_comes_with_the_last_of_what_was_sent_before(own: Connection) -> None:
    chat = new_chat(own, "owner")
    roll_up_to_now(own)
    as_of = "select as_of from parley.rollup_state"
    before = own.execute(as_of).fetchone()
    for _ in range(3):
        call(own, "owner", "send_message", chat, {"content": "word"})
    counted = "select coalesce(sum(messages), 0)::int from analytics.activity_by_day"
    seen = set()
    while own.execute("select listener.roll_up(1)").fetchone() == (True,):
        seen.add((own.execute(counted).fetchone(), own.execute(as_of).fetchone() == before))
    assert seen >= {((1,), True), ((2,), True)}
    assert own.execute(counted).fetchone() == (3,)
    assert own.execute(as_of).fetchone() != before


def test_history_ends_with_a_millisecond_as_messages_have_it(own: Connection) -> None:
    own.execute("""
        do $$ begin
            for n in 1 .. 100 loop
                perform parley.reset_rollups();
                commit;
                perform listener.roll_up(1);
                assert (select rules.uuid7_timestamp(s.backfill_until) <= clock_timestamp() from parley.rollup_state s);
                commit;
            end loop;
        end $$""")  # fmt: skip


def test_each_message_is_counted_once_while_others_write(own: Connection, own_url: str) -> None:
    users = [new_user() for _ in range(4)]
    chats = [new_chat(own, user) for user in users]
    done = threading.Event()
    roll_up(own)

    def write(n: int) -> None:
        with psycopg.connect(own_url, autocommit=n % 2 == 0) as connection:
            for k in range(60):
                connection.execute("select")
                sent = call(connection, users[n], "send_message", chats[n], {"content": "word"})
                if k % 5 == 0:
                    call(connection, users[n], "delete_message", chats[n], sent["id"])
                if n % 2 and k % 7 == 0:
                    connection.commit()

    def count() -> None:
        with psycopg.connect(own_url, autocommit=True) as connection:
            while not done.is_set():
                connection.execute("select listener.roll_up(9)")

    with ThreadPoolExecutor(6) as threads:
        counters = [threads.submit(count) for _ in range(2)]
        list(threads.map(write, range(4)))
        done.set()
        for counter in counters:
            counter.result()
    roll_up_to_now(own)
    assert own.execute("select sum(messages) from analytics.activity_by_hour").fetchone() == (240,)
    assert own.execute("select sum(messages) from analytics.users").fetchone() == (240,)
    by_week = "select distinct active_users, active_chats from analytics.growth_by_week"
    assert own.execute(by_week).fetchall() == [(4, 4)]


def test_one_counts_at_a_time_and_nobody_waits(own: Connection, own_url: str) -> None:
    with psycopg.connect(own_url) as other:
        other.execute("select listener.roll_up(100)")
        own.execute("set statement_timeout = '5s'")
        assert own.execute("select listener.roll_up(100)").fetchone() == (False,)
        other.rollback()
    assert own.execute("select listener.roll_up(100)").fetchone() == (True,)


def test_counting_goes_on_in_a_cluster_that_has_used_fewer_transactions(own: Connection) -> None:
    chat = new_chat(own, "owner")
    roll_up(own)
    call(own, "owner", "send_message", chat, {"content": "word"})
    own.execute("select listener.roll_up(100)")
    own.execute("update parley.rollup_state set barrier_transaction = '99999999999'")
    roll_up(own)
    roll_up(own)
    assert own.execute("select messages from analytics.activity_by_day").fetchall() == [(1,)]


def test_a_dba_has_all_counted_anew(own: Connection) -> None:
    log = Log()
    chat = new_chat(own, "owner")
    roll_up(own)
    own.execute("set session_replication_role = replica")
    for n in range(5):
        add(own, log, chat, "owner" if n % 2 else "member", "text", MONDAY + timedelta(days=n))
    own.execute("reset session_replication_role")
    own.execute("select parley.recount_chat(%s)", [chat])
    roll_up(own)
    assert own.execute("select from analytics.activity_by_day").rowcount == 0
    for _ in range(2):
        own.execute("select parley.reset_rollups()")
        roll_up(own)
        check(own, log)


def test_who_was_seen_is_forgotten_with_the_period(own: Connection) -> None:
    log = Log()
    chat = new_chat(own, "owner")
    own.execute("set session_replication_role = replica")
    for n in range(0, 40, 5):
        add(own, log, chat, "owner", "text", MONDAY + timedelta(days=n))
    own.execute("reset session_replication_role")
    own.execute("select parley.recount_chat(%s)", [chat])
    call(own, "owner", "send_message", chat, {"content": "word"})
    roll_up(own, 2)
    assert own.execute("select from parley.rollup_active_keys").rowcount == 6  # of this hour, day and week
    for minutes, seen in ((59, 6), (61, 4)):
        own.execute(
            "update parley.rollup_state set as_of = interval '1 hour' + %s * interval '1 minute'"
            " + (select max(starts_at) from parley.rollup_active_keys where grain = 'hour')", [minutes]
        )  # fmt: skip
        own.execute("select parley.purge_active_keys()")
        assert own.execute("select from parley.rollup_active_keys where grain = 'hour'").rowcount == seen - 4


def test_times_of_responses(own: Connection) -> None:
    log = Log()
    chat, other = new_chat(own, "owner"), new_chat(own, "owner")
    own.execute("set session_replication_role = replica")
    seconds = [1, 2, 4, 8, 60, 60, 60, 60, 3600, 7 * 86_400 - 9000]
    at = MONDAY
    for n, gap in enumerate([0, *seconds]):
        at += timedelta(seconds=gap)
        add(own, log, chat, "owner" if n % 2 else "member", "text", at)
    add(own, log, chat, "owner" if n % 2 else "member", "text", at + timedelta(seconds=1))  # of one's own
    add(own, log, other, "third", "text", MONDAY)
    add(own, log, other, "owner", "text", MONDAY + timedelta(days=7, seconds=1))  # too late
    own.execute("reset session_replication_role")
    own.execute("select parley.recount_chat(id) from parley.chats")
    roll_up(own)
    rows = own.execute("select * from analytics.response_times_by_day order by day").fetchall()
    assert [row[:2] for row in rows] == [(day_of(MONDAY), 9), (day_of(at), 1)]
    assert 60 <= rows[0][2] <= 66
    assert 3600 <= rows[0][3] <= 3600 * 1.1
    assert float(rows[1][2]) / seconds[-1] == pytest.approx(1.045, abs=0.05)
    histogram = own.execute(
        "select max_seconds, responses from analytics.response_times where day = %s order by 1", [day_of(MONDAY)]
    ).fetchall()
    assert [(float(up_to), n) for up_to, n in histogram[:4]] == [(1, 1), (2, 1), (4, 1), (8, 1)]


def test_chats_by_size_and_age(own: Connection) -> None:
    log = Log()
    now = datetime.now(UTC)
    own.execute("set session_replication_role = replica")
    for days, size in ((-3, 1), (0, 0), (0, 9), (8, 10), (40, 101), (200, 1)):
        chat = own.execute("select parley.generate_uuid7(%s, 1)", [now - timedelta(days=days, minutes=5)]).fetchone()[0]  # type: ignore[index]
        own.execute("insert into parley.chats (id, title, updated_at) values (%s, 'A chat', now())", [chat])
        own.execute("insert into parley.members (chat_id, user_id) values (%s, 'a'), (%s, 'b')", [chat, chat])
        for n in range(size):
            add(own, log, chat, "a", "text", now - timedelta(days=days, minutes=4) + timedelta(milliseconds=n))
    own.execute("reset session_replication_role")
    own.execute("select parley.recount_chat(id) from parley.chats")
    roll_up(own)
    rows = own.execute("select * from analytics.chats_by_size_and_age order by 1, 2").fetchall()
    assert [row[:-1] for row in rows] == [
        (0, 0, 1, 0, 0, 0, 2), (0, 1, 2, 0, 10, 0, 4), (7, 10, 1, 0, 10, 0, 2), (30, 100, 1, 1, 101, 101, 2),
        (180, 1, 1, 1, 1, 1, 2),
    ]  # fmt: skip
    assert rows[0][-1] > now
    own.execute("update parley.chats set is_being_removed = true")
    own.execute("update parley.rollup_state set chats_and_settings_as_of = now() - interval '59 minutes'")
    roll_up(own)
    assert own.execute("select from analytics.chats_by_size_and_age").rowcount == 5  # it is made each hour
    own.execute("update parley.rollup_state set chats_and_settings_as_of = now() - interval '61 minutes'")
    roll_up(own)
    assert own.execute("select from analytics.chats_by_size_and_age").rowcount == 0


def test_settings_that_few_have_are_nobodys(own: Connection) -> None:
    for n in range(6):
        user = new_user()
        model = "gpt-large 4.1" if n < 5 else "ada@example.org"
        settings = {"model": model, "runtime": "me@here.example", "theme": "dark"}
        call(own, user, "update_settings", {"settings": settings})
    for n in range(4):
        call(own, new_user(), "update_settings", {"settings": {"model": f"gpt-small {n // 4}"}})
    roll_up(own)
    query = "select value, users, share::float from analytics.settings_in_use where setting = %s order by 1"
    assert own.execute(query, ["model"]).fetchall() == [("gpt-large 4.1", 5, 0.5), (None, 5, 0.5)]
    assert own.execute(query, ["runtime"]).fetchall() == [(None, 10, 1.0)]
    assert own.execute(query, ["theme"]).fetchall() == [("dark", 6, 0.6), (None, 4, 0.4)]
    call(own, new_user(), "update_settings", {"settings": {"model": "gpt-small 0"}})
    own.execute("update parley.rollup_state set chats_and_settings_as_of = null")
    roll_up(own)
    assert [row[:2] for row in own.execute(query, ["model"]).fetchall()] == [
        ("gpt-large 4.1", 5), ("gpt-small 0", 5), (None, 1),
    ]  # fmt: skip


def test_health_of_events(own: Connection) -> None:
    view = "select waiting_events, lag_seconds, set_aside_events, last_set_aside_at from analytics.event_health"
    assert own.execute(view).fetchall() == [(0, 0, 0, None)]
    chat = new_chat(own, "owner")
    for _ in range(3):
        call(own, "owner", "send_message", chat, {"content": "word"})
    own.execute("update parley.outbox set recorded_at = recorded_at - interval '1 minute' where seq = 2")
    (row,) = own.execute(view).fetchall()
    assert (row[0], row[2]) == (3, 0)
    assert 60 < row[1] < 120
    own.execute("select listener.set_aside((select min(id) from parley.outbox_queue), 'HTTP 413: too large')")
    (row,) = own.execute(view).fetchall()
    assert (row[0], row[2]) == (2, 1)
    assert row[1] < 60
    assert row[3] is not None


def test_health_of_search(own: Connection) -> None:
    chat = new_chat(own, "owner")
    for _ in range(3):
        call(own, "owner", "send_message", chat, {"content": "word"})
    call(own, "owner", "list_messages", chat, search="word")
    own.execute("vacuum analyze parley.message_words")
    (row,) = own.execute("select messages, table_bytes, index_bytes from analytics.search_health").fetchall()
    assert row[0] == 3
    assert row[1] > 8192
    assert row[2] > 8192
    waiting = "select pending_messages from analytics.search_health"
    assert own.execute(waiting).fetchone() == (0,)


# What views cost

READ = re.compile(r"(?<!Subquery )(?<!Function )(?:Scan|Only Scan)(?: Backward)?(?: using \w+)? on (\w+)")


def test_no_view_reads_what_it_counts(own: Connection) -> None:
    call(own, "owner", "send_message", new_chat(own, "owner"), {"content": "word"})
    roll_up(own)
    views = own.execute("select viewname from pg_views where schemaname = 'analytics'").fetchall()
    assert len(views) >= 12
    for (view,) in views:
        plan = "\n".join(row[0] for row in own.execute(f"explain select * from analytics.{view}").fetchall())
        read = {name for name in READ.findall(plan) if not name.startswith(("rollup_", "pg_"))}
        expected = {"event_health": {"outbox", "outbox_queue"}, "set_aside_events": {"outbox"}}
        assert read <= expected.get(view, set()), plan
        cost = re.search(r"\.\.(\d+)", plan)
        assert cost
        assert int(cost[1]) < 50_000, plan  # not half of what PostgreSQL would compile a statement for


def test_every_type_of_message_has_its_column(dba: Connection) -> None:
    row = dba.execute("select rules.allowed_values('type')").fetchone()
    assert row
    for view in ("activity_by_hour", "activity_by_day"):
        columns = dba.execute(
            "select attname from pg_attribute"
            " where attrelid = ('analytics.' || %s)::regclass and attname like '%%_messages'",
            [view],
        ).fetchall()
        assert {name.removesuffix("_messages") for (name,) in columns} == set(row[0])


@pytest.mark.parametrize("size", [0, -1, None])
def test_a_batch_has_a_message(dba: Connection, size: int | None) -> None:
    with pytest.raises(psycopg.errors.InvalidParameterValue, match="1 or more"), dba.transaction():
        dba.execute("select listener.roll_up(%s)", [size])


def test_counting_comes_first_in_its_transaction(own: Connection) -> None:
    with own.transaction():
        own.execute("select pg_current_xact_id()")
        with pytest.raises(psycopg.errors.RaiseException, match="first to write"), own.transaction():
            own.execute("select listener.roll_up(1)")
