"""Deletion of a large chat, and of a user who is in many, while others send.
`python -m tests.bench.deletion [--messages 1000000]`

The data are those of tests.bench.search: a chat with a fifth of the messages, and a user in up to 10,000 chats.
Prints how long the deletion of each takes, and its ratio to that of a chat with one message and of a user in one chat;
how many rows the listener's batches remove in a second, without the pauses between them; and how long a message in
another chat takes, before and meanwhile.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import psycopg

from api.dev.postgres import Postgres
from listener.maintenance import REMOVAL_BATCH
from tests.bench.retention import BEFORE, SENDER, print_times, sending
from tests.bench.search import READER, loaded
from tests.database import Connection, call, new_chat
from tests.waiting import wait_until

SMALL = 20  # deletions of small chats and users, of which the median counts


def milliseconds(work: Callable[[], object]) -> float:
    """Return how long the work takes."""
    begun = time.perf_counter()
    work()
    return 1000 * (time.perf_counter() - begun)


def delete_user(dba: Connection, user: str) -> float:
    """Return how many milliseconds the deletion takes."""
    return milliseconds(lambda: dba.execute("delete from next_auth.users where id = %s", [user]))


def small_deletions(dba: Connection) -> tuple[float, float]:
    """Return the median milliseconds for a chat with one message, and for a user in one chat."""
    chats, users = [], []
    for n in range(SMALL):
        chat = new_chat(dba, SENDER, f"leaver {n}")
        call(dba, SENDER, "send_message", chat, {"content": "Hello"})
        users.append(delete_user(dba, f"leaver {n}"))
        chats.append(milliseconds(lambda chat=chat: call(dba, SENDER, "delete_chat", chat)))  # type: ignore[misc]
    return statistics.median(chats), statistics.median(users)


def remove(dba: Connection, function: str) -> None:
    """Remove all batches of a kind; print the times."""
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
    """Measure on loaded data, and print."""
    with psycopg.connect(server.url("parley"), autocommit=True) as dba:
        chat = new_chat(dba, SENDER)
        of_chat, of_user = small_deletions(dba)
        print(f"{'':28} {'calls':>7} {'p50 ms':>8} {'p99':>8} {'most':>8}")
        with sending(server, chat) as times:
            wait_until(lambda: len(times) >= BEFORE, seconds=60)
        print_times("a message, before", times)
        with sending(server, chat) as times:
            took = milliseconds(lambda: call(dba, READER, "delete_chat", large))
            print(f"deleting the large chat: {took:.1f} ms, {took / of_chat:.1f} x a chat with one message")
            took = delete_user(dba, READER)
            print(f"deleting the user in many chats: {took:.1f} ms, {took / of_user:.1f} x a user in one chat")
            remove(dba, "purge_memberships")
            remove(dba, "purge_deleted_chats")
        print_times("a message, meanwhile", times)


def main() -> None:
    """Load, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=1_000_000)
    options = parser.parse_args()
    with loaded(options.messages) as (server, ids):
        measure(server, ids["chat"])


if __name__ == "__main__":
    main()
