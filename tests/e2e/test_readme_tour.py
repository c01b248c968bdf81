"""The README's first command and its tour, run unchanged and in order in a fresh checkout.

The output must equal the documented one, except for ids, times and digests.
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
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from api.dev.process import is_port_free
from tests import ROOT
from tests.e2e.dev import READY, temporary_directory
from tests.e2e.readme import README, START, TOUR, Step
from tests.waiting import wait_until

IGNORED_FILES = shutil.ignore_patterns(
    ".venv", ".git", ".parley", ".env*", ".*_cache", "__pycache__", "*.egg-info", "node_modules", ".next*"
)
PORT_IN_USE = "port 8000, which the README uses, is in use"
LISTENING = "Listening to private-chat-"


class Shell:
    """A bash that reads commands from a pipe."""

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

    def run(self, step: Step) -> list[str]:
        """Run a block; return its lines of JSON, once there are as many as documented."""
        assert self.process.stdin
        start = len(self.output)
        self.process.stdin.write(f"{step.command}\necho; echo status $?\n")
        self.process.stdin.flush()

        def parse_output() -> list[str]:
            # Two programs write to this pipe, possibly to the same line.
            lines = self.output[start:].replace("}{", "}\n{").splitlines()
            return [line for line in lines if line.startswith("{") and line.endswith("}")]

        def is_done() -> bool:
            is_listening = not step.command.endswith("&\n") or LISTENING in self.output[start:]
            return "status " in self.output[start:] and is_listening and len(parse_output()) >= len(step.printed)

        with contextlib.suppress(AssertionError):
            wait_until(is_done)
        assert is_done(), self.output[start:]
        return parse_output()

    def close(self) -> None:
        with self.process, contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self._thread.join()


class Normalizer:
    """Parses lines of JSON with ids replaced by numbers in order of appearance, and times and digests by constants."""

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
    """Run the first command in a fresh checkout."""
    if not is_port_free(8000):
        pytest.skip(PORT_IN_USE)
    with temporary_directory() as directory:
        shutil.copytree(ROOT, directory / "parley", ignore=IGNORED_FILES)
        with (directory / "output").open("wb") as output:
            first = subprocess.Popen(
                ["bash", "-c", START.command],
                cwd=directory / "parley",
                env=clean_environment(directory) | provide_dependencies(directory),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        read_output = (directory / "output").read_text
        wait_until(lambda: READY in read_output() or first.poll() is not None, seconds=240)
        if "port 8000 of 127.0.0.1 is in use" in read_output():  # it was free before
            pytest.skip(PORT_IN_USE)
        assert READY in read_output(), read_output()[-2000:]
        yield directory / "parley"
        os.killpg(first.pid, signal.SIGINT)
        assert first.wait(timeout=60) == 0, read_output()[-2000:]


def clean_environment(directory: Path) -> dict[str, str]:
    """Return the environment without the variables of this virtual environment."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}
    return clean | {"PARLEY_TEST": str(directory)}  # temporary_directory() finds the processes of the test by it


def provide_dependencies(directory: Path) -> dict[str, str]:
    """Return an environment in which the README's first command needs no downloads and finds no other packages.

    Its virtual environment reads a directory with links to the requirements of the extra `local`, installed by `dev`.
    """
    packages = directory / "packages"
    packages.mkdir()
    for name in find_distributions("parley[local]") - {"parley"}:
        for entry in {file.parts[0] for file in importlib.metadata.files(name) or []} - {"..", "__pycache__"}:
            (packages / entry).symlink_to(str(importlib.metadata.distribution(name).locate_file(entry)))
    python = directory / "bin" / "python3"
    python.parent.mkdir()
    site = sysconfig.get_path("purelib", "venv", {"base": ".venv"})
    interpreter = shlex.quote(sys.executable)
    python.write_text(f'#!/bin/sh\n{interpreter} "$@" && echo {shlex.quote(str(packages))} > {site}/dependencies.pth\n')
    python.chmod(0o755)
    return {"PATH": f"{python.parent}:{os.environ['PATH']}", "PIP_NO_DEPS": "1"}


def find_distributions(root: str) -> set[str]:
    """Return the names of all distributions that pip installs for a requirement: itself and its dependencies."""
    visited: set[tuple[str, str]] = set()
    pending = [Requirement(root)]
    while pending:
        requirement = pending.pop()
        name = canonicalize_name(requirement.name)
        for extra in {"", *requirement.extras}:
            if (name, extra) not in visited:
                visited.add((name, extra))
                required = map(Requirement, importlib.metadata.requires(name) or [])
                pending += [r for r in required if not r.marker or r.marker.evaluate({"extra": extra})]
    return {name for name, _ in visited}


def test_tour_prints_the_documented_output(checkout: Path) -> None:
    shell = Shell(checkout, clean_environment(checkout))
    documented, real = Normalizer(), Normalizer()
    try:
        for step in TOUR:
            lines = shell.run(step)
            assert [real(line) for line in sorted(lines)] == [documented(line) for line in sorted(step.printed)]
    finally:
        shell.close()


def test_pages_named_in_the_readme_exist(checkout: Path) -> None:
    urls = set(re.findall(r"http://127\.0\.0\.1:8000/docs[\w/]*", README))
    assert len(urls) == 2
    for url in urls:
        response = httpx.get(url)
        assert (response.status_code, response.headers["content-type"].split(";")[0]) == (200, "text/html"), url
    assert (checkout / ".parley" / "8000" / "web.env").exists()
