"""Removing old chats, a large one among them, while others send.
`python -m tests.bench.retention [--messages 1000000] [--max-messages 1000]`

The data are those of tests.bench.search. Prints how long a call takes that finds old chats, how long each of the others
does, how many rows go in a second, and what a message takes to be sent in another chat, before and meanwhile.
"""

import argparse
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread

import psycopg

from api.dev.postgres import Postgres
from tests.bench.search import loaded
from tests.database import Connection, call, new_chat
from tests.waiting import wait_until

SENDER = "sender"
BEFORE = 5000  # messages
SECONDS = 30  # for each kind of chat


def print_times(name: str, times: list[float]) -> None:
    """A line of a table."""
    ordered = sorted(times)
    p99 = ordered[int(len(ordered) * 0.99)]
    print(f"{name:28} {len(times):>7,} {statistics.median(ordered):8.2f} {p99:8.2f} {ordered[-1]:8.2f}", flush=True)


@contextmanager
def sending(server: Postgres, chat: str) -> Iterator[list[float]]:
    """Sends messages all the while; how long each took."""
    times: list[float] = []
    stop = Event()

    def send() -> None:
        with psycopg.connect(server.url("parley", "app", "app"), autocommit=True) as app:
            while not stop.is_set():
                begun = time.perf_counter()
                call(app, SENDER, "send_message", chat, {"content": "Still here"})
                times.append(1000 * (time.perf_counter() - begun))

    thread = Thread(target=send)
    thread.start()
    try:
        yield times
    finally:
        stop.set()
        thread.join()


def remove(dba: Connection, name: str, inactive_for: str, max_messages: int) -> None:
    """Calls until nothing is left or the time is up; prints the times, apart those of calls that closed chats."""
    finding: list[float] = []
    others: list[float] = []
    rows, end = 0, time.perf_counter() + SECONDS
    while time.perf_counter() < end:
        marked = dba.execute("select exists (select from parley.chats where is_being_removed)").fetchone()
        begun = time.perf_counter()
        row = dba.execute(
            "select parley.purge_inactive_chats(%s::interval, %s)", [inactive_for, max_messages]
        ).fetchone()
        (others if marked == (True,) else finding).append(1000 * (time.perf_counter() - begun))
        assert row is not None
        if not row[0]:
            break
        rows += row[0]
    print_times(f"{name}: closing", finding)
    if others:
        print_times(f"{name}: others", others)
    print(f"{name}: {rows:,} rows, {1000 * rows / sum(finding + others):,.0f} a second")


def main() -> None:
    """Loads, measures, prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=1_000_000)
    parser.add_argument("--max-messages", type=int, default=1000)
    options = parser.parse_args()
    with loaded(options.messages) as (server, ids), psycopg.connect(server.url("parley"), autocommit=True) as dba:
        chat = new_chat(dba, SENDER)
        print(f"{'':28} {'calls':>7} {'p50 ms':>8} {'p99':>8} {'most':>8}")
        with sending(server, chat) as times:
            wait_until(lambda: len(times) >= BEFORE, seconds=60)
        print_times("a message, before", times)
        with sending(server, chat) as times:
            # So it goes first, and by itself.
            dba.execute(
                "update parley.chats set last_message_id = parley.generate_uuid7('2001-01-01', 1) where id = %s",
                [ids["chat"]],
            )
            remove(dba, "the large chat", "20 years", options.max_messages)
            while dba.execute("select from parley.chats where is_being_removed").rowcount:
                dba.execute("select parley.purge_inactive_chats('20 years', 100000)")
            remove(dba, "chats of 100", "1 day", options.max_messages)
        print_times("a message, meanwhile", times)


if __name__ == "__main__":
    main()
