"""The contenders of tests.bench.throughput: pgbench with the API's statements, Parley, and two other servers.

All use the same PostgreSQL, Valkey, data and requests. Each server has one process, unless its name includes another
number, and POOL connections to PostgreSQL in total; pgbench has one thread, and a connection for each client. Servers
verify tokens, and count requests in Valkey, with a limit that is never reached. Each measurement begins with a warm-up
with the same requests. The CPU time of PostgreSQL is that of all its processes.
"""

import json
import math
import os
import shutil
import socket
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import psutil
import psycopg
import pytest

from api.dev.process import ChildProcess, Server, poll_until
from api.dev.valkey import Valkey
from tests import ROOT
from tests.api_process import Api, running
from tests.bench.dataset import Dataset
from tests.bench.load_generator import Load, Result, StartLoad, percentile
from tests.bench.workloads import Workload, build_scripts
from tests.e2e.npm import Npm
from tests.tokens import SECRET

PGBENCH, PARLEY, TWO_WORKERS = "pgbench", "Parley", "Parley, 2 workers"
FASTAPI, FASTIFY = "FastAPI + SQLAlchemy", "Fastify + pg"
NAMES = (PGBENCH, PARLEY, TWO_WORKERS, FASTAPI, FASTIFY)

POOL = 2 * (os.cpu_count() or 1) + 1  # connections to PostgreSQL, enough to keep the cores busy
BASELINES = Path(__file__).parent / "baselines"
NO_LIMIT = "1000000000"
WARM_UP_SECONDS = 2.0  # pools grow, code is compiled, and the new sessions of pgbench plan their statements
END_TIMEOUT_SECONDS = 60


class Cpu(NamedTuple):
    """CPU time of the client, the server, PostgreSQL and Valkey: seconds so far, or microseconds a request."""

    client: float
    server: float
    postgres: float
    valkey: float


@dataclass(frozen=True)
class Figures:
    """The figures of a measurement: responses a second, percentiles in milliseconds, microseconds of CPU a request."""

    rate: float
    p50: float
    p99: float
    cpu: Cpu


@dataclass(frozen=True)
class Measurement:
    """The parameters of a measurement."""

    workload: Workload
    requests: list[bytes]
    connections: int
    seconds: float


def read_cpu_seconds(process: psutil.Process) -> float:
    """Return the CPU time of a process, its descendants, and its children that have ended."""
    while True:
        own = process.cpu_times()
        try:
            below = [child.cpu_times() for child in process.children(recursive=True)]
        except psutil.NoSuchProcess:
            continue
        # A child that ended between the two reads would be missing from the sum, or counted twice.
        if process.cpu_times()[2:4] == own[2:4]:
            return sum(own[:4]) + sum(sum(times[:2]) for times in below)


class Contender(ABC):
    """A server or program that is measured."""

    name: str

    def __init__(self, data: Dataset, valkey: Valkey) -> None:
        assert data.postgres.child
        assert valkey.child
        self.data = data
        self._postgres, self._valkey = psutil.Process(data.postgres.child.pid), psutil.Process(valkey.child.pid)

    def cpu(self, client: psutil.Process | None = None, server: psutil.Process | None = None) -> Cpu:
        """Return the CPU times so far."""
        return Cpu(*(read_cpu_seconds(each) if each else 0 for each in (client, server, self._postgres, self._valkey)))

    @abstractmethod
    def measure(self, measurement: Measurement) -> Figures:
        """Run a measurement after a warm-up. Raises if a request fails."""


def per_request(before: Cpu, after: Cpu, requests: int) -> Cpu:
    """Return microseconds a request."""
    return Cpu(*(1e6 * (end - start) / requests for start, end in zip(before, after, strict=True)))


class Pgbench(Contender):
    """The statements of the API, as its role, from a client in C: without HTTP, authentication or rate limiting."""

    name = PGBENCH

    def measure(self, measurement: Measurement) -> Figures:
        """Count the transactions that end within the duration, while pgbench runs on."""
        directory = self.data.directory / "pgbench"
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir()
        child = ChildProcess("pgbench", self._command(measurement, directory), log=directory / "output")
        try:
            process = psutil.Process(child.pid)
            run_for(child, WARM_UP_SECONDS)
            begun, before = time.time(), self.cpu(client=process)
            run_for(child, measurement.seconds)
            ended, after = time.time(), self.cpu(client=process)
            poll_until(lambda: child.exit_code is not None, END_TIMEOUT_SECONDS)
        finally:
            child.stop()
        output = (directory / "output").read_text()
        if child.exit_code != 0 or "number of failed transactions: 0 " not in output:
            raise RuntimeError(output)
        latencies = read_latencies(directory, begun, ended)
        rate = len(latencies) / (ended - begun)
        p50, p99 = percentile(latencies, 50), percentile(latencies, 99)
        return Figures(rate, p50, p99, per_request(before, after, len(latencies)))

    def _command(self, measurement: Measurement, directory: Path) -> list[str | Path]:
        command: list[str | Path] = [self.data.postgres.get_program("pgbench"), "--no-vacuum", "--protocol=prepared"]
        for number, (script, share) in enumerate(build_scripts(self.data, measurement.workload).items()):
            (directory / f"{number}.sql").write_text(script)
            command.append(f"--file={directory / f'{number}.sql'}@{share}")
        command += [
            f"--client={measurement.connections}",
            f"--time={math.ceil(WARM_UP_SECONDS + measurement.seconds) + 1}",
        ]
        return [*command, "--log", f"--log-prefix={directory / 'log'}", self.data.postgres.url("parley", "app", "app")]


def run_for(child: ChildProcess, seconds: float) -> None:
    """Let a child run for a duration. Raises ProcessFailedError with its output if it ends earlier."""
    until = time.monotonic() + seconds
    child.wait_until_ready(lambda: time.monotonic() >= until, seconds + 1)


def read_latencies(directory: Path, begun: float, ended: float) -> list[float]:
    """Return the latencies, in seconds, of the transactions that ended within an interval.

    Each line of the log has the client, the transaction's number, its latency in microseconds, the script, and the time
    of its end in seconds and microseconds.
    """
    (log,) = directory.glob("log.*")
    rows = [line.split() for line in log.read_text().splitlines()]
    return [int(row[2]) / 1e6 for row in rows if begun <= int(row[4]) + int(row[5]) / 1e6 < ended]


class HttpServer(Contender):
    """A running server."""

    def __init__(self, name: str, data: Dataset, valkey: Valkey, start_load: StartLoad, port: int, pid: int) -> None:
        super().__init__(data, valkey)
        self.name, self.port = name, port
        self._start_load, self._process = start_load, psutil.Process(pid)

    def measure(self, measurement: Measurement) -> Figures:
        self._send(measurement, WARM_UP_SECONDS)
        before = self.cpu(server=self._process)
        result = self._send(measurement, measurement.seconds)
        after = self.cpu(server=self._process)._replace(client=result.cpu)
        cpu = per_request(before, after, result.requests)
        return Figures(result.rate, result.percentile(50), result.percentile(99), cpu)

    def _send(self, measurement: Measurement, seconds: float) -> Result:
        load = Load(
            self.port,
            measurement.requests,
            measurement.connections,
            seconds,
            statuses=frozenset({measurement.workload.status}),
        )
        return self._start_load(load).result()


class Baseline(Server):
    """A server that is not Parley, as a child process."""

    def __init__(self, name: str, directory: Path, command: list[str], environment: dict[str, str]) -> None:
        super().__init__(directory)
        self.name = name  # type: ignore[misc]
        self._command, self._environment = command, environment

    def _spawn(self) -> ChildProcess:
        environment = {"PATH": os.environ["PATH"], "PORT": str(self.port), **self._environment}
        command = [word.replace("PORT", str(self.port)) for word in self._command]
        return ChildProcess(self.name, command, log=self.log, cwd=ROOT, env=environment)

    def _is_ready(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


@contextmanager
def running_contenders(
    data: Dataset, valkey: Valkey, start_load: StartLoad, names: list[str]
) -> Iterator[list[Contender]]:
    """Start the contenders with these names; print which ones are unavailable."""
    with ExitStack() as stack:
        found: list[Contender] = []
        for name in names:
            if name == PGBENCH:
                found.append(Pgbench(data, valkey))
            elif server := start_contender(name, data, valkey, stack):
                assert server.child
                found.append(HttpServer(name, data, valkey, start_load, server.port, server.child.pid))
        yield found


def start_contender(name: str, data: Dataset, valkey: Valkey, stack: ExitStack) -> Api | Baseline | None:
    """Start a server, which ends with the stack; return None if it is unavailable."""
    if name in {PARLEY, TWO_WORKERS}:
        return stack.enter_context(running(new_parley(data, valkey, workers=2 if name == TWO_WORKERS else 1)))
    server = new_baseline(name, data, valkey)
    return stack.enter_context(server) if server else None


def new_parley(data: Dataset, valkey: Valkey, workers: int) -> Api:
    """Return an API that is not yet started."""
    url = data.postgres.url("parley", "app", "app")
    settings = {
        "RATE_LIMIT_REQUESTS": NO_LIMIT,
        "DATABASE_POOL_SIZE": str(-(-POOL // workers)),
        "WORKERS": str(workers),
    }
    return Api(data.directory, url, valkey.url(), **settings)


def new_baseline(name: str, data: Dataset, valkey: Valkey) -> Baseline | None:
    """Return a server that is not yet started, or None if its packages are unavailable."""
    with psycopg.connect(data.postgres.url("parley"), autocommit=True) as dba:
        if not dba.execute("select from pg_roles where rolname = 'baseline'").rowcount:
            dba.execute("create role baseline login password 'baseline' bypassrls in role parley_api")
            dba.execute("grant insert on parley.messages to baseline")
            dba.execute("grant select on parley.message_words to baseline")
    environment = {
        "DATABASE_URL": data.postgres.url("parley", "baseline", "baseline"),
        "DATABASE_POOL_SIZE": str(POOL),
        "REDIS_URL": valkey.url(),
        "NEXTAUTH_SECRET": SECRET,
        "RATE_LIMIT_REQUESTS": NO_LIMIT,
    }
    if name == FASTAPI:
        app = "tests.bench.baselines.fastapi_sqlalchemy:app"
        options = ["--loop=uvloop", "--http=httptools", "--no-access-log", "--log-level=warning", "--port=PORT"]
        return Baseline(name, data.directory / "fastapi", [sys.executable, "-m", "uvicorn", app, *options], environment)
    try:
        dependencies = json.loads((BASELINES / "package.json").read_text())["dependencies"]
        directory = Npm(data.directory).install(dependencies).parent
    except pytest.skip.Exception as reason:
        print(f"{name} is skipped: {reason}", file=sys.stderr)
        return None
    program = shutil.copy(BASELINES / "fastify.mjs", directory)
    return Baseline(name, data.directory / "fastify", ["node", str(program)], environment | {"NODE_ENV": "production"})
