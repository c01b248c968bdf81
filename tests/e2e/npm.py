"""Packages from npm for tests with real clients, and programs that use them."""

import fcntl
import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Self

import pytest

INSTALL_SECONDS = 120
# Milliseconds between attempts; and no peer dependencies, which would include Next.js.
OPTIONS = ["--fetch-retry-mintimeout=500", "--fetch-retry-maxtimeout=1000", "--legacy-peer-deps", "--ignore-scripts"]


@dataclass
class Npm:
    """Installs each set of packages once, in a directory that the workers share."""

    directory: Path

    def install(self, dependencies: Mapping[str, str], overrides: Mapping[str, str] | None = None) -> Path:
        """Return the directory `node_modules` with these packages; skip the test where they cannot be had."""
        if not (shutil.which("node") and shutil.which("npm")):
            pytest.skip("there is no node, or no npm")
        package = json.dumps({"private": True, "dependencies": dependencies, "overrides": overrides or {}})
        directory = self.directory / f"npm-{sha256(package.encode()).hexdigest()[:16]}"
        directory.mkdir(exist_ok=True)
        file = directory / "package.json"
        with (directory / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # waits for another worker that installs them
            if not file.exists():
                file.write_text(package)
                try:
                    self._install(directory)
                except subprocess.SubprocessError as error:
                    file.unlink()
                    stderr = getattr(error, "stderr", None) or ""
                    pytest.skip(f"npm could not install {', '.join(dependencies)}: {error} {stderr[:300]!s}")
        return directory / "node_modules"

    @staticmethod
    def _install(directory: Path) -> None:
        command = ["npm", "install", "--no-audit", "--no-fund", *OPTIONS]
        subprocess.run(command, cwd=directory, capture_output=True, text=True, check=True, timeout=INSTALL_SECONDS)


class Program:
    """A JavaScript module in its own process that reads commands and writes results, each as a line of JSON."""

    def __init__(self, program: Path, modules: Path) -> None:
        self._process = subprocess.Popen(
            ["node", shutil.copy(program, modules.parent)],  # beside its modules, which node resolves from there
            env={"PATH": os.environ["PATH"]},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def do(self, command: str, *values: Any) -> Any:
        """Send a command; return its result."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps([command, *values]) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with self._process:
            self._process.kill()
