"""The cost of events on users' channels, by the number of members: `python -m tests.bench.user_channels`.

For chats of each size, the listener publishes the same backlog twice in one run: on the chats' own channels only, as
for large chats, and on the members' channels too. Prints for each: events a second until all are acknowledged, requests
to Pusher and messages for each event; and the time from an idle commit to the last of the members.

Messages are those that Pusher counts as published; it also counts each delivery to a connected subscriber, which is the
same for one channel of all members as for a channel of each.
"""

import statistics
import time
from typing import NamedTuple

import psycopg

from api.dev.postgres import Postgres
from api.dev.process import find_free_port
from api.dev.pusher_process import PusherProcess
from tests.api_process import scrape
from tests.bench.events import TEXT
from tests.database import Connection, call, new_chat
from tests.listener.process import Listener, running_listener
from tests.listener.subscriber import Subscriber
from tests.servers import migrate, open_directory
from tests.sql.outbox import SMALL_CHAT_MEMBERS, add_members

SIZES = (2, 5, 20, 100, 1000)
CHATS = 20  # of each size
MESSAGES = 200_000  # published at most, by size
EVENTS = 10_000  # at most, by size
LATENCY_EVENTS = 50


class Drained(NamedTuple):
    """A backlog that was published."""

    events_per_second: float
    requests_per_event: float


def write_backlog(dba: Connection, chats: list[str], events: int, *, on_user_channels: bool) -> None:
    """Record message events, without a listener."""
    dba.execute(
        "insert into parley.messages (chat_id, user_id, content)"
        " select c, 'owner', %s from unnest(%s::uuid[]) c, generate_series(1, %s)",
        [TEXT, chats, events // len(chats)],
    )
    if not on_user_channels:
        dba.execute("update parley.outbox set on_user_channels = false where on_user_channels")
    dba.execute("vacuum analyze")


def drain(dba: Connection, listener: Listener, port: int, events: int) -> Drained:
    """Publish the backlog."""
    with running_listener(listener):
        begun = time.perf_counter()
        while dba.execute("select 1 from parley.outbox_queue limit 1").fetchone():
            time.sleep(0.01)
        seconds = time.perf_counter() - begun
        requests = scrape(port, "parley_pusher_request_seconds_count", result="accepted")
    return Drained(events / seconds, requests / events)


def measure_latency(dba: Connection, listener: Listener, pusher: PusherProcess, chat: str) -> float:
    """Return the median milliseconds from a commit until the last channel of a user has its event."""
    query = "select array_agg(parley.user_channel(user_id)) from parley.members where chat_id = %s"
    (channels,) = dba.execute(query, [chat]).fetchone() or ([],)
    times = []
    with running_listener(listener), Subscriber(pusher, *channels) as subscriber:
        for number in range(LATENCY_EVENTS):
            call(dba, "owner", "send_message", chat, {"content": str(number)})
            begun = time.perf_counter()
            while len(subscriber.events) < len(channels) * (number + 1):
                time.sleep(0.0002)
            times.append(1000 * (time.perf_counter() - begun))
    return statistics.median(times)


def measure(dba: Connection, listener: Listener, pusher: PusherProcess, port: int, members: int) -> None:
    """Print the row of a number of members."""
    chats = [new_chat(dba, "owner", title=f"{members} members") for _ in range(CHATS)]
    for chat in chats:
        add_members(dba, chat, members - 1)
    events = min(EVENTS, MESSAGES // (1 + members)) // CHATS * CHATS
    drained = {}
    for on_user_channels in (False, True):
        write_backlog(dba, chats, events, on_user_channels=on_user_channels)
        drained[on_user_channels] = drain(dba, listener, port, events)
    one, all_ = drained[False], drained[True]
    is_large = members > SMALL_CHAT_MEMBERS
    latency = "" if is_large else f"{measure_latency(dba, listener, pusher, chats[0]):.1f}"
    print(
        f"{members:8} {one.events_per_second:10,.0f} {all_.events_per_second:10,.0f}"
        f" {all_.events_per_second / one.events_per_second:6.2f} {one.requests_per_event:9.2f}"
        f" {all_.requests_per_event:9.2f} {1:9} {1 if is_large else 1 + members:9} {latency:>10}"
    )


def main() -> None:
    """Measure and print."""
    with (
        open_directory() as directory,
        Postgres(directory / "postgres", settings={"max_connections": "200"}) as server,
        PusherProcess(directory / "pusher") as pusher,
    ):
        migrate(server)
        port = find_free_port()
        listener = Listener(
            directory, server.url("parley", "events", "events"), pusher, LISTENER_METRICS_PORT=str(port)
        )
        print(f"{'':8} {'events a second':>28} {'requests an event':>19} {'messages an event':>19} {'latency':>10}")
        print(
            f"{'members':>8} {'chat only':>10} {'and users':>10} {'ratio':>6}"
            + f" {'chat':>9} {'users':>9}" * 2
            + f" {'ms':>10}"
        )
        with psycopg.connect(server.url("parley"), autocommit=True) as dba:
            for members in SIZES:
                measure(dba, listener, pusher, port, members)


if __name__ == "__main__":
    main()
