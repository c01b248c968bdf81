"""Benchmark of searches and pages of a large chat, and of many chats, by the API's functions as the API's role.
`python -m tests.bench.search [--messages 1000000 5000000] [--plans]`

One chat has a fifth of the messages, the others have a hundred each. The messages of all chats are interleaved, so the
rows of the large chat are spread over the table. The reader is a member of 10,000 chats. Prints the median and the
99th percentile of each call in one session, in milliseconds; ratios between sizes and between kinds of calls; and the
cost of the words and their index. --plans adds the output of `explain (analyze, buffers)` for the statements in the
functions. All data are in shared memory.
"""

import argparse
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from api.dev.postgres import Postgres
from tests.bench.dataset import NUMBERS, TEXT, run_in_two_sessions, split_in_two
from tests.database import Connection, new_chat
from tests.servers import migrate, open_directory

READER = "reader"
CHATS_OF_READER = 10_000
MAX_CALLS, MAX_SECONDS = 100, 3  # of one query
SETTINGS = {
    "shared_buffers": "5GB",
    "maintenance_work_mem": "1GB",
    "max_wal_size": "8GB",
    "fsync": "off",  # no write is measured
    "jit": "off",
}

# The texts of tests.bench.dataset, and two words that fixed numbers of messages in the large chat have.
LOAD = f"""
insert into parley.messages (chat_id, id, user_id, type, content, updated_at)
select chats[case when n %% 5 = 0 then 1 else 2 + (n - n / 5) %% (cardinality(chats) - 1) end],
    parley.generate_uuid7('2026-01-01'::timestamptz + n * interval '5 seconds', n), 'user ' || n %% 1000,
    (array['text', 'text', 'code', 'text', 'image', 'text', 'code'])[1 + n %% 7],
    {TEXT}
    || case when n %% 5 = 0 and chance %% (%(messages)s / 10000) = 8 then ' harpsichord' else '' end
    || case when n %% 5 = 0 and chance %% (%(messages)s / 50) = 7 then ' xylophone' else '' end, now()
from {NUMBERS}, (select %(chats)s::uuid[]) c (chats)
"""
WORDS = """
insert into parley.message_words (chat_id, id, type, tsv, words)
select m.chat_id, m.id, m.type, d.tsv, d.words from parley.messages m, rules.search_document(m.content) d
where get_byte(uuid_send(m.id), 15) %% 2 = %(half)s
"""


def call_of(function: str, arguments: str = "") -> str:
    """Return the statement with which the API calls a function for the reader."""
    return f"""select api.{function}({arguments}) from session.authenticate('{{"sub": "{READER}"}}')"""


def in_chat(arguments: str) -> str:
    """Return a statement that lists messages of the large chat."""
    return call_of("list_messages", f"%(chat)s, {arguments}")


def page(arguments: str) -> str:
    """Return a statement that lists messages of the large chat in pages of 20."""
    return in_chat(f"""{arguments}, "limit" => '20'""")


DAYS = "start_date => '2026-01-03', end_date => '2026-01-08'"
PLAIN_RANGE = """
select json_agg(m order by id desc), (
    select count(*) from parley.messages where chat_id = %(chat)s
      and id >= parley.min_uuid7('2026-01-03') and id < parley.min_uuid7('2026-01-09'))
from (select id, content, type, user_id, created_at, updated_at from parley.messages where chat_id = %(chat)s
    and id >= parley.min_uuid7('2026-01-03') and id < parley.min_uuid7('2026-01-09') order by id desc limit 50) m
"""

QUERIES = {
    "absent word": in_chat("search => 'absentee'"),
    "rare word": in_chat("search => 'xylophone'"),
    "word in 2,000 messages": in_chat("search => 'harpsichord'"),
    "word in 1 %": in_chat("search => 'quarterly'"),
    "word in 20 %": in_chat("search => 'meeting'"),
    "word in 20 %, finished": in_chat("search => 'meeting '"),
    "phrase": in_chat("""search => '"release candidate"'"""),
    "Chinese": in_chat("search => '上海'"),
    "identifier": in_chat("search => 'getName'"),
    "two words": in_chat("search => 'meeting release'"),
    "excluded word": in_chat("search => 'release -candidate'"),
    "relevance, 1 %": in_chat("search => 'quarterly', sort => 'relevance'"),
    "page 1": page("'1'"),
    "page 100": page("'100'"),
    "page 5,000": page("'5000'"),
    "page 10,000": page("'10000'"),
    "before, newest": page("before => %(newest)s"),
    "before, middle": page("before => %(middle)s"),
    "before, oldest": page("before => %(oldest)s"),
    "after, middle": page("after => %(middle)s"),
    "images": page("type => 'image'"),
    "images, page 1,000": page("'1000', type => 'image'"),
    "6 days": in_chat(DAYS),
    "6 days, plain SQL": PLAIN_RANGE,
    "chat of 100: page": call_of("list_messages", "%(small)s"),
    "chat of 100: word in 20 %": call_of("list_messages", "%(small)s, search => 'meeting'"),
    "chat of 100: absent": call_of("list_messages", "%(small)s, search => 'absentee'"),
    "10,000 chats: page 1": call_of("list_chats"),
    "10,000 chats: page 150": call_of("list_chats", "'150'"),
    "10,000 chats: absent": call_of("search", "search => 'absentee'"),
    "10,000 chats: rare word": call_of("search", "search => 'xylophone'"),
    "10,000 chats: word in 1 %": call_of("search", "search => 'quarterly'"),
    "10,000 chats: word in 20 %": call_of("search", "search => 'meeting'"),
}
RATIOS = (
    ("page 10,000", "page 1"),
    ("page 5,000", "page 1"),
    ("6 days", "6 days, plain SQL"),
    ("page 1", "chat of 100: page"),
    ("absent word", "chat of 100: absent"),
    ("word in 20 %", "chat of 100: word in 20 %"),
)


@contextmanager
def load_database(messages: int) -> Iterator[tuple[Postgres, dict[str, str]]]:
    """Yield a server with that many messages, and the ids that the queries need."""
    with open_directory() as directory, Postgres(directory, settings=SETTINGS) as server:
        migrate(server)
        url = server.url("parley")
        with psycopg.connect(url, autocommit=True) as dba:
            chats = create_chats(dba, messages)
            dba.execute("drop index parley.message_words_search")
            run_in_two_sessions(
                url, LOAD, [{"chats": chats, "messages": messages} | half for half in split_in_two(messages)]
            )
            words = run_in_two_sessions(url, WORDS, [{"half": 0}, {"half": 1}])
            begun = time.perf_counter()
            dba.execute("create index message_words_search on parley.message_words using gin (chat_id, tsv)")
            index = time.perf_counter() - begun
            dba.execute("select parley.recount_chat(id) from parley.chats")
            dba.execute("vacuum analyze")
            print_costs(dba, messages, words, index)
            row = dba.execute(
                "select (array_agg(id order by id))[1], (array_agg(id order by id))[count(*) / 2],"
                " (array_agg(id order by id desc))[1] from parley.messages where chat_id = %s", [chats[0]]
            ).fetchone()  # fmt: skip
            assert row is not None
            ids = dict(zip(("oldest", "middle", "newest"), map(str, row), strict=True))
        yield server, {"chat": chats[0], "small": chats[1], **ids}


def create_chats(dba: Connection, messages: int) -> list[str]:
    """Create the large chat and those of a hundred messages; return their ids, the large one first."""
    large = new_chat(dba, READER)
    dba.execute("set session_replication_role = replica")
    rows = dba.execute(
        "insert into parley.chats (id, title, owner_id, updated_at)"
        " select parley.generate_uuid7(now(), n), 'Chat ' || n, null, now()"
        " from generate_series(1, %s) n returning id::text",
        [messages * 4 // 5 // 100],
    ).fetchall()
    chats = [large, *(row[0] for row in rows)]
    dba.execute(
        "insert into parley.members (chat_id, user_id) select c, %s from unnest(%s::uuid[]) c",
        [READER, chats[1:CHATS_OF_READER]],
    )
    dba.execute("reset session_replication_role")
    return chats


def print_costs(dba: Connection, messages: int, words: float, index: float) -> None:
    """Print the time and the space that the words of a message and their index take."""
    row = dba.execute(
        "select sum(pg_table_size(inhrelid)), sum(pg_relation_size(i.indexrelid)) from pg_inherits"
        " join pg_index i on i.indrelid = inhrelid and not i.indisprimary"
        " where inhparent = 'parley.message_words'::regclass"
    ).fetchone()
    assert row is not None
    print(f"\n{messages:,} messages; a message's words: {1e6 * words / messages:.0f} µs, {row[0] / messages:.0f} bytes;"
          f" in the index: {1e6 * index / messages:.1f} µs, {row[1] / messages:.0f} bytes")  # fmt: skip


def measure(connection: Connection, query: str, ids: dict[str, str]) -> tuple[float, float, object]:
    """Return the median and the 99th percentile of a call in milliseconds, and the total in its response."""
    times: list[float] = []
    end = time.perf_counter() + MAX_SECONDS
    row = connection.execute(query, ids, prepare=True).fetchone()
    while len(times) < MAX_CALLS and (time.perf_counter() < end or len(times) < 5):
        begun = time.perf_counter()
        row = connection.execute(query, ids, prepare=True).fetchone()
        times.append(1000 * (time.perf_counter() - begun))
    assert row is not None
    return statistics.median(times), sorted(times)[int(len(times) * 0.99)], row[1] if row[1:] else row[0]["total"]


def print_plans(server: Postgres, ids: dict[str, str]) -> None:
    """Print the plan of each statement in each call that reads a table."""
    with psycopg.connect(server.url("parley"), autocommit=True) as connection:
        connection.execute("load 'auto_explain'")
        for setting in ("log_analyze", "log_buffers", "log_nested_statements"):
            connection.execute(f"set auto_explain.{setting} = on")
        connection.execute("set auto_explain.log_min_duration = 0")
        connection.execute("set client_min_messages = log")
        connection.execute("set session authorization app")

        def on_notice(diagnostic: psycopg.errors.Diagnostic) -> None:
            if "Buffers" in (text := diagnostic.message_primary or ""):
                print(text, end="\n\n")

        connection.add_notice_handler(on_notice)
        for name, query in QUERIES.items():
            print(f"\n=== {name}\n")
            if "api." in query:
                connection.execute(query, ids)


def measure_all(server: Postgres, ids: dict[str, str]) -> dict[str, float]:
    """Print the figures of each query; return the medians in milliseconds."""
    medians = {}
    with (
        psycopg.connect(server.url("parley", "app", "app"), autocommit=True) as app,
        psycopg.connect(server.url("parley"), autocommit=True) as owner,
    ):
        print(f"{'':28} {'total':>9} {'p50 ms':>8} {'p99':>8}")
        for name, query in QUERIES.items():
            median, p99, total = measure(app if "api." in query else owner, query, ids)
            print(f"{name:28} {total:>9,} {median:8.2f} {p99:8.2f}", flush=True)
            medians[name] = median
    for one, other in RATIOS:
        print(f"{one} : {other} = {medians[one] / medians[other]:.2f}")
    return medians


def main() -> None:
    """Load, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, nargs="+", default=[1_000_000, 5_000_000])
    parser.add_argument("--plans", action="store_true")
    options = parser.parse_args()
    results = []
    for messages in options.messages:
        with load_database(messages) as (server, ids):
            results.append(measure_all(server, ids))
            if options.plans:
                print_plans(server, ids)
    for size, result in zip(options.messages[1:], results[1:], strict=True):
        print(f"\n{size:,} : {options.messages[0]:,}")
        for name, median in result.items():
            print(f"{name:28} {median / results[0][name]:8.2f}")


if __name__ == "__main__":
    main()
