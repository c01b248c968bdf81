"""The data of benchmarks over HTTP: one chat of a million messages, 10,000 chats of a hundred, a thousand users.
`with loaded(scale=1) as data:` gives PostgreSQL with it; ten times as many messages, and chats, with `scale=10`.

Messages came in turn over 300 days, every other one to the large chat, so that its rows are everywhere. All users are
in the large chat. Each is in a hundredth of the others too, of ten members each: user n in the chats that end in the
same two digits as n. Ids are computed, so that who asks needs no table of them.

Messages are made of CONTENTS different texts, whose search vectors are made once, and triggers don't run; counters are
counted afterwards, as sql/README.md tells a DBA to do after a load.

PostgreSQL is durable as it is by default, fsync on, in a temporary directory. TMPDIR names the disk, of which the data
take 2 GB, and the log of changes up to 16. SETTINGS say what is not the default.
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
LARGE = 0  # the number of the large chat; the others are 1, 2, …
CONTENTS = 50_000
BATCH = 100_000  # messages that are loaded by one statement
WORDS = 50
FREQUENCY = (0.001, 0.01)  # of a word that is searched for

SETTINGS = {
    "shared_buffers": "4GB",
    "maintenance_work_mem": "1GB",
    "max_wal_size": "16GB",  # no checkpoint while something is measured, but one before
    "checkpoint_timeout": "1h",
    "max_connections": "500",  # four servers and pgbench, with up to 64 each where there are many cores
    "jit": "off",  # compiling takes longer than any statement here
}

# Message n's words of four to nine letters, some much more often than others, and some that are easy to search for.
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
# What it is made from, for the numbers of a range.
NUMBERS = """(
    select n, abs(hashint8(n)::bigint) as chance from generate_series(%(first)s::bigint, %(last)s) n
) n, (
    select string_to_array(
        'ba ce di fo gu ha je ki lo mu na pe ri so tu va we xi yo zu bra cle dri fro glu sta che pli tro sku', ' ')
) s (syllables)"""

MAKE_CONTENTS = f"""
insert into bench.contents (n, type, content, tsv)
select n, type, content, (rules.search_document(content)).tsv
from (select n, (array['text', 'text', 'code', 'text', 'image', 'text', 'code'])[1 + n %% 7] as type, {TEXT} as content
    from {NUMBERS} offset 0) c
"""
CHAT_ID = "('01900000-0000-7000-8000-' || lpad(({number})::text, 12, '0'))::uuid"
MAKE_CHATS = f"""
insert into next_auth.users (id, name) select 'user ' || n, 'User ' || n from generate_series(0, {USERS - 1}) n;
insert into parley.settings (user_id) select id from next_auth.users;
insert into parley.chats (id, title, owner_id, updated_at)
select {CHAT_ID.format(number="n")}, 'Chat ' || n, 'user ' || n % {GROUPS}, now() from generate_series(0, %(chats)s) n;
insert into parley.members (chat_id, user_id) select {CHAT_ID.format(number=LARGE)}, id from next_auth.users;
insert into parley.members (chat_id, user_id)
select {CHAT_ID.format(number="n")}, 'user ' || n % {GROUPS} + {GROUPS} * k
from generate_series(1, %(chats)s) n, generate_series(0, {MEMBERS - 1}) k;
""".replace("% ", "%% ")
# Of each two messages the even one is the large chat's.
MAKE_MESSAGES = f"""
with numbered as (
    select n as number, case when n %% 2 = 0 then {LARGE} else 1 + n / 2 %% %(chats)s end as chat,
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
# Words as people search for: none of them is in most messages or in next to none, as Parley finds them, and a plain
# query of what begins with the word finds the same.
CHOOSE_WORDS = f"""
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
class Data:
    """A server with the database `parley`, and what to ask it for."""

    directory: Path
    postgres: Postgres
    chats: int  # beside the large one, whose number is LARGE
    words: list[str]
    texts: list[str]  # to send

    def chats_of(self, user: int) -> range:
        """The numbers of a user's small chats."""
        return range(user % GROUPS or GROUPS, self.chats + 1, GROUPS)

    def random_chat(self, chance: random.Random, user: int, large: float) -> str:
        """The id of a chat of a user's, the large one with this probability."""
        return chat_id(LARGE if chance.random() < large else chance.choice(self.chats_of(user)))


def chat_id(number: int) -> str:
    """As CHAT_ID makes it."""
    return f"01900000-0000-7000-8000-{number:012}"


def user_id(number: int) -> str:
    """Of 0 to USERS - 1."""
    return f"user {number}"


def two_at_once(url: str, statement: str, parameters: list[dict[str, object]]) -> float:
    """Runs a statement without triggers, with each of these, in two sessions; answers the seconds of all together."""

    def run(values: dict[str, object]) -> float:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("set session_replication_role = replica")
            connection.execute("set work_mem = '256MB'")
            begun = time.perf_counter()
            connection.execute(statement, values)
            return time.perf_counter() - begun

    with ThreadPoolExecutor(2) as pool:
        return sum(pool.map(run, parameters))


def halves(last: int) -> list[dict[str, int]]:
    """1 to `last` in two ranges."""
    return ranges(last, -(-last // 2))


def ranges(last: int, size: int) -> list[dict[str, int]]:
    """1 to `last` in ranges of a size."""
    return [{"first": first, "last": min(last, first + size - 1)} for first in range(1, last + 1, size)]


@contextmanager
def loaded(scale: float = 1) -> Iterator[Data]:
    """Loads the data, which are gone afterwards, as the server is; says how long each step took."""
    chats = GROUPS * max(1, round(100 * scale))
    with open_directory() as directory, Postgres(directory / "postgres", settings=SETTINGS) as server:
        migrate(server)
        with psycopg.connect(server.url("parley"), autocommit=True) as dba:
            fill(dba, server.url("parley"), chats)
            words = [row[0] for row in dba.execute(CHOOSE_WORDS).fetchall()]
            texts = [row[0] for row in dba.execute("select content from bench.contents where n <= 50").fetchall()]
            dba.execute("drop schema bench cascade")
        yield Data(directory, server, chats, words, texts)


def fill(dba: Connection, url: str, chats: int) -> None:
    """Makes all rows."""
    messages = 2 * chats * MESSAGES
    now = dba.execute("select now()").fetchone()
    assert now
    rows: dict[str, object] = {"chats": chats, "messages": messages, "now": now[0]}
    dba.execute("create schema bench")
    dba.execute("create table bench.contents (n integer primary key, type text, content text, tsv tsvector)")
    with step(f"{CONTENTS:,} texts"):
        two_at_once(url, MAKE_CONTENTS, [half | rows for half in halves(CONTENTS)])
        dba.execute("analyze bench.contents")
    with step(f"{chats + 1:,} chats of {USERS:,} users"), psycopg.connect(url) as connection:
        connection.execute("set local session_replication_role = replica")
        for statement in MAKE_CHATS.split(";")[:-1]:
            connection.execute(statement, rows)
    with without_index(dba), step(f"{messages:,} messages"):
        two_at_once(url, MAKE_MESSAGES, [batch | rows for batch in ranges(messages, BATCH)])
    with step("counters"):
        dba.execute("select parley.recount_chat(id) from parley.chats")
        dba.execute("update parley.chats set seq = message_count")
    with step("vacuum, checkpoint"):
        dba.execute("vacuum analyze")
        dba.execute("checkpoint")


@contextmanager
def without_index(dba: Connection) -> Iterator[None]:
    """Has the index of searches made after a load, at once: that takes a fraction of keeping it up to date."""
    row = dba.execute("select pg_get_indexdef('parley.message_words_search'::regclass)").fetchone()
    assert row
    dba.execute("drop index parley.message_words_search")
    yield
    with step("the index of searches"):
        dba.execute(row[0].replace("ON ONLY", "ON"))


@contextmanager
def step(name: str) -> Iterator[None]:
    """Tells how long it took."""
    begun = time.perf_counter()
    yield
    print(f"{name}: {time.perf_counter() - begun:.1f} s", file=sys.stderr, flush=True)
