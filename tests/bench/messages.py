"""What the rules cost: listing and searching a large chat through the API's functions, as the API's role, beside the
bare queries as the tables' owner. `python -m tests.bench.messages [--messages 1000000] [--plans]`

Prints the median of 21 calls each in one session, the ratio to the bare query of the same run, and with --plans what
`explain (analyze, buffers)` says of the statements inside.
"""

import argparse
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from api.dev.postgres import Postgres
from tests.support import Connection, migrate, new_chat, open_directory

CALLS = 21
USER = "reader"
RARE_IN = 100_000  # of so many messages one has the rare word

LOAD = """
insert into parley.messages (chat_id, id, user_id, content, updated_at)
select %(chat)s, parley.uuid7(now() - n * interval '1 second', n), %(user)s,
    'message ' || n || ' ' || md5(n::text) || case when n %% %(rare)s = 7 then ' xylophone' else '' end, now()
from generate_series(1, %(count)s) n
"""

BARE_PAGE = """
select json_agg(m) from (
    select id, content, type, user_id, created_at, updated_at from parley.messages
    where chat_id = %(chat)s order by id desc limit 50) m
"""
BARE_SEARCH = BARE_PAGE.replace(" order by", " and tsv @@ 'xylophone'::tsquery order by")
BEGIN = """session.begin('{"sub": "reader"}')"""

# name: (what the API calls, the bare query that does the same work without a rule)
QUERIES = {
    "a page of 50": (f"select api.list_messages(%(chat)s) from {BEGIN}", BARE_PAGE),
    "a rare word": (f"select api.list_messages(%(chat)s, search => 'xylophone') from {BEGIN}", BARE_SEARCH),
}


@contextmanager
def loaded(messages: int) -> Iterator[tuple[Postgres, str]]:
    """A server with a chat of so many messages, and the chat's id."""
    with open_directory() as directory, Postgres(directory, settings={"shared_buffers": "1GB"}) as server:
        migrate(server)
        with psycopg.connect(server.url("parley"), autocommit=True) as dba:
            chat = new_chat(dba, USER)
            dba.execute("set session_replication_role = replica")
            dba.execute(LOAD, {"chat": chat, "user": USER, "rare": RARE_IN, "count": messages})
            dba.execute("update parley.chats set message_count = %s", [messages])
            dba.execute("vacuum analyze")
        yield server, chat


def milliseconds(connection: Connection, query: str, chat: str) -> float:
    """The median time of a call."""
    times = []
    for _ in range(CALLS):
        begun = time.perf_counter()
        connection.execute(query, {"chat": chat}, prepare=True)
        times.append(1000 * (time.perf_counter() - begun))
    return statistics.median(times)


def print_plans(server: Postgres, query: str, chat: str) -> None:
    """What auto_explain says of every statement in the call that touches messages."""
    with psycopg.connect(server.url("parley"), autocommit=True) as connection:
        connection.execute("load 'auto_explain'")
        connection.execute("set auto_explain.log_min_duration = 0")
        connection.execute("set auto_explain.log_analyze = on")
        connection.execute("set auto_explain.log_buffers = on")
        connection.execute("set auto_explain.log_nested_statements = on")
        connection.execute("set client_min_messages = log")
        connection.execute("set session authorization app")

        def on_notice(diagnostic: psycopg.errors.Diagnostic) -> None:
            if "on messages" in (text := diagnostic.message_primary or ""):
                print(text, end="\n\n")

        connection.add_notice_handler(on_notice)
        connection.execute(query, {"chat": chat})


def main() -> None:
    """Loads, measures, prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=1_000_000)
    parser.add_argument("--plans", action="store_true")
    options = parser.parse_args()
    with (
        loaded(options.messages) as (server, chat),
        psycopg.connect(server.url("parley", "app", "app"), autocommit=True) as app,
        psycopg.connect(server.url("parley"), autocommit=True) as owner,
    ):
        print(f"{options.messages} messages in the chat, ms a call")
        print(f"{'':14} {'api':>8} {'bare':>8} {'ratio':>8}")
        for name, (through_api, bare) in QUERIES.items():
            ours, theirs = milliseconds(app, through_api, chat), milliseconds(owner, bare, chat)
            print(f"{name:14} {ours:8.2f} {theirs:8.2f} {ours / theirs:8.1f}")
        if options.plans:
            for through_api, _ in QUERIES.values():
                print_plans(server, through_api, chat)


if __name__ == "__main__":
    main()
