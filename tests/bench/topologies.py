"""The cost of the connection to PostgreSQL: a GET of a page of 50 messages, directly with prepared statements and
without, through PgBouncer, and from a replica. `python -m tests.bench.topologies [--rounds 9] [--requests 500]`

Milliseconds until the response, one request after another; microseconds of CPU of all processes of PostgreSQL and
PgBouncer. All topologies take turns in each round; figures are medians of the rounds, ratios are to the first topology.
"""

import argparse
import statistics
import time
from contextlib import ExitStack

import psutil
import psycopg

from api.dev.process import Server
from tests.api_process import Api, running
from tests.bench.support import served
from tests.bench.tokens import Site, bearer
from tests.database import call, new_chat
from tests.e2e.pgbouncer import PgBouncer, program
from tests.e2e.test_pgbouncer import read_configuration
from tests.servers import new_replica
from tests.tokens import token
from tests.waiting import wait_until

USER, READER = "ada", "grace"


def cpu(servers: list[Server]) -> float:
    """Seconds of CPU so far of servers and their children."""
    leaders = [psutil.Process(server.child.pid) for server in servers if server.child]
    processes = [process for leader in leaders for process in (leader, *leader.children())]
    return sum(sum(process.cpu_times()[:2]) for process in processes)


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--requests", type=int, default=500)
    arguments = parser.parse_args()
    with served() as (api, postgres), ExitStack() as stack:
        directory = api.log.parent
        bouncer = stack.enter_context(
            PgBouncer(directory / "bouncer", stack.enter_context(program()), postgres, ["app"], read_configuration())
        )
        replica = stack.enter_context(new_replica(directory / "replica", postgres))
        topologies: dict[str, dict[str, str]] = {
            "directly": {},
            "directly, statement cache 0": {"DATABASE_STATEMENT_CACHE_SIZE": "0"},
            "PgBouncer, statement cache 0": {
                "DATABASE_URL": bouncer.url("parley", "app", "app"),
                "DATABASE_STATEMENT_CACHE_SIZE": "0",
            },
            "replica": {
                "DATABASE_REPLICA_URL": replica.url("parley", "app", "app"),
                "DATABASE_REPLICA_MAX_LAG": "1",
            },
        }
        urls = api.environment["DATABASE_URL"], api.environment["REDIS_URL"]
        apis = {
            name: stack.enter_context(running(Api(directory, *urls, RATE_LIMIT_REQUESTS="1000000", **options)))
            for name, options in topologies.items()
        }
        with psycopg.connect(postgres.url("parley"), autocommit=True) as dba:
            chat = new_chat(dba, USER, READER)
            for number in range(50):
                call(dba, USER, "send_message", chat, {"content": f"message {number}"})
            dba.execute("vacuum analyze")
        wait_until(lambda: "The replica serves reads" in apis["replica"].log.read_text())
        figures: dict[str, list[tuple[float, float]]] = {name: [] for name in apis}
        sites = {
            name: Site(each.port, f"/api/chats/{chat}/messages", each.child.pid, postgres.child.pid)  # type: ignore[union-attr]
            for name, each in apis.items()
        }
        headers, servers = bearer(token(READER)), [postgres, bouncer, replica]
        for _ in range(arguments.rounds + 1):  # the first one is to warm up
            for name, site in sites.items():
                before, begun = cpu(servers), time.perf_counter()
                for _ in range(arguments.requests):
                    site.ask(headers)
                took = time.perf_counter() - begun
                figures[name].append(
                    (took / arguments.requests * 1e3, (cpu(servers) - before) / arguments.requests * 1e6)
                )
    print(f"{'':30} {'ms':>6} {'ratio':>6} {'CPU, us':>8} {'ratio':>6}")
    medians = {name: [statistics.median(c) for c in zip(*rows[1:], strict=True)] for name, rows in figures.items()}
    base = medians["directly"]
    for name, (wait, used) in medians.items():
        print(f"{name:30} {wait:6.2f} {wait / base[0]:6.2f} {used:8.0f} {used / base[1]:6.2f}")


if __name__ == "__main__":
    main()
