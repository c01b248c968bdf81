"""The README's first command and its tour, run as they stand there, in their order, by a reader with a fresh checkout.

The words and the form of the output are those of the README; ids, times and digests differ each time.
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
from tests.e2e.dev import READY, scratch
from tests.e2e.readme import README, START, TOUR, Step
from tests.waiting import wait_until

LEFT_BEHIND = shutil.ignore_patterns(".venv", ".git", ".parley", ".env", ".*_cache", "__pycache__", "*.egg-info")
TAKEN = "port 8000, where the README has the API, is in use"
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

    def do(self, step: Step) -> list[str]:
        """Run a block; return the lines of JSON that it prints, once there are as many as are documented."""
        assert self.process.stdin
        start = len(self.output)
        self.process.stdin.write(f"{step.command}\necho; echo status $?\n")
        self.process.stdin.flush()

        def printed() -> list[str]:
            # Two programs write to this pipe, and may share a line.
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
    """Replaces ids, times and digests by names, the same ones in real and documented output, in order."""

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
    """Return the environment without the variables of this virtual environment."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}
    return clean | {"PARLEY_TEST": str(directory)}  # by which scratch() finds the processes of the test


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
