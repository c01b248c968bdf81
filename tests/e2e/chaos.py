"""Kills servers while users write: no event is lost, and none overtakes another.
`python -m tests.e2e.chaos [--rounds 100] [--seed N] [--soketi DIR]`

Writers send, edit and delete messages and rename chats, as fast as the API responds. In each round one or two of the
listener, the API, PostgreSQL and Pusher end by SIGKILL at random moments and are restarted; the first and the last
round pass without a kill. At the end the queue must drain, and the promises of chaos_report.py must hold.
"""

import argparse
import random
import secrets
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from api.dev.postgres import Postgres
from api.dev.process import poll_until
from tests.api_process import Api
from tests.database import Connection
from tests.e2e.chaos_report import (
    Outbox,
    Report,
    check_arrivals,
    check_repetitions,
    extend_kill,
    fetch_number,
    find_violations,
)
from tests.e2e.killable_servers import VICTIMS, Servers, running_servers
from tests.e2e.recording_proxy import Arrival
from tests.e2e.soketi import add_soketi_option
from tests.e2e.subscriber import Subscriber
from tests.e2e.writers import Writer, writing

CHATS = 4
WRITERS = 6
MIN_SECONDS, MAX_SECONDS = 0.5, 1.5  # seconds of a round, in addition to the restarts
SETTLE_SECONDS = 120
RECEIVE_SECONDS = 30


def run(rounds: int, seed: int, soketi: Path | None = None) -> Report:
    """Run rounds, of which the first and the last pass without a kill; report the outcome."""
    rng = random.Random(seed)  # noqa: S311 (no secret)
    begun = time.monotonic()
    with running_servers(soketi) as (servers, proxy):
        chats = [new_chat(servers.api, f"owner-{n}", f"member-{n}") for n in range(CHATS)]
        roles = [("owner", n) for n in range(CHATS)] + [("member", n) for n in range(WRITERS - CHATS)]
        writers = [Writer(servers.api, chats[n], f"{role}-{n}", seed, is_owner=role == "owner") for role, n in roles]
        with Subscriber(servers.pusher, [f"private-chat-{chat}" for chat in chats]) as subscriber:
            with writing([writer.write_until for writer in writers]):
                let_writers_write(rng.uniform(MIN_SECONDS, MAX_SECONDS))
                for _ in range(rounds - 2):
                    kill_servers(servers, rng)
                settle(servers)  # no kill explains later repetitions
                let_writers_write(rng.uniform(MIN_SECONDS, MAX_SECONDS))
            settle(servers)
            with connect_superuser(servers.postgres) as dba:
                outbox = Outbox.read(dba)
                others = find_violations(dba, outbox, [writer.ledger for writer in writers])
            if not poll_until(lambda: find_last_arrivals(subscriber.received[-1]) == outbox.last, RECEIVE_SECONDS):
                others.append("the subscriber did not receive the last events")
        others += proxy.errors
        others += [f"the listener logged: {line}" for line in servers.listener.find_unexpected_lines()]
        report = Report(
            seed,
            rounds,
            Counter(kill.victim for kill in servers.kills),
            acknowledged=sum(len(writer.ledger.changes) for writer in writers),
            recorded=len(outbox.places),
            arrivals=sum(arrival in outbox.places for _, arrival in proxy.arrivals),
            connections=len(subscriber.received),
            received=sum(map(len, subscriber.received)),
            seconds=time.monotonic() - begun,
            others=others,
        )
        check_arrivals(report, outbox, proxy.arrivals, subscriber.received)
        check_repetitions(report, outbox, proxy.arrivals, [extend_kill(kill, proxy.opened) for kill in servers.kills])
        return report


def new_chat(api: Api, owner: str, member: str) -> str:
    """Create a chat of two users; return its id."""
    with api.client(owner) as one, api.client(member) as other:
        other.get("/api/chats").raise_for_status()  # so that the user exists
        created = one.post("/api/chats", json={"title": "Killed"}).raise_for_status()
        chat: str = created.json()["id"]
        one.post(f"/api/chats/{chat}/members", json={"userId": member}).raise_for_status()
        return chat


def let_writers_write(seconds: float) -> None:
    """Let the writers write."""
    poll_until(lambda: False, seconds)


def kill_servers(servers: Servers, rng: random.Random) -> None:
    """Kill one or two servers, which may be down at the same time, and restart them."""
    for victim in rng.sample(VICTIMS, rng.choice([1, 2])):
        let_writers_write(rng.uniform(MIN_SECONDS, MAX_SECONDS) / 2)
        servers.kill(victim)
        if rng.random() < 0.5:
            servers.restart()
    let_writers_write(rng.uniform(0, MIN_SECONDS))
    servers.restart()


def settle(servers: Servers) -> None:
    """Restart all servers; return when the delayed events are published, or after a timeout."""
    servers.restart()
    with connect_superuser(servers.postgres) as dba:
        last = fetch_number(dba, "select max(id) from parley.outbox")

        def is_published() -> bool:
            servers.listener.restart()  # it may have ended by itself
            return fetch_number(dba, "select count(*) from parley.outbox_queue where id <= %s", last) == 0

        poll_until(is_published, SETTLE_SECONDS)


def find_last_arrivals(arrivals: Iterable[Arrival]) -> dict[str, Arrival]:
    """Return the last arrival on each channel."""
    return {arrival.channel: arrival for arrival in arrivals}


@contextmanager
def connect_superuser(postgres: Postgres) -> Iterator[Connection]:
    """Connect as the superuser."""
    with psycopg.connect(postgres.url("parley"), autocommit=True) as connection:
        yield connection


def main() -> None:
    """Run and print the report; exit with 1 after a violation."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.e2e.chaos", description="Kill and restart all servers, again and again."
    )
    parser.add_argument(
        "--rounds", type=int, default=100, help="at least 2: the first and the last pass without a kill"
    )
    parser.add_argument(
        "--seed", type=int, default=new_seed(), help="of the writers' changes and the moments of the kills"
    )
    add_soketi_option(parser)
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    report = run(options.rounds, options.seed, options.soketi)
    print(report)
    sys.exit(1 if report.violations else 0)


def new_seed() -> int:
    """Return a random seed."""
    return secrets.randbelow(1_000_000)


if __name__ == "__main__":
    main()
