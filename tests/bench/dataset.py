"""The data of benchmarks over HTTP: one chat of a million messages, 10,000 chats of a hundred, a thousand users.
`with load_dataset(scale=1) as data:` starts PostgreSQL with it; `scale=10` has ten times as many messages and chats.

The messages were sent over 300 days, every other one to the large chat, so that its rows are spread over the table. All
users are in the large chat. Each user is also in a hundredth of the other chats, which have ten members each: user n is
in the chats whose numbers end in the same two digits as n. Ids are computed, so that no table of ids is needed.

Messages have one of CONTENTS distinct texts, whose search vectors are computed once. Triggers do not run; counters are
recounted afterwards, as sql/README.md requires after a load.

PostgreSQL runs in a temporary directory with its default durability (fsync on). The data take 2 GB of the disk that
TMPDIR is on, and the write-ahead log up to 16 GB. SETTINGS has the settings that differ from the defaults.
"""

import random
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg

from api.dev.postgres import Postgres
from tests.database import Connection
from tests.servers import migrate, open_directory

USERS = 1000
MEMBERS = 10  # of a small chat
MESSAGES = 100  # in it
GROUPS = USERS // MEMBERS
LARGE_CHAT = 0  # the number of the large chat; the others are 1, 2, …
CONTENTS = 50_000
BATCH = 100_000  # messages that one statement inserts
WORDS = 50
FREQUENCY = (0.001, 0.01)  # the lowest and the highest share of the messages that have a search word

SETTINGS = {
    "shared_buffers": "4GB",
    "maintenance_work_mem": "1GB",
    "max_wal_size": "16GB",  # no checkpoint during a measurement; there is one before it
    "checkpoint_timeout": "1h",
    "max_connections": "500",  # four servers and pgbench, with up to 64 connections each on a machine with many cores
    "jit": "off",  # compiling takes longer than any statement here
}

# The words of message n, of four to nine letters: some are much more frequent than others, some have a known frequency.
TEXT = """(
    select string_agg(
        syllables[1 + w %% 30] || syllables[1 + w / 30 %% 30]
        || case when w > 900 then syllables[1 + w / 900] else '' end
        || case when w %% 5 = 0 then 's' else '' end, ' ')
    from (select floor(power(random(), 4) * 26000)::integer as w from generate_series(1, 6 + n %% 14) where n > 0) w
) || case when chance %% 5 = 0 then ' meeting' else '' end
|| case when chance %% 100 = 1 then ' quarterly' else '' end
|| case when chance %% 100 = 10 then ' release' else '' end
|| case when chance %% 1000 = 3 then ' release candidate' else '' end
|| case when chance %% 1000 = 4 then ' 我家在上海东边' else '' end
|| case when chance %% 1000 = 6 then ' user.getName()' else '' end"""
# The FROM clause of TEXT, for the numbers of a range.
NUMBERS = """(
    select n, abs(hashint8(n)::bigint) as chance from generate_series(%(first)s::bigint, %(last)s) n
) n, (
    select string_to_array(
        'ba ce di fo gu ha je ki lo mu na pe ri so tu va we xi yo zu bra cle dri fro glu sta che pli tro sku', ' ')
) s (syllables)"""

INSERT_CONTENTS = f"""
insert into bench.contents (n, type, content, tsv)
select n, type, content, (rules.search_document(content)).tsv
from (select n, (array['text', 'text', 'code', 'text', 'image', 'text', 'code'])[1 + n %% 7] as type, {TEXT} as content
    from {NUMBERS} offset 0) c
"""
CHAT_ID = "('01900000-0000-7000-8000-' || lpad(({number})::text, 12, '0'))::uuid"
INSERT_CHATS = f"""
insert into next_auth.users (id, name) select 'user ' || n, 'User ' || n from generate_series(0, {USERS - 1}) n;
insert into parley.settings (user_id) select id from next_auth.users;
insert into parley.chats (id, title, owner_id, updated_at)
select {CHAT_ID.format(number="n")}, 'Chat ' || n, 'user ' || n % {GROUPS}, now() from generate_series(0, %(chats)s) n;
insert into parley.members (chat_id, user_id) select {CHAT_ID.format(number=LARGE_CHAT)}, id from next_auth.users;
insert into parley.members (chat_id, user_id)
select {CHAT_ID.format(number="n")}, 'user ' || n % {GROUPS} + {GROUPS} * k
from generate_series(1, %(chats)s) n, generate_series(0, {MEMBERS - 1}) k;
""".replace("% ", "%% ")
# Messages with even numbers are in the large chat.
INSERT_MESSAGES = f"""
with numbered as (
    select n as number, case when n %% 2 = 0 then {LARGE_CHAT} else 1 + n / 2 %% %(chats)s end as chat,
        abs(hashint8(n)::bigint) as chance
    from generate_series(%(first)s::bigint, %(last)s) n
), made as (
    select {CHAT_ID.format(number="chat")} as chat_id,
        parley.generate_uuid7(
            %(now)s::timestamptz - interval '300 days' * (1 - number / %(messages)s::float), number) as id,
        'user ' || chat %% {GROUPS} + {GROUPS} * (chance %% {MEMBERS}) as user_id,
        c.type, c.content, c.tsv
    from numbered join bench.contents c on c.n = 1 + chance %% {CONTENTS}
), words as (
    insert into parley.message_words (chat_id, id, type, tsv) select chat_id, id, type, tsv from made
)
insert into parley.messages (chat_id, id, user_id, type, content, updated_at)
select chat_id, id, user_id, type, content, rules.uuid7_timestamp(id) from made
"""
# Typical search words: neither very frequent nor very rare. Parley and a plain prefix query find the same messages, so
# that all servers return the same.
SELECT_WORDS = f"""
with typed as (
    select word from (
        select distinct w as word from bench.contents, regexp_split_to_table(content, ' ') w where n <= 2000) w
    where word ~ '^[a-z]{{4,}}$' order by hashtext(word) limit 400
)
select word from typed cross join lateral (
    select count(*) filter (where c.tsv @@ p.tsv_query) as found,
        count(*) filter (where c.tsv @@ to_tsquery('simple', word || ':*')) as plain,
        count(*) filter (where (c.tsv @@ p.tsv_query) <> (c.tsv @@ to_tsquery('simple', word || ':*'))) as other
    from bench.contents c, parley.parse_search(word) p where c.n <= 10000) f
where found between 10000 * {FREQUENCY[0]} and 10000 * {FREQUENCY[1]} and other = 0
order by word limit {WORDS}
"""


@dataclass(frozen=True)
class Dataset:
    """A PostgreSQL with the database `parley`, and values for requests."""

    directory: Path
    postgres: Postgres
    chats: int  # in addition to the large one
    words: list[str]
    texts: list[str]  # of messages to send

    def chats_of(self, user: int) -> range:
        """Return the numbers of a user's small chats."""
        return range(user % GROUPS or GROUPS, self.chats + 1, GROUPS)

    def choose_chat(self, rng: random.Random, user: int, large: float) -> str:
        """Return the id of one of a user's chats: the large one with the probability `large`."""
        return chat_id(LARGE_CHAT if rng.random() < large else rng.choice(self.chats_of(user)))


def chat_id(number: int) -> str:
    """Return the id of a chat, as CHAT_ID computes it."""
    return f"01900000-0000-7000-8000-{number:012}"


def user_id(number: int) -> str:
    """Return the id of a user, numbered from 0 to USERS - 1."""
    return f"user {number}"


def run_in_two_sessions(url: str, statement: str, parameters: list[dict[str, object]]) -> float:
    """Run a statement with each of these parameters, without triggers, in two sessions; return the total seconds."""

    def run(values: dict[str, object]) -> float:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("set session_replication_role = replica")
            connection.execute("set work_mem = '256MB'")
            begun = time.perf_counter()
            connection.execute(statement, values)
            return time.perf_counter() - begun

    with ThreadPoolExecutor(2) as pool:
        return sum(pool.map(run, parameters))


def split_in_two(last: int) -> list[dict[str, int]]:
    """Split 1 to `last` in two ranges."""
    return split_in_ranges(last, -(-last // 2))


def split_in_ranges(last: int, size: int) -> list[dict[str, int]]:
    """Split 1 to `last` in ranges of a size."""
    return [{"first": first, "last": min(last, first + size - 1)} for first in range(1, last + 1, size)]


@contextmanager
def load_dataset(scale: float = 1) -> Iterator[Dataset]:
    """Start a PostgreSQL with the data for the block; print the duration of each step."""
    chats = GROUPS * max(1, round(100 * scale))
    with open_directory() as directory, Postgres(directory / "postgres", settings=SETTINGS) as server:
        migrate(server)
        with psycopg.connect(server.url("parley"), autocommit=True) as dba:
            insert_rows(dba, server.url("parley"), chats)
            words = [row[0] for row in dba.execute(SELECT_WORDS).fetchall()]
            texts = [row[0] for row in dba.execute("select content from bench.contents where n <= 50").fetchall()]
            dba.execute("drop schema bench cascade")
        yield Dataset(directory, server, chats, words, texts)


def insert_rows(dba: Connection, url: str, chats: int) -> None:
    """Insert all rows."""
    messages = 2 * chats * MESSAGES
    now = dba.execute("select now()").fetchone()
    assert now
    rows: dict[str, object] = {"chats": chats, "messages": messages, "now": now[0]}
    dba.execute("create schema bench")
    dba.execute("create table bench.contents (n integer primary key, type text, content text, tsv tsvector)")
    with timed_step(f"{CONTENTS:,} texts"):
        run_in_two_sessions(url, INSERT_CONTENTS, [half | rows for half in split_in_two(CONTENTS)])
        dba.execute("analyze bench.contents")
    with timed_step(f"{chats + 1:,} chats of {USERS:,} users"), psycopg.connect(url) as connection:
        connection.execute("set local session_replication_role = replica")
        for statement in INSERT_CHATS.split(";")[:-1]:
            connection.execute(statement, rows)
    with deferred_search_index(dba), timed_step(f"{messages:,} messages"):
        run_in_two_sessions(url, INSERT_MESSAGES, [batch | rows for batch in split_in_ranges(messages, BATCH)])
    with timed_step("counters"):
        dba.execute("select parley.recount_chat(id) from parley.chats")
        dba.execute("update parley.chats set seq = message_count")
    with timed_step("vacuum, checkpoint"):
        dba.execute("vacuum analyze")
        dba.execute("checkpoint")


@contextmanager
def deferred_search_index(dba: Connection) -> Iterator[None]:
    """Build the search index after the block, which takes a fraction of the time of updating it for each row."""
    row = dba.execute("select pg_get_indexdef('parley.message_words_search'::regclass)").fetchone()
    assert row
    dba.execute("drop index parley.message_words_search")
    yield
    with timed_step("search index"):
        dba.execute(row[0].replace("ON ONLY", "ON"))


@contextmanager
def timed_step(name: str) -> Iterator[None]:
    """Print the duration of the block."""
    begun = time.perf_counter()
    yield
    print(f"{name}: {time.perf_counter() - begun:.1f} s", file=sys.stderr, flush=True)
