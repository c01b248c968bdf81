"""How thin the layer over PostgreSQL is: Parley beside pgbench with the same statements, and beside other servers.
`python -m tests.bench.throughput [--scale 1] [--seconds 4] [--rounds 3] [--json FILE] [--picture FILE]`

Loads the data of tests.bench.dataset, sees that all servers give the same answers, and measures the requests of
tests.bench.workloads with 16 and with 64 connections. All take turns in each round, in a random order that is the same
in each run; figures are the medians of the rounds. Prints tables in Markdown. Without node, npm or its registry, one
contender is left out.

Each connection waits for its answer before it asks again (a closed loop). So all are as busy as they can be, and
latencies are those of a server that is, without what a request would have waited that came at its own time (coordinated
omission). Clients, servers and PostgreSQL share the machine's cores. Autovacuum is on, as it is by default.
"""

import argparse
import random
import signal
import sys
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product
from pathlib import Path

import psycopg

from api.dev.process import STOP_SIGNALS
from api.dev.valkey import Valkey
from tests.bench.answers import check
from tests.bench.clients import apart
from tests.bench.contenders import NAMES, PARLEY, PGBENCH, Contender, HttpServer, Measurement, contenders
from tests.bench.dataset import Data, loaded
from tests.bench.picture import Bar, Panel, picture
from tests.bench.report import Key, Rounds, place, print_tables, rows_of, write_json
from tests.bench.workloads import WORKLOADS, requests

SAMPLE = 40  # requests whose answers are compared


def options() -> argparse.Namespace:
    """What is asked for."""
    workloads = [workload.name for workload in WORKLOADS]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", type=float, default=1, help="how many times as many messages and chats")
    parser.add_argument("--seconds", type=float, default=4, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--connections", type=int, nargs="+", default=[16, 64])
    parser.add_argument("--workloads", nargs="+", choices=workloads, default=workloads)
    parser.add_argument("--contenders", nargs="+", choices=NAMES, default=list(NAMES))
    parser.add_argument("--json", type=Path, metavar="FILE", help="where to write the figures of all rounds")
    parser.add_argument("--picture", type=Path, metavar="FILE", help="where to draw the figures as SVG")
    return parser.parse_args()


@contextmanager
def started(arguments: argparse.Namespace) -> Iterator[tuple[Data, list[Contender]]]:
    """The data, and all that are measured."""
    with (
        apart() as start,
        loaded(arguments.scale) as data,
        Valkey(data.directory / "valkey") as valkey,
        contenders(data, valkey, start, arguments.contenders) as found,
    ):
        yield data, found


def compare(data: Data, found: list[Contender]) -> None:
    """Sees that all servers answer the same."""
    ports = {contender.name: contender.port for contender in found if isinstance(contender, HttpServer)}
    for workload in WORKLOADS if ports else ():
        check(workload, requests(data, workload, seed=0, number=SAMPLE), ports)


def measured(data: Data, found: list[Contender], arguments: argparse.Namespace) -> Rounds:
    """The figures of all rounds."""
    rounds: Rounds = defaultdict(list)
    chance = random.Random(0)  # noqa: S311
    workloads = [workload for workload in WORKLOADS if workload.name in arguments.workloads]
    with psycopg.connect(data.postgres.url("parley"), autocommit=True) as dba:
        for number, workload, connections in product(range(arguments.rounds), workloads, arguments.connections):
            what = Measurement(workload, requests(data, workload, seed=number), connections, arguments.seconds)
            for contender in chance.sample(found, len(found)):
                # Else one might come meanwhile; and a page that is first changed after one goes to the log as a whole,
                # for which the first to send messages would pay.
                dba.execute("checkpoint")
                figures = contender.measure(what)
                rounds[Key(workload.name, connections, contender.name)].append(figures)
                print(f"round {number + 1}: {workload.title}, {connections} connections, {contender.name}:"
                      f" {figures.rate:,.0f} a second", file=sys.stderr, flush=True)  # fmt: skip
    return rounds


def drawn(rounds: Rounds) -> str:
    """The picture: requests a second with the fewest connections."""
    connections = min(key.connections for key in rounds)
    panels = []
    for workload in WORKLOADS:
        rows = rows_of(rounds, workload.name, connections)
        limit = rows[PGBENCH].rate if PGBENCH in rows else None
        bars = [
            Bar(name, row.rate, f"{row.rate:,.0f}" + (f" ({row.rate / limit:.2f})" if limit else ""), name == PARLEY)
            for name, row in rows.items()
        ]  # fmt: skip
        panels.append(Panel(workload.title, bars))
    cores = place().partition(",")[0]
    note = f"{connections} connections, {cores} for all; in brackets: of what pgbench gets with the same statements"
    return picture("Requests a second", note, [panel for panel in panels if panel.bars])


def interrupt(*_: object) -> None:
    """Ends it in good order; who asks twice is not heard."""
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def main() -> None:
    """Loads, compares, measures, prints."""
    arguments = options()
    for number in STOP_SIGNALS:
        signal.signal(number, interrupt)
    try:
        with started(arguments) as (data, found):
            compare(data, found)
            rounds = measured(data, found, arguments)
    except KeyboardInterrupt:
        sys.exit(130)
    settings = {name: value for name, value in vars(arguments).items() if name not in {"json", "picture"}}
    print(f"{place()}; scale {arguments.scale:g}, {arguments.rounds} rounds of {arguments.seconds:g} s")
    print_tables(rounds)
    if arguments.json:
        write_json(arguments.json, rounds, settings)
    if arguments.picture:
        arguments.picture.write_text(drawn(rounds))


if __name__ == "__main__":
    main()
