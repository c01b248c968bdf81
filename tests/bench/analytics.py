"""Benchmark of the views of schema analytics, compared with the same queries on the messages themselves.
`python -m tests.bench.analytics [--messages 1000000 5000000]`

There is a year of messages in 10,000 chats. Users join one after another, and three in four stay. Prints the cost of
counting a message, by backfill and by events; the time of recounting chats and settings; and, for each view, the
median time of reading all of it, with and without rollups.
"""

import argparse
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from api.dev.postgres import Postgres
from tests.bench.search import SETTINGS
from tests.database import Connection
from tests.servers import migrate, open_directory

CHATS = 10_000
USERS = 20_000
BATCH = 5000  # messages in a call, as in the listener
EVENTS = 100_000
CALLS = 5

LOAD = """
with users as (
    insert into next_auth.users (id) select 'user ' || n from generate_series(0, %(users)s - 1) n returning id
), settings as (
    insert into parley.settings (user_id, model) select id, 'model ' || length(id) from users
), chats as (
    insert into parley.chats (id, title, updated_at)
    select parley.generate_uuid7('2026-01-01'::timestamptz + n * interval '10 minutes', n), 'Chat ' || n, now()
    from generate_series(0, %(chats)s - 1) n returning id
), numbered as (
    select id, row_number() over (order by id) - 1 as n from chats
), members as (
    insert into parley.members (chat_id, user_id)
    select id, 'user ' || (n * 7 + k * 13) %% %(users)s from numbered cross join generate_series(0, 4) k
)
select array_agg(id order by id) from chats
"""
MESSAGES = """
insert into parley.messages (chat_id, id, user_id, type, content, updated_at)
select (%(chats)s::uuid[])[1 + chance %% %(chat_count)s], parley.generate_uuid7('2026-01-01'::timestamptz + at, n),
    'user ' || case when chance / 7 %% 4 = 0 then joined else joined * (chance / 11 %% 1000) / 1000 end,
    (array['text', 'text', 'code', 'text', 'image'])[1 + n %% 5], 'word', now()
from (
    select n, abs(hashint8(n)::bigint) as chance, n * (interval '325 days' / %(messages)s) as at,
        n * %(users)s / %(messages)s as joined
    from generate_series(0, %(messages)s::bigint - 1) n) n
"""

# Queries on the messages that are equivalent to the views of these names.
WITHOUT_ROLLUPS = {
    "activity_by_day": """
        select date_trunc('day', created_at, 'UTC'), count(*), count(*) filter (where type = 'code'),
            count(distinct user_id), count(distinct chat_id) from parley.messages group by 1""",
    "retention_by_cohort": """
        with weeks as materialized (
            select distinct user_id, date_trunc('week', created_at, 'UTC') as week from parley.messages)
        select c.week, w.week, count(*)
        from (select user_id, min(week) as week from weeks group by 1) c join weeks w using (user_id) group by 1, 2""",
    "response_times_by_day": """
        select date_trunc('day', created_at, 'UTC'), percentile_cont(0.5) within group (order by created_at - before)
        from (
            select created_at, user_id, lag(user_id) over w as other, lag(created_at) over w as before
            from parley.messages window w as (partition by chat_id order by id)) m
        where user_id <> other group by 1""",
    "chats_by_size_and_age": """
        select width_bucket(count(*), array[1, 10, 100, 1000]), date_trunc('month', min(created_at)), count(*)
        from parley.messages group by chat_id""",
}


@contextmanager
def load_database(messages: int) -> Iterator[Connection]:
    """Yield a DBA's connection to a database with that many messages."""
    with open_directory() as directory, Postgres(directory, settings=SETTINGS) as server:
        migrate(server)
        with psycopg.connect(server.url("parley"), autocommit=True) as dba:
            dba.execute("set session_replication_role = replica")
            row = dba.execute(LOAD, {"users": USERS, "chats": CHATS}).fetchone()
            assert row
            sizes = {"messages": messages, "users": USERS, "chat_count": CHATS}
            dba.execute(MESSAGES, sizes | {"chats": row[0]})
            dba.execute("reset session_replication_role")
            dba.execute("""
                update parley.chats c set message_count = m.messages, last_message_id = m.last_id
                from (select chat_id, count(*) as messages, (array_agg(id order by id desc))[1] as last_id
                      from parley.messages group by 1) m where m.chat_id = c.id""")  # fmt: skip
            dba.execute("vacuum analyze")
            yield dba


def measure_seconds(connection: Connection, query: str, times: int = 1) -> float:
    """Return the median time of a statement in seconds."""
    runs = []
    for _ in range(times):
        begun = time.perf_counter()
        connection.execute(query).fetchall()
        runs.append(time.perf_counter() - begun)
    return statistics.median(runs)


def roll_up(connection: Connection) -> tuple[float, float]:
    """Count all messages; return the seconds of all calls and of the longest one."""
    calls = []
    has_more = True
    while has_more:
        begun = time.perf_counter()
        (has_more,) = connection.execute("select listener.roll_up(%s)", [BATCH]).fetchone() or (False,)
        calls.append(time.perf_counter() - begun)
    return sum(calls), max(calls)


def print_counting(dba: Connection, messages: int) -> None:
    """Print the cost of counting."""
    total, longest = roll_up(dba)
    print(f"\n{messages:,} messages; backfill {1e6 * total / messages:.1f} µs a message,"
          f" the longest call {1000 * longest:.0f} ms")  # fmt: skip
    dba.execute("update parley.rollup_state set backfill_until = parley.min_uuid7('2026-01-01')")
    dba.execute("""
        insert into parley.outbox (chat_id, seq, event, payload)
        select chat_id, 1, 'message:sent', json_build_object('id', id, 'userId', user_id, 'type', type)
        from (select * from parley.messages limit %s) m""", [EVENTS])  # fmt: skip
    dba.execute("analyze")
    total, longest = roll_up(dba)
    print(f"events {1e6 * total / EVENTS:.1f} µs a message, the longest call {1000 * longest:.0f} ms;"
          f" recounting chats {1000 * measure_seconds(dba, 'select parley.roll_up_chats()'):.0f} ms,"
          f" settings {1000 * measure_seconds(dba, 'select parley.roll_up_settings()'):.0f} ms")  # fmt: skip


def print_views(dba: Connection) -> None:
    """Print the cost of reading the views."""
    names = [row[0] for row in dba.execute("select viewname from pg_views where schemaname = 'analytics' order by 1")]
    print(f"{'':24} {'rows':>7} {'ms':>8} {'without':>9} {'ratio':>8}")
    for name in names:
        query = f"select * from analytics.{name}"
        milliseconds = 1000 * measure_seconds(dba, query, CALLS)
        line = f"{name:24} {dba.execute(query).rowcount:>7,} {milliseconds:8.2f}"
        if name in WITHOUT_ROLLUPS:
            without = 1000 * measure_seconds(dba, WITHOUT_ROLLUPS[name])
            line += f" {without:>9,.0f} {without / milliseconds:>8,.0f}"
        print(line, flush=True)


def main() -> None:
    """Load, count, read and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, nargs="+", default=[1_000_000, 5_000_000])
    for messages in parser.parse_args().messages:
        with load_database(messages) as dba:
            print_counting(dba, messages)
            print_views(dba)


if __name__ == "__main__":
    main()
