"""Node.js and npm, which `parley dev --web` requires: their versions, and the environment of their programs."""

import os
import re
import shutil
import subprocess
from collections.abc import Mapping

from api.dev.data_directory import StartError

# The lowest versions. The first is that of Next.js, and of package.json in api/client.
REQUIRED = {"node": ("Node.js", (20, 9)), "npm": ("npm", (9, 0))}
TIMEOUT_SECONDS = 20  # npm takes a second on a slow machine


def check_versions() -> None:
    """Check that Node.js and npm are installed and recent enough. Raises StartError."""
    for program, (name, lowest) in REQUIRED.items():
        needed = f"--web needs {name} {'.'.join(map(str, lowest))} or newer"
        if not (path := shutil.which(program)):
            raise StartError(f"{needed}, and there is no `{program}` in PATH")
        version = fetch_version(path)
        found = re.fullmatch(r"v?(\d+)\.(\d+)\..*", version)
        if not found:
            raise StartError(f"{needed}, and {path} does not print its version")
        if tuple(map(int, found.groups())) < lowest:
            raise StartError(f"{needed}, and {path} is version {version.removeprefix('v')}")


def fetch_version(program: str) -> str:
    """Return the version that a program prints, or an empty string if it fails."""
    try:
        done = subprocess.run(  # noqa: S603 (no shell, and no user input)
            [program, "--version"], capture_output=True, check=True, text=True, timeout=TIMEOUT_SECONDS
        )
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        return ""
    return done.stdout.strip()


def build_environment(variables: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a program of Node.js, with further variables.

    NODE_ENV is left out: `production` would install no compilers. Telemetry and checks for updates are off.
    """
    inherited = {name: value for name, value in os.environ.items() if name != "NODE_ENV"}
    return {**inherited, "NEXT_TELEMETRY_DISABLED": "1", "NPM_CONFIG_UPDATE_NOTIFIER": "false", **variables}
