"""Who is measured in tests.bench.throughput: pgbench with the API's statements, Parley, and two other servers.

All use the same PostgreSQL, Valkey, data and requests. Each of the servers has one process, unless its name tells
otherwise, and POOL connections to PostgreSQL in all, as many as keep its cores busy; pgbench has one for each client,
and one thread. Servers verify tokens and count requests in Valkey, with a limit that nobody reaches. Before each
measurement its contender is asked the same for WARM_UP seconds. The CPU of PostgreSQL is that of all its processes.
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

from api.dev.process import Child, Server, wait_for
from api.dev.valkey import Valkey
from tests import ROOT
from tests.api_process import Api, running
from tests.bench.clients import Load, Result, Start, percentile
from tests.bench.dataset import Data
from tests.bench.workloads import Workload, scripts
from tests.e2e.npm import Npm
from tests.tokens import SECRET

PGBENCH, PARLEY, TWO_WORKERS = "pgbench", "Parley", "Parley, 2 workers"
FASTAPI, FASTIFY = "FastAPI + SQLAlchemy", "Fastify + pg"
NAMES = (PGBENCH, PARLEY, TWO_WORKERS, FASTAPI, FASTIFY)

POOL = 2 * (os.cpu_count() or 1) + 1
BASELINES = Path(__file__).parent / "baselines"
NO_LIMIT = "1000000000"
WARM_UP = 2.0  # seconds: pools grow, code is compiled, and each of pgbench's sessions, all new ones, makes its plans
SECONDS_TO_END = 60


class Cpu(NamedTuple):
    """Of the client, the server, PostgreSQL and Valkey: seconds so far, or microseconds a request."""

    client: float
    server: float
    postgres: float
    valkey: float


@dataclass(frozen=True)
class Figures:
    """What one measurement gave: answers a second, milliseconds, microseconds of CPU a request."""

    rate: float
    p50: float
    p99: float
    cpu: Cpu


@dataclass(frozen=True)
class Measurement:
    """What is to be measured."""

    workload: Workload
    requests: list[bytes]
    connections: int
    seconds: float


def seconds_of(process: psutil.Process) -> float:
    """CPU of a process, of all below it, and of those of its children that have ended."""
    while True:
        own = process.cpu_times()
        try:
            below = [child.cpu_times() for child in process.children(recursive=True)]
        except psutil.NoSuchProcess:
            continue
        # One that ended in between would be in none of these, or in both.
        if process.cpu_times()[2:4] == own[2:4]:
            return sum(own[:4]) + sum(sum(times[:2]) for times in below)


class Contender(ABC):
    """One of those that are measured."""

    name: str

    def __init__(self, data: Data, valkey: Valkey) -> None:
        assert data.postgres.child
        assert valkey.child
        self.data = data
        self._postgres, self._valkey = psutil.Process(data.postgres.child.pid), psutil.Process(valkey.child.pid)

    def cpu(self, client: psutil.Process | None = None, server: psutil.Process | None = None) -> Cpu:
        """So far."""
        return Cpu(*(seconds_of(each) if each else 0 for each in (client, server, self._postgres, self._valkey)))

    @abstractmethod
    def measure(self, what: Measurement) -> Figures:
        """Raises if something does not go as it should."""


def a_request(before: Cpu, after: Cpu, requests: int) -> Cpu:
    """Microseconds."""
    return Cpu(*(1e6 * (end - start) / requests for start, end in zip(before, after, strict=True)))


class Pgbench(Contender):
    """The statements that the API sends, as its role, from a client in C: no HTTP, no tokens, no limit."""

    name = PGBENCH

    def measure(self, what: Measurement) -> Figures:
        """Takes what ended within the seconds, while it goes on."""
        directory = self.data.directory / "pgbench"
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir()
        child = Child("pgbench", self._command(what, directory), log=directory / "output")
        try:
            process = psutil.Process(child.pid)
            goes_on(child, WARM_UP)
            begun, before = time.time(), self.cpu(client=process)
            goes_on(child, what.seconds)
            ended, after = time.time(), self.cpu(client=process)
            wait_for(lambda: child.exit_code is not None, SECONDS_TO_END)
        finally:
            child.stop()
        output = (directory / "output").read_text()
        if child.exit_code != 0 or "number of failed transactions: 0 " not in output:
            raise RuntimeError(output)
        latencies = latencies_of(directory, begun, ended)
        rate = len(latencies) / (ended - begun)
        p50, p99 = percentile(latencies, 50), percentile(latencies, 99)
        return Figures(rate, p50, p99, a_request(before, after, len(latencies)))

    def _command(self, what: Measurement, directory: Path) -> list[str | Path]:
        command: list[str | Path] = [self.data.postgres.get_program("pgbench"), "--no-vacuum", "--protocol=prepared"]
        for number, (script, share) in enumerate(scripts(self.data, what.workload).items()):
            (directory / f"{number}.sql").write_text(script)
            command.append(f"--file={directory / f'{number}.sql'}@{share}")
        command += [f"--client={what.connections}", f"--time={math.ceil(WARM_UP + what.seconds) + 1}"]
        return [*command, "--log", f"--log-prefix={directory / 'log'}", self.data.postgres.url("parley", "app", "app")]


def goes_on(child: Child, seconds: float) -> None:
    """Waits so long; raises ChildError, with what the child said, if it ends before."""
    until = time.monotonic() + seconds
    child.wait_until(lambda: time.monotonic() >= until, seconds + 1)


def latencies_of(directory: Path, begun: float, ended: float) -> list[float]:
    """Seconds that transactions took that ended in between.

    The log has of each its client, number, microseconds, script, and when it ended, in seconds and microseconds.
    """
    (log,) = directory.glob("log.*")
    rows = [line.split() for line in log.read_text().splitlines()]
    return [int(row[2]) / 1e6 for row in rows if begun <= int(row[4]) + int(row[5]) / 1e6 < ended]


class HttpServer(Contender):
    """A server, that has been started."""

    def __init__(self, name: str, data: Data, valkey: Valkey, start: Start, port: int, pid: int) -> None:
        super().__init__(data, valkey)
        self.name, self.port = name, port
        self._start, self._process = start, psutil.Process(pid)

    def measure(self, what: Measurement) -> Figures:
        self._ask(what, WARM_UP)
        before = self.cpu(server=self._process)
        result = self._ask(what, what.seconds)
        after = self.cpu(server=self._process)._replace(client=result.cpu)
        cpu = a_request(before, after, result.requests)
        return Figures(result.rate, result.percentile(50), result.percentile(99), cpu)

    def _ask(self, what: Measurement, seconds: float) -> Result:
        load = Load(self.port, what.requests, what.connections, seconds, statuses=frozenset({what.workload.status}))
        return self._start(load).result()


class Baseline(Server):
    """A server that is not Parley, as a child process."""

    def __init__(self, name: str, directory: Path, command: list[str], environment: dict[str, str]) -> None:
        super().__init__(directory)
        self.name = name  # type: ignore[misc]
        self._command, self._environment = command, environment

    def _spawn(self) -> Child:
        environment = {"PATH": os.environ["PATH"], "PORT": str(self.port), **self._environment}
        command = [word.replace("PORT", str(self.port)) for word in self._command]
        return Child(self.name, command, log=self.log, cwd=ROOT, env=environment)

    def _is_ready(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


@contextmanager
def contenders(data: Data, valkey: Valkey, start: Start, names: list[str]) -> Iterator[list[Contender]]:
    """Those with these names, started; says so if one can't be."""
    with ExitStack() as stack:
        found: list[Contender] = []
        for name in names:
            if name == PGBENCH:
                found.append(Pgbench(data, valkey))
            elif server := started(name, data, valkey, stack):
                assert server.child
                found.append(HttpServer(name, data, valkey, start, server.port, server.child.pid))
        yield found


def started(name: str, data: Data, valkey: Valkey, stack: ExitStack) -> Api | Baseline | None:
    """A server that ends with the stack; None where it can't be had."""
    if name in {PARLEY, TWO_WORKERS}:
        return stack.enter_context(running(parley(data, valkey, workers=2 if name == TWO_WORKERS else 1)))
    server = baseline(name, data, valkey)
    return stack.enter_context(server) if server else None


def parley(data: Data, valkey: Valkey, workers: int) -> Api:
    """Not yet started."""
    url = data.postgres.url("parley", "app", "app")
    settings = {
        "RATE_LIMIT_REQUESTS": NO_LIMIT,
        "DATABASE_POOL_SIZE": str(-(-POOL // workers)),
        "WORKERS": str(workers),
    }
    return Api(data.directory, url, valkey.url(), **settings)


def baseline(name: str, data: Data, valkey: Valkey) -> Baseline | None:
    """Not yet started; None where what it needs can't be had."""
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
    except pytest.skip.Exception as why:
        print(f"{name} is left out: {why}", file=sys.stderr)
        return None
    program = shutil.copy(BASELINES / "fastify.mjs", directory)
    return Baseline(name, data.directory / "fastify", ["node", str(program)], environment | {"NODE_ENV": "production"})
