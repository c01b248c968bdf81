"""The commands of the READMEs other than those of the tour, run unchanged.

A block that is neither in a part that is run nor in ELSEWHERE fails `test_every_block_is_run`.
"""

import contextlib
import importlib.metadata
import importlib.util
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psycopg
import pytest

from api import cli
from api.dev.postgres import Postgres
from api.dev.process import ChildProcess, find_free_port
from api.dev.pusher_process import PusherProcess
from api.dev.valkey import Valkey
from tests import ROOT
from tests.conftest import QUICK
from tests.e2e.readme import DATABASE, DEPLOYMENT, ELSEWHERE, README, SQL_README, START, TOUR, parse_steps
from tests.listener.process import LEADER_LOG
from tests.servers import new_postgres, yoyo
from tests.tokens import SECRET


def test_every_block_is_run() -> None:
    tested = [step.command for step in (START, *TOUR, *DEPLOYMENT, *DATABASE)]
    for step in parse_steps(README) + parse_steps(SQL_README):
        assert (step.command in tested) + step.command.startswith(tuple(ELSEWHERE)) == 1, step.command
    languages = set(re.findall(r"^ *```([^\n]*)\n.*?^ *```$", README + SQL_README, flags=re.DOTALL | re.MULTILINE))
    assert languages == {"sh", "json", "js", "sql", "ini", ""}  # no block of shell under another name
    for beginning, reason in ELSEWHERE.items():
        assert any(step.command.startswith(beginning) for step in parse_steps(README) + parse_steps(SQL_README)), (
            beginning
        )
        for path in re.findall(r"tests/\S+\.py", reason):
            assert (ROOT / path).exists()
    assert sum(len(step.printed) for step in parse_steps(README)) == sum(len(step.printed) for step in TOUR) == 7


@dataclass
class Cluster:
    """A cluster with a database whose owner is no superuser, and values for the ellipses of the READMEs."""

    directory: Path
    postgres: Postgres
    valkey: Valkey
    pusher: PusherProcess
    port: int = field(default_factory=find_free_port)

    def url(self, user: str = "owner", database: str = "parley") -> str:
        return self.postgres.url(database, user, "owner-password")

    def new_database(self, name: str) -> None:
        with psycopg.connect(self.postgres.url("postgres"), autocommit=True) as dba:
            dba.execute(f"create database {name} owner owner")

    def fill(self, command: str, database: str = "parley") -> str:
        """Replace the ellipses of a command by URLs, passwords and names."""
        replacements: dict[str, str | Callable[[re.Match[str]], str]] = {
            r"postgresql://(\w+):…@db/parley": lambda m: self.url(m[1], database),
            r"\bPASSWORD=…": "PASSWORD=owner-password",
            r"redis://…": self.valkey.url(),
            r"NEXTAUTH_SECRET=…": f"NEXTAUTH_SECRET={shlex.quote(SECRET)}",
            r"s3://bucket/": f"file://{self.directory}/",
            r"(PUSHER_\w+)=…": lambda m: f"{m[1]}={self.pusher.environment[m[1]]}",
        }
        for pattern, replacement in replacements.items():
            command = re.sub(pattern, replacement, command)
        assert "…" not in command, command
        return command

    @property
    def environment(self) -> dict[str, str]:
        programs = f"{Path(sys.executable).parent}:{self.postgres.get_program('psql').parent}:{os.environ['PATH']}"
        pusher = {name: value for name, value in self.pusher.environment.items() if re.search("HOST|PORT|TLS", name)}
        psqlrc = self.directory / "psqlrc"
        psqlrc.write_text("\\set ON_ERROR_STOP on\n\\set QUIET on\n")  # otherwise psql continues after an error
        return {"PATH": programs, "DATABASE_URL": self.url(), "PORT": str(self.port), "PSQLRC": str(psqlrc)} | pusher

    def run(self, command: str, database: str = "parley") -> str:
        """Run a command, which must succeed; return its output."""
        done = subprocess.run(
            ["bash", "-euc", self.fill(command, database)],
            cwd=ROOT,
            env=self.environment | {"DATABASE_URL": self.url(database=database)},
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert done.returncode == 0, (command, done.stderr)
        return done.stdout

    def start(self, command: str, name: str, is_ready: Callable[[str], bool]) -> ChildProcess:
        """Start a command that runs until it is stopped; return when it is ready."""
        log = self.directory / f"{name}.log"
        child = ChildProcess(name, ["bash", "-euc", self.fill(command)], log=log, cwd=ROOT, env=self.environment)
        try:
            child.wait_until_ready(lambda: is_ready(log.read_text()), seconds=30)
        except BaseException:
            child.stop()
            raise
        return child


@pytest.fixture(scope="module", name="cluster")
def _cluster(directory: Path, valkey: Valkey) -> Iterator[Cluster]:
    cluster_directory = directory / "readme"
    with (
        new_postgres(cluster_directory / "postgres", **QUICK) as postgres,
        PusherProcess(cluster_directory / "pusher") as pusher,
    ):
        cluster = Cluster(cluster_directory, postgres, valkey, pusher)
        with psycopg.connect(postgres.url("postgres"), autocommit=True) as dba:
            dba.execute("create role owner login createrole password 'owner-password'")
        cluster.new_database("parley")
        yield cluster


def test_documented_deployment_works(cluster: Cluster) -> None:
    migration, api, listener = (step.command for step in DEPLOYMENT)
    cluster.run(migration)
    cluster.run(migration)

    def is_ready(_: str) -> bool:
        with contextlib.suppress(httpx.TransportError):
            return httpx.get(f"http://127.0.0.1:{cluster.port}/readyz").is_success
        return False

    with contextlib.ExitStack() as stack:
        stack.callback(cluster.start(api, "api", is_ready).stop, signal.SIGTERM)
        stack.callback(cluster.start(listener, "listener", lambda log: LEADER_LOG in log).stop, signal.SIGTERM)
        with psycopg.connect(cluster.url("parley_signin")) as web:
            assert web.execute("select count(*) from sessions").fetchone() == (0,)


def test_documented_database_commands_work(cluster: Cluster) -> None:
    yoyo(cluster.url(), "apply", "--batch")
    cluster.run("PASSWORD=… parley db login ada parley_analyst")
    cluster.new_database("scratch")
    for step in DATABASE:
        # A rollback would leave the other commands without tables.
        cluster.run(step.command, "scratch" if "yoyo rollback" in step.command else "parley")
    (in_prose,) = set(re.findall(r"`((?:cat|psql) [^`]+)`", README + SQL_README))
    assert "parley.messages" in cluster.run(in_prose)


def test_commands_named_in_prose_exist() -> None:
    prose = re.sub(r"```.*?```", "", README + SQL_README, flags=re.DOTALL)
    named = {" ".join(command.split()) for command in re.findall(r"`([^`]+)`", prose)}
    parser = cli._create_parser()
    subcommands = {"apply", "list", "rollback", "mark", "unmark", "break-lock"}
    for command in sorted(named):
        program, *arguments = shlex.split(command) if re.match(r"(parley|yoyo|python -m) ", command) else [""]
        if program == "parley":
            with pytest.raises(SystemExit, match="0"):
                parser.parse_args([*arguments, "--help"])
        elif program == "yoyo":
            assert arguments[0] in subcommands, command
        elif program == "python":
            assert importlib.util.find_spec(arguments[1]), command
