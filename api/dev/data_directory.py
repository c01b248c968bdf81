"""The directory in which a stack keeps its data, and its files that other programs read."""

import contextlib
import fcntl
import re
import secrets
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO

from api.dev.process import is_port_free, open_private, poll_until

# The session secret. The stack holds a lock on this file while it runs, and a directory without it is never emptied.
SECRET_FILE = "parley-dev.secret"  # noqa: S105 (a file name)
CLIENT_FILE = "client.env"  # the URLs of the API and Pusher, for `parley listen`
WEB_FILE = "web.env"  # for a web app: the session secret, the database of its adapter, the API and Pusher
PSQL_FILE = "pgpass"  # the passwords for psql
IMAGE_FILE = "alice.png"  # to upload
DEFAULT_PARENT = Path(".parley")  # of the stacks' default directories, in the working directory
LOCK_TIMEOUT_SECONDS = 0.5  # longer than is_running() holds the lock


class StartError(Exception):
    """The stack cannot start with this directory or port; the message is one line."""


def get_default_directory(port: int) -> Path:
    """Return the directory of the stack on this port, relative to the working directory."""
    return DEFAULT_PARENT / str(port)


def find_running_directory() -> Path:
    """Return the data directory of the stack that runs in the working directory.

    Raises LookupError if no stack runs, or several.
    """
    running = sorted(file.parent for file in DEFAULT_PARENT.glob(f"*/{SECRET_FILE}") if is_running(file.parent))
    if not running:
        raise LookupError(
            f"set NEXTAUTH_SECRET, or run `parley dev` first: no stack runs in {DEFAULT_PARENT.resolve()}"
        )
    if len(running) > 1:
        raise LookupError(f"several stacks run, choose one of them: {', '.join(f'--data {path}' for path in running)}")
    return running[0]


def is_running(directory: Path) -> bool:
    """Return whether a stack runs on a data directory."""
    with (directory / SECRET_FILE).open("rb") as file:
        return not try_lock(file)


def try_lock(file: IO[bytes]) -> bool:
    """Lock a file until it is closed; return False if another process has locked it."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextlib.contextmanager
def lock_directory(directory: Path, fresh: bool) -> Iterator[str]:
    """Create and lock the directory; yield the session secret in it. `fresh` empties it first.

    Raises StartError if another stack runs on it, or if it has other files.
    """
    secret_file = directory / SECRET_FILE
    if directory.exists() and not secret_file.exists() and any(directory.iterdir()):
        raise StartError(f"{directory} is not empty, and was not created by parley dev")
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    with open_private(secret_file, "a+b") as file:
        if not poll_until(lambda: try_lock(file), LOCK_TIMEOUT_SECONDS):
            raise StartError(f"already running on {directory}")
        if fresh:
            for path in set(directory.iterdir()) - {secret_file}:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
            file.truncate(0)
        file.seek(0)
        secret = file.read().decode()
        if not secret:
            secret = secrets.token_urlsafe(48)
            file.write(secret.encode())
            file.flush()
        yield secret


def find_last_pusher_port(directory: Path) -> int:
    """Return the Pusher server's previous port, which clients may still use; 0 if there is none or it is in use."""
    with contextlib.suppress(FileNotFoundError):
        port = re.search(r"^PUSHER_PORT=(\d+)$", (directory / CLIENT_FILE).read_text(), flags=re.MULTILINE)
        if port and is_port_free(int(port[1])):
            return int(port[1])
    return 0


def format_variables(variables: Mapping[str, str]) -> str:
    """Return the content of a file of environment variables."""
    return "".join(f"{name}={value}\n" for name, value in variables.items())


def write_private(path: Path, content: str | bytes) -> None:
    """Write a file that only its owner can read."""
    with open_private(path, "wb") as file:
        file.write(content.encode() if isinstance(content, str) else content)
