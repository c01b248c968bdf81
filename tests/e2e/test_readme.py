"""The commands of the READMEs, run as they stand there, in their order, by a reader with a fresh checkout.

Of what they print, the README has the words and the form; ids, times and digests are others each time. A block that is
in none of the parts that are run, nor in ELSEWHERE, fails `test_every_block_is_run`.
"""

import contextlib
import importlib.metadata
import importlib.util
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import sysconfig
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psycopg
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from api import cli
from api.dev.postgres import Postgres
from api.dev.process import Child, free_port, is_free
from api.dev.pusher_process import Pusher
from api.dev.valkey import Valkey
from tests.conftest import QUICK
from tests.e2e.test_dev import READY, scratch
from tests.listener.support import LEADS
from tests.support import ROOT, SECRET, new_postgres, wait_until, yoyo

README = (ROOT / "README.md").read_text()
SQL_README = (ROOT / "sql" / "README.md").read_text()
LEFT_BEHIND = shutil.ignore_patterns(".venv", ".git", ".parley", ".env", ".*_cache", "__pycache__", "*.egg-info")
TAKEN = "port 8000, where the README has the API, is in use"
LISTENING = "Listening to private-chat-"

# Blocks that no test here runs, by how they begin, and why.
ELSEWHERE = {
    "python3 -m venv .venv && .venv/bin/pip install -e '.[dev]' && .venv/bin/pytest": "it runs this; .ci/run takes it",
    "python3 -m venv .venv && .venv/bin/pip install -e '.[dev]' && .venv/bin/python -m tests.bench": "takes 15 minutes",
    "(umask 077; set -C; for name in": "tests/e2e/test_compose.py runs it",
    "docker compose up": "needs Docker and its images; tests/e2e/test_compose.py runs what it starts",
    "DATABASE_URL=postgresql://postgres@db/parley PGPASSWORD=": "tests/e2e/test_restore_drill.py runs the script so",
}


@dataclass
class Step:
    """A block of shell, and what is printed after it."""

    command: str
    printed: list[str] = field(default_factory=list)


def part(text: str, heading: str) -> str:
    """What stands under a heading, to the next one of its rank."""
    level = heading.split(maxsplit=1)[0]
    start = text.index(f"\n{heading}\n")
    end = re.search(rf"^#{{2,{len(level)}}} ", text[start + len(heading) + 2 :], flags=re.MULTILINE)
    return text[start:][: end and end.start() + len(heading) + 2]


def steps(text: str) -> list[Step]:
    """The blocks of shell in a text, each with the JSON that follows it."""
    found: list[Step] = []
    for language, block in re.findall(r"^```(sh|json)\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE):
        if language == "sh":
            found.append(Step(block))
        else:
            found[-1].printed += block.splitlines()
    return found


START = steps(part(README, "## Two commands"))[0]
TOUR = steps(part(README, "## A tour in five minutes"))
DEPLOYMENT = steps(part(README, "### Without it"))
DATABASE = [step for step in steps(SQL_README) if not step.command.startswith(tuple(ELSEWHERE))]


def test_every_block_is_run() -> None:
    known = [step.command for step in (START, *TOUR, *DEPLOYMENT, *DATABASE)]
    for step in steps(README) + steps(SQL_README):
        assert (step.command in known) + step.command.startswith(tuple(ELSEWHERE)) == 1, step.command
    languages = set(re.findall(r"^ *```([^\n]*)\n.*?^ *```$", README + SQL_README, flags=re.DOTALL | re.MULTILINE))
    assert languages == {"sh", "json", "js", "sql", "ini", ""}  # and no shell by another name
    for beginning, why in ELSEWHERE.items():
        assert any(step.command.startswith(beginning) for step in steps(README) + steps(SQL_README)), beginning
        for path in re.findall(r"tests/\S+\.py", why):
            assert (ROOT / path).exists()
    assert sum(len(step.printed) for step in steps(README)) == sum(len(step.printed) for step in TOUR) == 7


# The tour


class Shell:
    """A terminal with a bash."""

    def __init__(self, directory: Path, environment: dict[str, str]) -> None:
        self.output = ""
        self.process = subprocess.Popen(
            ["bash"],
            cwd=directory,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            self.output += line

    def do(self, step: Step) -> list[str]:
        """Types a block; answers the JSON that it prints, once that is as many lines as are to come."""
        assert self.process.stdin
        start = len(self.output)
        self.process.stdin.write(f"{step.command}\necho; echo status $?\n")
        self.process.stdin.flush()

        def printed() -> list[str]:
            # Two programs write here, and so perhaps one on the other's line.
            lines = self.output[start:].replace("}{", "}\n{").splitlines()
            return [line for line in lines if line.startswith("{") and line.endswith("}")]

        def is_done() -> bool:
            is_listening = not step.command.endswith("&\n") or LISTENING in self.output[start:]
            return "status " in self.output[start:] and is_listening and len(printed()) >= len(step.printed)

        with contextlib.suppress(AssertionError):
            wait_until(is_done)
        assert is_done(), self.output[start:]
        return printed()

    def close(self) -> None:
        with self.process, contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self._thread.join()


class Names:
    """Gives ids, times and digests the same names in what is printed as in what is documented, in order."""

    def __init__(self) -> None:
        self._ids: dict[str, str] = {}

    def __call__(self, line: str) -> object:
        line = re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", "TIME", line)
        line = re.sub(r"\b[0-9a-f]{64}\b", "DIGEST", line)
        uuid = r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}"
        line = re.sub(uuid, lambda id_: self._ids.setdefault(id_[0], f"ID {len(self._ids)}"), line)
        return json.loads(line)


@pytest.fixture(scope="module", name="checkout")
def _checkout() -> Iterator[Path]:
    """A checkout of one's own, and its first command, which runs."""
    if not is_free(8000):
        pytest.skip(TAKEN)
    with scratch() as directory:
        shutil.copytree(ROOT, directory / "parley", ignore=LEFT_BEHIND)
        with (directory / "output").open("wb") as output:
            first = subprocess.Popen(
                ["bash", "-c", START.command],
                cwd=directory / "parley",
                env=reader(directory) | with_dependencies(directory),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        said = (directory / "output").read_text
        wait_until(lambda: READY in said() or first.poll() is not None, seconds=240)
        if "port 8000 of 127.0.0.1 is in use" in said():  # by then
            pytest.skip(TAKEN)
        assert READY in said(), said()[-2000:]
        yield directory / "parley"
        os.killpg(first.pid, signal.SIGINT)
        assert first.wait(timeout=60) == 0, said()[-2000:]


def reader(directory: Path) -> dict[str, str]:
    """The environment of somebody who has none of ours."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}
    return clean | {"PARLEY_TEST": str(directory)}  # by which scratch() knows what is ours


def with_dependencies(directory: Path) -> dict[str, str]:
    """Have the README's first command find here what it would download, and no other package.

    Its virtual environment reads a directory with links to what the extra `local` requires, installed here by `dev`.
    """
    packages = directory / "packages"
    packages.mkdir()
    for name in distributions_of("parley[local]") - {"parley"}:
        for entry in {file.parts[0] for file in importlib.metadata.files(name) or []} - {"..", "__pycache__"}:
            (packages / entry).symlink_to(str(importlib.metadata.distribution(name).locate_file(entry)))
    python = directory / "bin" / "python3"
    python.parent.mkdir()
    site = sysconfig.get_path("purelib", "venv", {"base": ".venv"})
    interpreter = shlex.quote(sys.executable)
    python.write_text(f'#!/bin/sh\n{interpreter} "$@" && echo {shlex.quote(str(packages))} > {site}/dependencies.pth\n')
    python.chmod(0o755)
    return {"PATH": f"{python.parent}:{os.environ['PATH']}", "PIP_NO_DEPS": "1"}


def distributions_of(root: str) -> set[str]:
    """The names of all distributions that pip installs for a requirement: itself and what it requires, in turn."""
    seen: set[tuple[str, str]] = set()
    pending = [Requirement(root)]
    while pending:
        requirement = pending.pop()
        name = canonicalize_name(requirement.name)
        for extra in {"", *requirement.extras}:
            if (name, extra) not in seen:
                seen.add((name, extra))
                required = map(Requirement, importlib.metadata.requires(name) or [])
                pending += [r for r in required if not r.marker or r.marker.evaluate({"extra": extra})]
    return {name for name, _ in seen}


def test_the_tour_goes_as_it_is_told(checkout: Path) -> None:
    shell = Shell(checkout, reader(checkout))
    documented, real = Names(), Names()
    try:
        for step in TOUR:
            printed = shell.do(step)
            assert [real(line) for line in sorted(printed)] == [documented(line) for line in sorted(step.printed)]
    finally:
        shell.close()


def test_the_pages_that_the_readme_names_are_there(checkout: Path) -> None:
    urls = set(re.findall(r"http://127\.0\.0\.1:8000/docs[\w/]*", README))
    assert len(urls) == 2
    for url in urls:
        answer = httpx.get(url)
        assert (answer.status_code, answer.headers["content-type"].split(";")[0]) == (200, "text/html"), url
    assert (checkout / ".parley" / "8000" / "web.env").exists()


# Deployment, and what a DBA does


@dataclass
class Place:
    """A cluster with a database whose owner is no superuser, and what stands for what the READMEs leave open."""

    directory: Path
    postgres: Postgres
    valkey: Valkey
    pusher: Pusher
    port: int = field(default_factory=free_port)

    def url(self, user: str = "owner", database: str = "parley") -> str:
        return self.postgres.url(database, user, "what-owners-have")

    def new_database(self, name: str) -> None:
        with psycopg.connect(self.postgres.url("postgres"), autocommit=True) as dba:
            dba.execute(f"create database {name} owner owner")

    def filled(self, command: str, database: str = "parley") -> str:
        """The command without an ellipsis: with our URLs, passwords and names."""
        given: dict[str, str | Callable[[re.Match[str]], str]] = {
            r"postgresql://(\w+):…@db/parley": lambda m: self.url(m[1], database),
            r"\bPASSWORD=…": "PASSWORD=what-owners-have",
            r"redis://…": self.valkey.url(),
            r"NEXTAUTH_SECRET=…": f"NEXTAUTH_SECRET={shlex.quote(SECRET)}",
            r"s3://bucket/": f"file://{self.directory}/",
            r"(PUSHER_\w+)=…": lambda m: f"{m[1]}={self.pusher.environment[m[1]]}",
        }
        for open_, ours in given.items():
            command = re.sub(open_, ours, command)
        assert "…" not in command, command
        return command

    @property
    def environment(self) -> dict[str, str]:
        programs = f"{Path(sys.executable).parent}:{self.postgres.program('psql').parent}:{os.environ['PATH']}"
        pusher = {name: value for name, value in self.pusher.environment.items() if re.search("HOST|PORT|TLS", name)}
        psqlrc = self.directory / "psqlrc"
        psqlrc.write_text("\\set ON_ERROR_STOP on\n\\set QUIET on\n")  # else psql goes on after an error
        return {"PATH": programs, "DATABASE_URL": self.url(), "PORT": str(self.port), "PSQLRC": str(psqlrc)} | pusher

    def run(self, command: str, database: str = "parley") -> str:
        """What a command prints; it must succeed."""
        done = subprocess.run(
            ["bash", "-euc", self.filled(command, database)],
            cwd=ROOT,
            env=self.environment | {"DATABASE_URL": self.url(database=database)},
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert done.returncode == 0, (command, done.stderr)
        return done.stdout

    def start(self, command: str, name: str, is_ready: Callable[[str], bool]) -> Child:
        """A command that goes on, from when it is ready."""
        log = self.directory / f"{name}.log"
        child = Child(name, ["bash", "-euc", self.filled(command)], log=log, cwd=ROOT, env=self.environment)
        try:
            child.wait_until(lambda: is_ready(log.read_text()), seconds=30)
        except BaseException:
            child.stop()
            raise
        return child


@pytest.fixture(scope="module", name="place")
def _place(directory: Path, valkey: Valkey) -> Iterator[Place]:
    here = directory / "readme"
    with new_postgres(here / "postgres", **QUICK) as postgres, Pusher(here / "pusher") as pusher:
        place = Place(here, postgres, valkey, pusher)
        with psycopg.connect(postgres.url("postgres"), autocommit=True) as dba:
            dba.execute("create role owner login createrole password 'what-owners-have'")
        place.new_database("parley")
        yield place


def test_a_deployment_as_it_is_told(place: Place) -> None:
    migration, api, listener = (step.command for step in DEPLOYMENT)
    place.run(migration)
    place.run(migration)

    def is_ready(_: str) -> bool:
        with contextlib.suppress(httpx.TransportError):
            return httpx.get(f"http://127.0.0.1:{place.port}/readyz").is_success
        return False

    with contextlib.ExitStack() as stack:
        stack.callback(place.start(api, "api", is_ready).stop, signal.SIGTERM)
        stack.callback(place.start(listener, "listener", lambda log: LEADS in log).stop, signal.SIGTERM)
        with psycopg.connect(place.url("parley_signin")) as web:
            assert web.execute("select count(*) from sessions").fetchone() == (0,)


def test_what_a_dba_is_told_to_run_works(place: Place) -> None:
    yoyo(place.url(), "apply", "--batch")
    place.run("PASSWORD=… parley db login ada parley_analyst")
    place.new_database("scratch")
    for step in DATABASE:
        # What rolls back would leave the rest nothing to work on.
        place.run(step.command, "scratch" if "yoyo rollback" in step.command else "parley")
    (in_prose,) = set(re.findall(r"`(psql [^`]+)`", README + SQL_README))
    assert "parley.messages" in place.run(in_prose)


def test_what_the_readmes_name_in_passing_can_be_run() -> None:
    prose = re.sub(r"```.*?```", "", README + SQL_README, flags=re.DOTALL)
    named = {" ".join(command.split()) for command in re.findall(r"`([^`]+)`", prose)}
    parser = cli._parser()
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
