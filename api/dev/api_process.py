"""The API as a child process."""

import http.client
import os
import sys
from collections.abc import Mapping
from pathlib import Path

from api.dev.process import ChildProcess, Server, fetch_status

ROOT = Path(__file__).parents[2]


class ApiProcess(Server):
    """The API on a port of 127.0.0.1, with one worker; ready when /readyz is."""

    name = "the API"
    attempts = 1  # A retry would only repeat the error of its settings.

    def __init__(self, directory: Path, port: int, environment: Mapping[str, str]) -> None:
        super().__init__(directory, port)
        self._environment = {
            **os.environ,
            **environment,
            "HOST": "127.0.0.1",
            "PORT": str(port),
            "WORKERS": "1",
        }

    def _spawn(self) -> ChildProcess:
        return ChildProcess(self.name, [sys.executable, "-m", "api"], cwd=ROOT, env=self._environment, umask=0o077)

    def _is_ready(self) -> bool:
        return fetch_status(self.port, "/readyz") == http.client.OK
