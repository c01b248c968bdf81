"""Packages from npm in a temporary directory, for tests with real clients, and programs that use them."""

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import pytest

INSTALL_SECONDS = 120
# Milliseconds between tries; and no peers, which for next-auth would be all of Next.js.
OPTIONS = ["--fetch-retry-mintimeout=500", "--fetch-retry-maxtimeout=1000", "--legacy-peer-deps", "--ignore-scripts"]


@contextmanager
def installed(dependencies: Mapping[str, str], overrides: Mapping[str, str] | None = None) -> Iterator[Path]:
    """The directory `node_modules` with these; skips the test where they are not to be had."""
    if not (shutil.which("node") and shutil.which("npm")):
        pytest.skip("there is no node, or no npm")
    with tempfile.TemporaryDirectory(prefix="parley-npm-") as directory:
        package = {"private": True, "dependencies": dependencies, "overrides": overrides or {}}
        (Path(directory) / "package.json").write_text(json.dumps(package))
        command = ["npm", "install", "--no-audit", "--no-fund", *OPTIONS]
        try:
            subprocess.run(command, cwd=directory, capture_output=True, text=True, check=True, timeout=INSTALL_SECONDS)
        except subprocess.SubprocessError as error:
            said = getattr(error, "stderr", None) or ""
            pytest.skip(f"npm could not install {', '.join(dependencies)}: {error} {said[:300]!s}")
        yield Path(directory) / "node_modules"


class Program:
    """A module with commands, in a process of its own: a line of JSON goes in for each, and one comes out."""

    def __init__(self, program: Path, modules: Path) -> None:
        self._process = subprocess.Popen(
            ["node", shutil.copy(program, modules.parent)],  # next to its modules
            env={"PATH": os.environ["PATH"]},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def do(self, command: str, *values: Any) -> Any:
        """What a command results in."""
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
