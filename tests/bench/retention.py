"""Removal of inactive chats, one of them large, while others send messages.
`python -m tests.bench.retention [--messages 1000000] [--max-messages 1000]`

The data are those of tests.bench.search. Prints the latency of calls that mark inactive chats for removal and of calls
that remove rows, the rows removed a second, and the latency of messages in another chat, before and during the removal.
"""

import argparse
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread

import psycopg

from api.dev.postgres import Postgres
from tests.bench.search import load_database
from tests.database import Connection, call, new_chat
from tests.waiting import wait_until

SENDER = "sender"
BASELINE_MESSAGES = 5000  # sent before the removal
MAX_SECONDS = 30  # the longest duration of a measurement


def print_times(name: str, times: list[float]) -> None:
    """Print a line of the table."""
    ordered = sorted(times)
    p99 = ordered[int(len(ordered) * 0.99)]
    print(f"{name:28} {len(times):>7,} {statistics.median(ordered):8.2f} {p99:8.2f} {ordered[-1]:8.2f}", flush=True)


@contextmanager
def sending_messages(server: Postgres, chat: str) -> Iterator[list[float]]:
    """Send messages for the block; yield their latencies in milliseconds."""
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


def purge(dba: Connection, name: str, inactive_for: str, max_messages: int) -> None:
    """Remove batches until none is left or the time is up; print the latencies of both kinds of calls."""
    marking: list[float] = []
    removing: list[float] = []
    rows, end = 0, time.perf_counter() + MAX_SECONDS
    while time.perf_counter() < end:
        in_progress = dba.execute("select from parley.chats where is_being_removed limit 1").rowcount
        begun = time.perf_counter()
        row = dba.execute(
            "select parley.purge_inactive_chats(%s::interval, %s)", [inactive_for, max_messages]
        ).fetchone()
        (removing if in_progress else marking).append(1000 * (time.perf_counter() - begun))
        assert row is not None
        if not row[0]:
            break
        rows += row[0]
    print_times(f"{name}: mark", marking)
    if removing:
        print_times(f"{name}: remove", removing)
    print(f"{name}: {rows:,} rows, {1000 * rows / sum(marking + removing):,.0f} a second")


def main() -> None:
    """Load, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=1_000_000)
    parser.add_argument("--max-messages", type=int, default=1000)
    options = parser.parse_args()
    with (
        load_database(options.messages) as (server, ids),
        psycopg.connect(server.url("parley"), autocommit=True) as dba,
    ):
        chat = new_chat(dba, SENDER)
        print(f"{'':28} {'calls':>7} {'p50 ms':>8} {'p99':>8} {'max':>8}")
        with sending_messages(server, chat) as times:
            wait_until(lambda: len(times) >= BASELINE_MESSAGES, seconds=60)
        print_times("message, before", times)
        with sending_messages(server, chat) as times:
            # The large chat is the only one this old, so it is removed first and alone.
            dba.execute(
                "update parley.chats set last_message_id = parley.generate_uuid7('2001-01-01', 1) where id = %s",
                [ids["chat"]],
            )
            purge(dba, "the large chat", "20 years", options.max_messages)
            while dba.execute("select from parley.chats where is_being_removed").rowcount:
                dba.execute("select parley.purge_inactive_chats('20 years', 100000)")
            purge(dba, "chats of 100", "1 day", options.max_messages)
        print_times("message, during removal", times)


if __name__ == "__main__":
    main()
