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

from api.dev.process import poll_until
from tests import ROOT

READY = "Ctrl-C stops it."
LINUX_ONLY = pytest.mark.skipif(sys.platform != "linux", reason="needs PR_SET_PDEATHSIG")


class Dev:
    """A `parley dev` in a directory, which also has the file with its output. `root` is the checkout that it runs."""

    def __init__(self, directory: Path, *arguments: str, user: str | None = None, root: Path = ROOT) -> None:
        self.directory = directory
        self._output = directory / f"output-{secrets.token_hex(4)}"
        with self._output.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "api.cli", "dev", *arguments],
                cwd=directory,
                env=build_environment(directory, root),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                user=user,
            )

    @property
    def output(self) -> str:
        return self._output.read_text()

    @property
    def commands(self) -> str:
        return self.output[self.output.index("export TOKEN=") : self.output.index(READY)]

    def wait_until(self, condition: Any) -> None:
        poll_until(lambda: condition() or self.process.poll() is not None, seconds=60)
        assert condition(), self.output

    def wait_until_ready(self) -> "Dev":
        self.wait_until(lambda: READY in self.output)
        return self

    def wait(self) -> int:
        return self.process.wait(timeout=60)

    def stop(self) -> int:
        self.process.send_signal(signal.SIGINT)
        return self.wait()


def build_environment(directory: Path, root: Path = ROOT) -> dict[str, str]:
    own = {"PYTHONPATH": str(root), "PARLEY_TEST": str(directory), "RATE_LIMIT_REQUESTS": "1000"}
    npm = {"NPM_CONFIG_CACHE": str(Path.home() / ".npm"), "NPM_CONFIG_USERCONFIG": str(Path.home() / ".npmrc")}
    return {**os.environ, **npm, **own, "HOME": str(directory)}


def find_processes(directory: Path) -> list[str]:
    """Return all processes of a stack in the directory, regardless of their parents."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.status() == psutil.STATUS_ZOMBIE:
                continue
            texts = process.cmdline()
            with contextlib.suppress(psutil.AccessDenied):  # The API and the listener let only root read these.
                texts += [process.cwd(), process.environ().get("PARLEY_TEST", "")]
            if any(text.startswith(str(directory)) for text in texts):
                found.append(f"{process.pid} {process.cmdline()}")
    return found


def assert_no_processes(directory: Path, seconds: float = 10) -> None:
    poll_until(lambda: not find_processes(directory), seconds)
    assert find_processes(directory) == []


@contextlib.contextmanager
def temporary_directory() -> Iterator[Path]:
    """Create a directory that PostgreSQL's user can access, unlike those of pytest; kill the processes left in it."""
    with tempfile.TemporaryDirectory(prefix="parley-") as name:
        directory = Path(name).resolve()
        try:
            yield directory
        finally:
            for line in find_processes(directory):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(line.split()[0]), signal.SIGKILL)
            assert_no_processes(directory)


def parse_url(dev: Dev) -> str:
    return str(re.findall(r"http://127\.0\.0\.1:\d+", dev.commands)[0])


def fetch_titles(dev: Dev) -> set[str]:
    token = re.findall(r"TOKEN=(\S+)", dev.output)[0]
    response = httpx.get(f"{parse_url(dev)}/api/chats", headers={"Authorization": f"Bearer {token}"})
    return {chat["title"] for chat in response.json()["chats"]}


def fail_to_start(*arguments: str, directory: Path, **variables: str) -> str:
    """Run a `parley dev` that cannot start, with these environment variables; return the one line that it prints."""
    done = subprocess.run(
        [sys.executable, "-m", "api.cli", "dev", *arguments],
        cwd=directory,
        env=build_environment(directory) | variables,
        capture_output=True,
        check=False,
        text=True,
        timeout=30,
    )
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    return done.stderr


def run_parley(directory: Path, /, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run `parley` in a directory, with these environment variables."""
    clean = {k: v for k, v in os.environ.items() if k not in ("NEXTAUTH_SECRET", "AUTH_SECRET")}
    return subprocess.run(
        [sys.executable, "-m", "api.cli", *arguments],
        cwd=directory,
        env={**clean, "PYTHONPATH": str(ROOT), **variables},
        capture_output=True,
        check=False,
        text=True,
        timeout=30,
    )


def run_parley_token(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run `parley token` in an empty directory, with these environment variables."""
    with temporary_directory() as directory:
        return run_parley(directory, "token", *arguments, **variables)
