"""docker-compose.yml, and its services run without Docker."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from api.dev.process import ChildProcess
from tests import ROOT

TEXT = (ROOT / "docker-compose.yml").read_text()
FILE: dict[str, Any] = yaml.safe_load(TEXT)
SERVICES: dict[str, dict[str, Any]] = FILE["services"]
PARLEY_SERVICES = ("migrate", "api", "listener")
DOCKERFILE: str = SERVICES["migrate"]["build"]["dockerfile_inline"]
ENV_COMMAND = re.search(r"```sh\n(\(umask [^`]*> \.env\)\n)```", (ROOT / "README.md").read_text())
OPTIONAL_VARIABLES = {"PUBLIC_URL", "ALLOWED_ORIGINS", "TRUSTED_PROXIES", "WORKERS"}  # optional variables
INSTALL = "/opt/parley"
LOOPBACK = {"0.0.0.0": "127.0.0.1"}  # noqa: S104 (replaced, because tests listen on loopback only)


class MissingError(Exception):
    """A required variable is missing."""


def interpolate(value: Any, variables: Mapping[str, str]) -> Any:
    """Interpolate the variables of .env as Compose does."""

    def value_of(match: re.Match[str]) -> str:
        name, operator = match["name"], match["operator"]
        if not name:
            return "$"
        if operator == ":?" and not variables.get(name):
            raise MissingError(name)
        return variables.get(name) or ""

    if isinstance(value, Mapping):
        return {name: interpolate(part, variables) for name, part in value.items()}
    if isinstance(value, list):
        return [interpolate(part, variables) for part in value]
    return re.sub(r"\$(?:\$|\{(?P<name>\w+)(?P<operator>:[-?])[^}]*\})", value_of, value)


def create_env(directory: Path) -> subprocess.CompletedProcess[str]:
    """Run the README's command that creates a .env."""
    assert ENV_COMMAND
    return subprocess.run(["sh", "-c", ENV_COMMAND[1]], cwd=directory, capture_output=True, text=True, check=False)


def parse_copies(dockerfile: str) -> list[tuple[list[str], str]]:
    """Return the COPY instructions for our files, each as sources and a target."""
    words = [line.split()[1:] for line in dockerfile.splitlines() if line.startswith("COPY ")]
    return [(sources, target) for *sources, target in words if not sources[0].startswith("--")]


@dataclass
class Image:
    """The contents of our image in local directories: the installation and the working directory.

    Dependencies are those of the tests.
    """

    install: Path
    workdir: Path

    @property
    def environment(self) -> dict[str, str]:
        programs = f"{self.install / 'bin'}:{Path(sys.executable).parent}:{os.environ['PATH']}"
        return {"PATH": programs, "PYTHONPATH": str(self.install)}


@dataclass
class Services:
    """The services of the file without Docker: their commands run here, with addresses of this machine."""

    image: Image
    env: dict[str, str]
    addresses: dict[str, str]

    def __call__(self, value: Any) -> Any:
        """Interpolate a command or an environment of the file, with addresses of this machine."""
        if isinstance(value, Mapping):
            return {name: self(part) for name, part in value.items()}
        if isinstance(value, list):
            return [self(part) for part in value]
        # In one pass, before the interpolation: a port or a secret may contain the digits of another port.
        addresses = "|".join(map(re.escape, self.addresses))
        return interpolate(re.sub(addresses, lambda match: self.addresses[match[0]], value), self.env)

    def environment(self, service: str, **changes: str) -> dict[str, str]:
        return {**self.image.environment, **self(SERVICES[service]["environment"]), **changes}

    def run(self, service: str, **changes: str) -> None:
        """Run the command of a service until it ends."""
        command, environment = self(SERVICES[service]["command"]), self.environment(service, **changes)
        subprocess.run(command, cwd=self.image.workdir, env=environment, check=True, timeout=60)

    def is_healthy(self, service: str, **changes: str) -> bool:
        """Whether the health check of a service succeeds."""
        kind, *command = self(SERVICES[service]["healthcheck"]["test"])
        command = ["sh", "-c", *command] if kind == "CMD-SHELL" else command
        environment = self.environment(service, **changes)
        done = subprocess.run(command, env=environment, capture_output=True, check=False, timeout=20)
        return done.returncode == 0

    @contextmanager
    def running(self, service: str, cwd: Path | None = None, **changes: str) -> Iterator[ChildProcess]:
        """Run a service for the block, once it is healthy. After its end, its health check must fail."""
        command, environment = self(SERVICES[service]["command"]), self.environment(service, **changes)
        log = self.image.workdir / f"{service}.log"
        child = ChildProcess(service, command, log=log, cwd=cwd or self.image.workdir, env=environment)
        try:
            assert not self.is_healthy(service)
            child.wait_until_ready(lambda: self.is_healthy(service), seconds=30)
            yield child
        finally:
            child.stop(signal.SIGKILL)
        assert not self.is_healthy(service)
