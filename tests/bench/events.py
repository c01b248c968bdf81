"""The latency, the throughput and the cost of events: `python -m tests.bench.events [--soketi DIR] [--only …]`.

Prints, with PostgreSQL's default durability and everything on this machine:
- latency: from the end of the writer's statement until a subscriber has received the event, with an idle listener and
  at 500 messages a second; for comparison, that of the Pusher server alone, from a request to the subscriber;
- drain: events a second from a backlog of 50,000 until all are acknowledged in the outbox;
- inserts: messages a second by 32 writers (pgbench) with and without events, in turn, and their ratio: without a
  listener, which is the cost of recording events, and with one, which adds the cost of publishing them.
"""

import argparse
import http.client
import json
import re
import statistics
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import psycopg
from pusher.http import POST, Request
from pusher.pusher_client import PusherClient

from api.dev.postgres import Postgres
from api.dev.pusher_process import PusherProcess
from tests import ROOT
from tests.database import Connection, call, new_chat
from tests.e2e.soketi import Soketi
from tests.listener.process import Listener, running_listener
from tests.listener.subscriber import Subscriber
from tests.servers import migrate, open_directory
from tests.waiting import wait_until

CHATS = 100
USER = "writer"
IDLE_EVENTS = 300
IDLE_PAUSE_SECONDS = 0.03  # between two events
RATE = 500  # messages a second
RATE_SECONDS = 10
RATE_WRITERS = 4
BACKLOG = 50_000
CLIENTS = 32
ROUNDS = 5
ROUND_SECONDS = 3

SEND = """
\\set n random(1, {chats})
select api.send_message((select id::text from bench where n = :n), '{{"content": "{text}"}}')
from session.authenticate('{{"sub": "{user}"}}');
"""
INSERT = """
\\set n random(1, {chats})
insert into parley.messages (chat_id, user_id, content) select id, '{user}', '{text}' from bench where n = :n;
"""
TEXT = "A message as people write them, of some eighty characters, neither long nor short."
RECORDING = re.compile(r"^ *perform parley\.record_event\([^;]*;\n", flags=re.MULTILINE)


@contextmanager
def running_database() -> Iterator[tuple[Path, Postgres]]:
    """Start a PostgreSQL with the roles of the API and the listener, and with CHATS chats."""
    with open_directory() as directory, Postgres(directory / "postgres", settings={"max_connections": "200"}) as server:
        migrate(server)
        with psycopg.connect(server.url("parley"), autocommit=True) as dba:
            chats = [new_chat(dba, USER) for _ in range(CHATS)]
            dba.execute("create table bench (n integer primary key, id uuid not null)")
            dba.execute("grant select on bench to app")
            for number, chat in enumerate(chats, start=1):
                dba.execute("insert into bench values (%s, %s)", [number, chat])
        yield directory, server


def fetch_chats(connection: Connection) -> list[str]:
    """Return the ids of the chats."""
    return [chat for (chat,) in connection.execute("select id::text from bench order by n").fetchall()]


class Clock:
    """The times at which messages were committed and received, by content."""

    def __init__(self) -> None:
        self.committed: dict[str, float] = {}
        self.arrived: dict[str, float] = {}

    def record_arrival(self, content: str) -> None:
        """Record that a message was received."""
        self.arrived[content] = time.perf_counter()

    def send(self, connection: Connection, chat: str, content: str) -> None:
        """Send a message, and record its commit."""
        call(connection, USER, "send_message", chat, {"content": content})
        self.committed[content] = time.perf_counter()

    def print(self, name: str) -> None:
        """Print the percentiles, once all messages have arrived."""
        wait_until(lambda: len(self.arrived) == len(self.committed), seconds=30)
        print_percentiles(name, [1000 * (self.arrived[key] - at) for key, at in self.committed.items()])


def print_percentiles(name: str, milliseconds: list[float]) -> None:
    """Print a line of the table."""
    percentiles = statistics.quantiles(milliseconds, n=100)
    print(f"{name:44} {percentiles[49]:8.2f} {percentiles[98]:8.2f} {max(milliseconds):8.1f}")


class TimedSubscriber(Subscriber):
    """A subscriber that records the arrival of each message."""

    clock: Clock | None = None

    def on_event(self, _: str, name: str, data: Any) -> None:
        if self.clock and name == "message:sent":
            self.clock.record_arrival(data["content"])


def measure_latency(server: Postgres, pusher: PusherProcess) -> None:
    """Print the time from commit to arrival."""
    print(f"{'commit to arrival, ms':44} {'p50':>8} {'p99':>8} {'max':>8}")
    with psycopg.connect(server.url("parley", "app", "app"), autocommit=True) as writer:
        chats = fetch_chats(writer)
        with TimedSubscriber(pusher, *(f"private-chat-{chat}" for chat in chats[:10])) as subscriber:
            bare = subscriber.clock = Clock()
            publish_directly(pusher, bare, f"private-chat-{chats[0]}")
            bare.print("Pusher server alone")
            idle = subscriber.clock = Clock()
            for number in range(IDLE_EVENTS):
                idle.send(writer, chats[number % 10], f"idle {number}")
                time.sleep(IDLE_PAUSE_SECONDS)
            idle.print("idle")
            busy = subscriber.clock = Clock()
            with ThreadPoolExecutor(RATE_WRITERS) as pool:
                list(pool.map(lambda n: write_at_rate(server, busy, chats[:10], n), range(RATE_WRITERS)))
            busy.print(f"at {RATE} messages a second")


def publish_directly(pusher: PusherProcess, clock: Clock, channel: str) -> None:
    """Publish events at the Pusher server without a listener, one in each request."""
    client = PusherClient(pusher.app_id, pusher.key, pusher.secret, host="127.0.0.1", port=pusher.port, ssl=False)
    for number in range(IDLE_EVENTS):
        data = json.dumps({"content": f"bare {number}"})
        batch = [{"name": "message:sent", "channel": channel, "data": data}]
        request = Request(client, POST, f"/apps/{pusher.app_id}/batch_events", {"batch": batch})
        connection = http.client.HTTPConnection("127.0.0.1", pusher.port, timeout=10)
        connection.connect()
        clock.committed[f"bare {number}"] = time.perf_counter()
        connection.request("POST", request.signed_path, request.body, request.headers)
        connection.getresponse().read()
        connection.close()
        time.sleep(IDLE_PAUSE_SECONDS)


def write_at_rate(server: Postgres, clock: Clock, chats: list[str], writer: int) -> None:
    """Send the messages of one of the writers, each at its time."""
    with psycopg.connect(server.url("parley", "app", "app"), autocommit=True) as connection:
        begun = time.perf_counter()
        for number in range(RATE * RATE_SECONDS // RATE_WRITERS):
            time.sleep(max(0, begun + number * RATE_WRITERS / RATE - time.perf_counter()))
            clock.send(connection, chats[(number + writer) % len(chats)], f"{writer} {number}")


def measure_drain(server: Postgres, listener: Listener, pusher: PusherProcess) -> None:
    """Print the time to publish a backlog that was written without a listener."""
    with psycopg.connect(server.url("parley"), autocommit=True) as dba:
        for _ in range(BACKLOG // 1000):
            dba.execute(
                "insert into parley.messages (chat_id, user_id, content)"
                " select id, %s, %s from bench, generate_series(1, 10)",
                [USER, TEXT],
            )
        dba.execute("vacuum analyze")
        waiter = threading.Event()
        with running_listener(listener):
            begun = time.perf_counter()
            while dba.execute("select 1 from parley.outbox_queue limit 1").fetchone():
                waiter.wait(0.01)
        seconds = time.perf_counter() - begun
    print(f"drain of {BACKLOG} events: {seconds:.2f} s, {BACKLOG / seconds:,.0f} a second into {type(pusher).__name__}")


def disable_recording(dba: Connection) -> None:
    """Replace the trigger functions of messages by ones that record no events."""
    text = (ROOT / "sql" / "functions" / "messages.sql").read_text()
    dba.execute(RECORDING.sub("", text).encode())


def enable_recording(dba: Connection) -> None:
    """Restore the trigger functions of messages."""
    dba.execute((ROOT / "sql" / "functions" / "messages.sql").read_text().encode())


def measure_inserts(directory: Path, server: Postgres, listener: Listener) -> None:
    """Print messages a second with and without events."""
    print(f"{'messages a second by ' + str(CLIENTS) + ' writers':44} {'without':>8} {'with':>8} {'ratio':>8}")
    file = directory / "script.sql"
    with psycopg.connect(server.url("parley"), autocommit=True) as dba:
        for name, script, user in (("api.send_message", SEND, "app"), ("bare insert", INSERT, "postgres")):
            file.write_text(script.format(chats=CHATS, text=TEXT, user=USER))
            compare_rates(f"{name}, no listener", dba, server, file, user)
            dba.execute("truncate parley.outbox_queue")
            with running_listener(listener):
                compare_rates(f"{name}, listener running", dba, server, file, user, is_drained=True)


def compare_rates(
    name: str, dba: Connection, server: Postgres, script: Path, user: str, is_drained: bool = False
) -> None:
    """Print the medians without and with events."""
    rates: dict[str, list[float]] = {"without": [], "with": []}
    for _ in range(ROUNDS):
        for variant, replace_functions in (("without", disable_recording), ("with", enable_recording)):
            replace_functions(dba)
            rates[variant].append(run_pgbench(server, script, user))
            if is_drained:
                wait_until(lambda: not dba.execute("select 1 from parley.outbox_queue limit 1").fetchone(), 60)
    without, with_ = (statistics.median(rates[variant]) for variant in rates)
    print(f"{name:44} {without:8.0f} {with_:8.0f} {with_ / without:8.2f}")


def run_pgbench(server: Postgres, script: Path, user: str) -> float:
    """Run pgbench; return the transactions a second."""
    password = server.password if user == "postgres" else user
    done = subprocess.run(
        [server.get_program("pgbench"), "-n", "-f", script, "-c", str(CLIENTS), "-j", "2", "-T", str(ROUND_SECONDS),
         "-M", "prepared", server.url("parley", user, password)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return float(re.findall(r"^tps = ([\d.]+)", done.stdout, flags=re.MULTILINE)[0])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=("latency", "drain", "inserts"))
    parser.add_argument("--soketi", type=Path, metavar="DIR", help="publish to the soketi in its node_modules")
    options = parser.parse_args()
    with ExitStack() as stack:
        directory, server = stack.enter_context(running_database())
        pusher_directory = directory / "pusher"
        pusher = stack.enter_context(
            Soketi(pusher_directory, options.soketi / "node_modules")
            if options.soketi
            else PusherProcess(pusher_directory)
        )
        listener = Listener(directory, server.url("parley", "events", "events"), pusher)
        if options.only in (None, "latency"):
            with running_listener(listener):
                measure_latency(server, pusher)
        if options.only in (None, "drain"):
            measure_drain(server, listener, pusher)
        if options.only in (None, "inserts"):
            measure_inserts(directory, server, listener)


if __name__ == "__main__":
    main()
