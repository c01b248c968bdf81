"""The throughput of Parley, compared with pgbench executing the same statements, and with other servers.
`python -m tests.bench.throughput [--scale 1] [--seconds 4] [--rounds 3] [--json FILE] [--svg FILE]`

Loads the data of tests.bench.dataset, checks that all servers return the same, and measures the workloads of
tests.bench.workloads with 16 and with 64 connections. Each round measures all contenders, in a random order that is the
same in each run; figures are medians of the rounds. Prints tables in Markdown. Without node, npm or its registry, the
contender in JavaScript is skipped.

Each connection waits for a response before its next request (a closed loop): the servers are saturated, and latencies
do not include the time that requests of an open loop would wait (coordinated omission). The load generator, the servers
and PostgreSQL share the cores of the machine. Autovacuum is on, as by default.
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
from tests.bench.bar_chart import Bar, Panel, render_chart
from tests.bench.contenders import NAMES, PARLEY, PGBENCH, Contender, HttpServer, Measurement, running_contenders
from tests.bench.dataset import Dataset, load_dataset
from tests.bench.load_generator import load_processes
from tests.bench.report import Key, Rounds, describe_environment, medians_of, print_tables, write_json
from tests.bench.response_comparison import compare_servers
from tests.bench.workloads import WORKLOADS, build_requests

SAMPLE = 40  # requests of each workload whose responses are compared


def parse_arguments() -> argparse.Namespace:
    """Parse the command line."""
    workloads = [workload.name for workload in WORKLOADS]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", type=float, default=1, help="factor for the numbers of messages and chats")
    parser.add_argument("--seconds", type=float, default=4, help="duration of each measurement")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--connections", type=int, nargs="+", default=[16, 64])
    parser.add_argument("--workloads", nargs="+", choices=workloads, default=workloads)
    parser.add_argument("--contenders", nargs="+", choices=NAMES, default=list(NAMES))
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures of all rounds to this file")
    parser.add_argument("--svg", type=Path, metavar="FILE", help="write a bar chart to this file")
    return parser.parse_args()


@contextmanager
def running_benchmark(arguments: argparse.Namespace) -> Iterator[tuple[Dataset, list[Contender]]]:
    """Load the data and start the contenders."""
    with (
        load_processes() as start_load,
        load_dataset(arguments.scale) as data,
        Valkey(data.directory / "valkey") as valkey,
        running_contenders(data, valkey, start_load, arguments.contenders) as found,
    ):
        yield data, found


def compare_responses(data: Dataset, found: list[Contender]) -> None:
    """Check that all servers return the same. Raises ResponseMismatchError."""
    ports = {contender.name: contender.port for contender in found if isinstance(contender, HttpServer)}
    for workload in WORKLOADS if ports else ():
        compare_servers(workload, build_requests(data, workload, seed=0, number=SAMPLE), ports)


def measure(data: Dataset, found: list[Contender], arguments: argparse.Namespace) -> Rounds:
    """Measure all rounds."""
    rounds: Rounds = defaultdict(list)
    rng = random.Random(0)  # noqa: S311
    workloads = [workload for workload in WORKLOADS if workload.name in arguments.workloads]
    with psycopg.connect(data.postgres.url("parley"), autocommit=True) as dba:
        for number, workload, connections in product(range(arguments.rounds), workloads, arguments.connections):
            measurement = Measurement(
                workload, build_requests(data, workload, seed=number), connections, arguments.seconds
            )
            for contender in rng.sample(found, len(found)):
                # Otherwise a checkpoint might start during a measurement. After a checkpoint the first change of each
                # page writes a full-page image, a cost that each contender bears in the same way.
                dba.execute("checkpoint")
                figures = contender.measure(measurement)
                rounds[Key(workload.name, connections, contender.name)].append(figures)
                print(f"round {number + 1}: {workload.title}, {connections} connections, {contender.name}:"
                      f" {figures.rate:,.0f} a second", file=sys.stderr, flush=True)  # fmt: skip
    return rounds


def draw(rounds: Rounds) -> str:
    """Draw a chart of requests a second with the fewest connections."""
    connections = min(key.connections for key in rounds)
    panels = []
    for workload in WORKLOADS:
        rows = medians_of(rounds, workload.name, connections)
        limit = rows[PGBENCH].rate if PGBENCH in rows else None
        bars = [
            Bar(name, row.rate, f"{row.rate:,.0f}" + (f" ({row.rate / limit:.2f})" if limit else ""), name == PARLEY)
            for name, row in rows.items()
        ]  # fmt: skip
        panels.append(Panel(workload.title, bars))
    cores = describe_environment().partition(",")[0]
    note = f"{connections} connections, {cores} for all; in brackets: the share of pgbench with the same statements"
    return render_chart("Requests a second", note, [panel for panel in panels if panel.bars])


def interrupt(*_: object) -> None:
    """Shut down gracefully, and ignore further signals."""
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def main() -> None:
    """Load, compare, measure and print."""
    arguments = parse_arguments()
    for number in STOP_SIGNALS:
        signal.signal(number, interrupt)
    try:
        with running_benchmark(arguments) as (data, found):
            compare_responses(data, found)
            rounds = measure(data, found, arguments)
    except KeyboardInterrupt:
        sys.exit(130)
    settings = {name: value for name, value in vars(arguments).items() if name not in {"json", "svg"}}
    print(f"{describe_environment()}; scale {arguments.scale:g}, {arguments.rounds} rounds of {arguments.seconds:g} s")
    print_tables(rounds)
    if arguments.json:
        write_json(arguments.json, rounds, settings)
    if arguments.svg:
        arguments.svg.write_text(draw(rounds))


if __name__ == "__main__":
    main()
