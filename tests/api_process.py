"""The API as a process, its clients, its log and its metrics."""

import itertools
import json
import os
import signal
import ssl
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from api.dev.process import ChildProcess, find_free_port
from tests import ROOT
from tests.tokens import OLD_SECRET, SECRET, new_user, token
from tests.waiting import wait_until

_addresses = itertools.count(1)
_NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # made once, since it is slow
# httpcore counts a connection as idle until its next request begins, so with a limit it closes those of other threads.
_KEEP_ALIVE = httpx.Limits(max_keepalive_connections=None)


class Api:
    """`python -m api` as a process on a free port; `options` are further environment variables."""

    def __init__(self, directory: Path, database_url: str, redis_url: str, **options: str) -> None:
        self.port = find_free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = directory / f"api-{self.port}.log"
        self.log.unlink(missing_ok=True)  # of an earlier API on this port
        self.command = [sys.executable, "-W", "error", "-m", "api"]
        self.spawn: Callable[..., ChildProcess] = ChildProcess
        self.environment = {
            "PATH": os.environ["PATH"],
            "DATABASE_URL": database_url,
            "REDIS_URL": redis_url,
            "NEXTAUTH_SECRET": f"{SECRET}, {OLD_SECRET}",
            "PORT": str(self.port),
            "STORAGE_URL": f"file://{directory}/images-{self.port}",
            "TRUSTED_PROXIES": "1",  # so that each test can have its own address, and thus its own rate limit
            "LOG_REQUESTS_OVER": "inf",  # because on a busy machine any request may take half a second
            **options,
        }
        self.images = directory / f"images-{self.port}"
        self.child: ChildProcess | None = None

    def start(self) -> None:
        """Start it; return when it is ready."""
        self.child = self.spawn("API", self.command, log=self.log, cwd=ROOT, env=self.environment)
        self.child.wait_until_ready(self.is_ready, seconds=20)

    def fail_to_start(self) -> str:
        """Start it in vain; return the one line of its log."""
        child = ChildProcess("API", self.command, log=self.log, cwd=ROOT, env=self.environment)
        try:
            wait_until(lambda: child.exit_code is not None)
        finally:
            child.stop()
        assert child.exit_code == 1
        lines = self.log.read_text().splitlines()
        assert len(lines) == 1, lines
        return lines[0]

    def is_ready(self) -> bool:
        """Whether GET /readyz succeeds."""
        try:
            return httpx.get(f"{self.url}/readyz", timeout=5, verify=_NO_TLS).is_success
        except httpx.TransportError:
            return False

    def export_environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Set its environment variables in this process, for tests that call modules of the API without starting it."""
        for name, value in self.environment.items():
            monkeypatch.setenv(name, value)

    def stop(self) -> None:
        """End it by SIGTERM."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it by SIGKILL."""
        self._end()

    def _end(self, *signals: signal.Signals) -> None:
        if self.child:
            self.child.stop(*signals)
            self.child = None

    def client(self, user: str | None = None, **headers: str) -> httpx.Client:
        """Return an HTTP client with an address of its own and a user's token; a new user's, unless it is ""."""
        return httpx.Client(
            base_url=self.url, timeout=20, headers=self.headers(user) | headers, verify=_NO_TLS, limits=_KEEP_ALIVE
        )

    def headers(self, user: str | None = None) -> dict[str, str]:
        """Return the headers of such a client."""
        address = str(ip_address("10.0.0.0") + next(_addresses))
        authorization = {} if user == "" else {"Authorization": f"Bearer {token(user or new_user())}"}
        return {"X-Forwarded-For": address, **authorization}


@contextmanager
def running(api: Api) -> Iterator[Api]:
    """Start the API for the block."""
    try:
        api.start()
        yield api
    finally:
        api.stop()


def choose_long_window() -> str:
    """Return a RATE_LIMIT_WINDOW that does not end during the tests, as one of a day does at midnight."""
    return str(max((86_400, 70_000), key=lambda seconds: seconds - time.time() % seconds))


def read_log(log: Path) -> list[dict[str, Any]]:
    """Return the lines of a log, parsed as JSON."""
    return [json.loads(line) for line in log.read_text().splitlines()]


def scrape(port: int, name: str, **labels: str) -> float:
    """Scrape the metrics on this port; return the sum of the samples of this name with these labels."""
    text = httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=10, verify=_NO_TLS).raise_for_status().text
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    return sum(s.value for s in samples if s.name == name and labels.items() <= s.labels.items())
