"""The TypeScript client of `api/client` with its packages, in a copy, so that tests write nothing to the repository."""

import fcntl
import shutil
import subprocess
from pathlib import Path

import pytest

from tests import ROOT
from tests.e2e.npm import OPTIONS, Npm

SOURCE = ROOT / "api/client"
NOT_COPIED = shutil.ignore_patterns("node_modules", "dist", ".test", ".next*", ".env.local", "next-env.d.ts")
INSTALL_SECONDS = 300  # which includes Next.js, for the example


def install_client(npm: Npm) -> Path:
    """Return the copy, which all workers share; skip the test where its packages cannot be had.

    The package is built; the example, its workspace, is not.
    """
    if not (shutil.which("node") and shutil.which("npm")):
        pytest.skip("there is no node, or no npm")
    directory = npm.directory / "client"
    with npm.directory.joinpath("client.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # waits for another worker that installs it
        if not directory.exists():
            shutil.copytree(SOURCE, directory, ignore=NOT_COPIED)
            command = ["npm", "ci", "--no-audit", "--no-fund", *OPTIONS]
            try:
                subprocess.run(
                    command, cwd=directory, capture_output=True, text=True, check=True, timeout=INSTALL_SECONDS
                )
            except subprocess.SubprocessError as error:
                shutil.rmtree(directory)
                stderr = getattr(error, "stderr", None) or ""
                pytest.skip(f"npm could not install the client: {error} {stderr[:300]!s}")
            build = subprocess.run(["npm", "run", "build"], cwd=directory, capture_output=True, text=True, check=False)
            assert build.returncode == 0, build.stdout
    return directory
