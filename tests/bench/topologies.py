"""The cost of the connection to PostgreSQL: a GET of a page of 50 messages, directly with prepared statements and
without, through PgBouncer, and from a replica. `python -m tests.bench.topologies [--rounds 9] [--requests 500]`

Prints milliseconds a request, sent one after another; and microseconds of CPU a request of all processes of PostgreSQL
and PgBouncer. Each round measures all topologies in turn; figures are medians of the rounds, and ratios are to the
first topology.
"""

import argparse
import statistics
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import psutil
import psycopg

from api.dev.postgres import Postgres
from api.dev.process import Server
from tests.api_process import Api, running
from tests.bench.api_servers import running_api
from tests.bench.tokens import CpuMeter, bearer
from tests.database import call, new_chat
from tests.e2e.pgbouncer import PgBouncer, pgbouncer_program, read_pgbouncer_ini
from tests.servers import new_replica
from tests.tokens import token
from tests.waiting import wait_until

USER, READER = "ada", "grace"

Figures = tuple[float, float]  # milliseconds and microseconds of CPU, a request


def cpu_seconds(servers: list[Server]) -> float:
    """Return the CPU time so far of servers and their children, in seconds."""
    leaders = [psutil.Process(server.child.pid) for server in servers if server.child]
    processes = [process for leader in leaders for process in (leader, *leader.children())]
    return sum(sum(process.cpu_times()[:2]) for process in processes)


@contextmanager
def running_topologies(api: Api, postgres: Postgres) -> Iterator[tuple[dict[str, Api], list[Server]]]:
    """Start PgBouncer, a replica, and an API for each topology; yield the APIs, and the servers that they use."""
    directory = api.log.parent
    urls = api.environment["DATABASE_URL"], api.environment["REDIS_URL"]
    with ExitStack() as stack:
        bouncer = stack.enter_context(
            PgBouncer(
                directory / "bouncer", stack.enter_context(pgbouncer_program()), postgres, ["app"], read_pgbouncer_ini()
            )
        )
        replica = stack.enter_context(new_replica(directory / "replica", postgres))
        topologies: dict[str, dict[str, str]] = {
            "direct": {},
            "direct, statement cache 0": {"DATABASE_STATEMENT_CACHE_SIZE": "0"},
            "PgBouncer, statement cache 0": {
                "DATABASE_URL": bouncer.url("parley", "app", "app"),
                "DATABASE_STATEMENT_CACHE_SIZE": "0",
            },
            "replica": {
                "DATABASE_REPLICA_URL": replica.url("parley", "app", "app"),
                "DATABASE_REPLICA_MAX_LAG": "1",
            },
        }
        apis = {
            name: stack.enter_context(running(Api(directory, *urls, RATE_LIMIT_REQUESTS="1000000", **options)))
            for name, options in topologies.items()
        }
        yield apis, [postgres, bouncer, replica]


def create_chat(postgres: Postgres) -> str:
    """Create a chat with a page of messages; return its id."""
    with psycopg.connect(postgres.url("parley"), autocommit=True) as dba:
        chat = new_chat(dba, USER, READER)
        for number in range(50):
            call(dba, USER, "send_message", chat, {"content": f"message {number}"})
        dba.execute("vacuum analyze")
    return chat


def measure(meter: CpuMeter, servers: list[Server], requests: int) -> Figures:
    """Measure a topology."""
    headers = bearer(token(READER))
    before, begun = cpu_seconds(servers), time.perf_counter()
    for _ in range(requests):
        meter.get(headers)
    elapsed = time.perf_counter() - begun
    return elapsed / requests * 1e3, (cpu_seconds(servers) - before) / requests * 1e6


def print_figures(figures: dict[str, list[Figures]]) -> None:
    """Print the medians of the rounds, without the first one, which is a warm-up."""
    medians = {name: [statistics.median(c) for c in zip(*rows[1:], strict=True)] for name, rows in figures.items()}
    base_milliseconds, base_cpu = medians["direct"]
    print(f"{'':30} {'ms':>6} {'ratio':>6} {'CPU, us':>8} {'ratio':>6}")
    for name, (milliseconds, cpu) in medians.items():
        print(f"{name:30} {milliseconds:6.2f} {milliseconds / base_milliseconds:6.2f} {cpu:8.0f} {cpu / base_cpu:6.2f}")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--requests", type=int, default=500)
    arguments = parser.parse_args()
    with running_api() as (api, postgres), running_topologies(api, postgres) as (apis, servers):
        path = f"/api/chats/{create_chat(postgres)}/messages"
        wait_until(lambda: "The replica serves reads" in apis["replica"].log.read_text())
        meters = {
            name: CpuMeter(each.port, path, each.child.pid, postgres.child.pid)  # type: ignore[union-attr]
            for name, each in apis.items()
        }
        figures: dict[str, list[Figures]] = {name: [] for name in apis}
        for _ in range(arguments.rounds + 1):
            for name, meter in meters.items():
                figures[name].append(measure(meter, servers, arguments.requests))
    print_figures(figures)


if __name__ == "__main__":
    main()
