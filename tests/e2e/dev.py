"""`parley dev` as a process in a temporary directory.

Every process of a stack can be recognised by that directory, or by an environment variable that names it.
"""

import contextlib
import os
import re
import secrets
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from api.dev.process import wait_for
from tests import ROOT

READY = "Ctrl-C stops it."
LINUX_ONLY = pytest.mark.skipif(sys.platform != "linux", reason="needs PR_SET_PDEATHSIG")


class Dev:
    """A `parley dev` in a directory, its output in a file there."""

    def __init__(self, directory: Path, *arguments: str, user: str | None = None) -> None:
        self.directory = directory
        self._output = directory / f"output-{secrets.token_hex(4)}"
        with self._output.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "api.cli", "dev", *arguments],
                cwd=directory,
                env=environment(directory),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                user=user,
            )

    @property
    def output(self) -> str:
        return self._output.read_text()

    @property
    def paste(self) -> str:
        return self.output[self.output.index("export TOKEN=") : self.output.index(READY)]

    def wait_until(self, condition: Any) -> None:
        wait_for(lambda: condition() or self.process.poll() is not None, seconds=60)
        assert condition(), self.output

    def until_ready(self) -> "Dev":
        self.wait_until(lambda: READY in self.output)
        return self

    def ended(self) -> int:
        return self.process.wait(timeout=60)

    def stop(self) -> int:
        self.process.send_signal(signal.SIGINT)
        return self.ended()


def environment(directory: Path) -> dict[str, str]:
    ours = {"PYTHONPATH": str(ROOT), "PARLEY_TEST": str(directory), "RATE_LIMIT_REQUESTS": "1000"}
    return {**os.environ, **ours, "HOME": str(directory)}


def processes_of(directory: Path) -> list[str]:
    """Return all processes, children of whichever parent, that belong to a stack in the directory."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.status() == psutil.STATUS_ZOMBIE:
                continue
            where = [process.cwd(), *process.cmdline(), process.environ().get("PARLEY_TEST", "")]
            if any(text.startswith(str(directory)) for text in where):
                found.append(f"{process.pid} {process.cmdline()}")
    return found


def assert_nothing_is_left(directory: Path) -> None:
    wait_for(lambda: not processes_of(directory), seconds=10)
    assert processes_of(directory) == []


@contextlib.contextmanager
def scratch() -> Iterator[Path]:
    """A temporary directory that, unlike that of pytest, the user can search that PostgreSQL runs as."""
    with tempfile.TemporaryDirectory(prefix="parley-") as name:
        directory = Path(name).resolve()
        try:
            yield directory
        finally:
            for line in processes_of(directory):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(line.split()[0]), signal.SIGKILL)
            assert_nothing_is_left(directory)


def base_url(dev: Dev) -> str:
    return str(re.findall(r"http://127\.0\.0\.1:\d+", dev.paste)[0])


def titles(dev: Dev) -> set[str]:
    token = re.findall(r"TOKEN=(\S+)", dev.output)[0]
    answer = httpx.get(f"{base_url(dev)}/api/chats", headers={"Authorization": f"Bearer {token}"})
    return {chat["title"] for chat in answer.json()["chats"]}


def refused(*arguments: str, directory: Path) -> str:
    """Return the one line that a `parley dev` prints which cannot start."""
    done = subprocess.run(
        [sys.executable, "-m", "api.cli", "dev", *arguments],
        cwd=directory,
        env=environment(directory),
        capture_output=True,
        check=False,
        text=True,
        timeout=30,
    )
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    return done.stderr


def parley_token(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    clean = {k: v for k, v in os.environ.items() if k not in ("NEXTAUTH_SECRET", "AUTH_SECRET")}
    with scratch() as directory:
        return subprocess.run(
            [sys.executable, "-m", "api.cli", "token", *arguments],
            cwd=directory,
            env={**clean, "PYTHONPATH": str(ROOT), **variables},
            capture_output=True,
            check=False,
            text=True,
            timeout=30,
        )
