"""Deletion of a large chat, and of a user in many chats, while others send messages.
`python -m tests.bench.deletion [--messages 1000000]`

The data are those of tests.bench.search: a chat with a fifth of the messages, and a user in up to 10,000 chats.
Prints the duration of each deletion, and its ratio to that of a chat with one message and of a user in one chat; the
rows that the listener's batches remove a second, without the pauses between them; and the latency of messages in
another chat, before and during the deletion.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import psycopg

from api.dev.postgres import Postgres
from listener.maintenance import REMOVAL_BATCH
from tests.bench.retention import BASELINE_MESSAGES, SENDER, print_times, sending_messages
from tests.bench.search import READER, load_database
from tests.database import Connection, call, new_chat
from tests.waiting import wait_until

SMALL_DELETIONS = 20  # of chats and of users, for their medians


def measure_milliseconds(work: Callable[[], object]) -> float:
    """Return the duration of the work."""
    begun = time.perf_counter()
    work()
    return 1000 * (time.perf_counter() - begun)


def delete_user(dba: Connection, user: str) -> float:
    """Delete a user; return the milliseconds."""
    return measure_milliseconds(lambda: dba.execute("delete from next_auth.users where id = %s", [user]))


def measure_small_deletions(dba: Connection) -> tuple[float, float]:
    """Return the median milliseconds for a chat with one message, and for a user in one chat."""
    chats, users = [], []
    for n in range(SMALL_DELETIONS):
        chat = new_chat(dba, SENDER, f"deleted {n}")
        call(dba, SENDER, "send_message", chat, {"content": "Hello"})
        users.append(delete_user(dba, f"deleted {n}"))
        chats.append(measure_milliseconds(lambda chat=chat: call(dba, SENDER, "delete_chat", chat)))  # type: ignore[misc]
    return statistics.median(chats), statistics.median(users)


def purge(dba: Connection, function: str) -> None:
    """Remove all batches of a kind; print the durations."""
    times: list[float] = []
    removed = rows = 1
    while removed:
        begun = time.perf_counter()
        row = dba.execute(f"select listener.{function}(%s)", [REMOVAL_BATCH]).fetchone()
        times.append(1000 * (time.perf_counter() - begun))
        assert row
        removed = row[0]
        rows += removed
    print_times(function, times)
    print(f"{function}: {rows - 1:,} rows, {1000 * rows / sum(times):,.0f} a second")


def measure(server: Postgres, large: str) -> None:
    """Measure and print."""
    with psycopg.connect(server.url("parley"), autocommit=True) as dba:
        chat = new_chat(dba, SENDER)
        small_chat, small_user = measure_small_deletions(dba)
        print(f"{'':28} {'calls':>7} {'p50 ms':>8} {'p99':>8} {'max':>8}")
        with sending_messages(server, chat) as times:
            wait_until(lambda: len(times) >= BASELINE_MESSAGES, seconds=60)
        print_times("message, before", times)
        with sending_messages(server, chat) as times:
            elapsed = measure_milliseconds(lambda: call(dba, READER, "delete_chat", large))
            print(f"deleting the large chat: {elapsed:.1f} ms, {elapsed / small_chat:.1f} x a chat with one message")
            elapsed = delete_user(dba, READER)
            print(f"deleting the user in many chats: {elapsed:.1f} ms, {elapsed / small_user:.1f} x a user in one chat")
            purge(dba, "purge_memberships")
            purge(dba, "purge_deleted_chats")
        print_times("message, during removal", times)


def main() -> None:
    """Load, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=1_000_000)
    options = parser.parse_args()
    with load_database(options.messages) as (server, ids):
        measure(server, ids["chat"])


if __name__ == "__main__":
    main()
