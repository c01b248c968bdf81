"""The local Pusher server as a child process; its program is pusher_server/.

It is for development and tests: it listens only on 127.0.0.1, without TLS, and stores nothing. Production needs Pusher,
or another server that implements its protocol.
"""

import http.client
import json
import secrets
import sys
import time
from pathlib import Path
from urllib.parse import urlencode

from api.dev.process import ChildProcess, Server, fetch_status
from api.dev.pusher_server.signatures import sign_request

_ROOT = Path(__file__).parents[2]


class PusherProcess(Server):
    """A Pusher server with one app.

    Clients keep working after a restart if it gets the same port, key and secret. `timeouts` are the seconds without a
    message before the server sends a ping, and the seconds that it then waits for a reply.
    """

    name = "Pusher"
    app_id = "1"

    def __init__(
        self,
        directory: Path,
        port: int = 0,
        *,
        key: str = "",
        secret: str = "",
        timeouts: tuple[float, float] = (120, 30),
    ) -> None:
        super().__init__(directory, port)
        self.key = key or secrets.token_hex(10)
        self.secret = secret or secrets.token_hex(16)
        self._timeouts = timeouts

    @property
    def environment(self) -> dict[str, str]:
        """The settings of the API and the listener. Start the server first: they contain its port."""
        return {
            "PUSHER_APP_ID": self.app_id,
            "PUSHER_KEY": self.key,
            "PUSHER_SECRET": self.secret,
            "PUSHER_HOST": "127.0.0.1",
            "PUSHER_PORT": str(self.port),
            "PUSHER_USE_TLS": "false",
        }

    def _spawn(self) -> ChildProcess:
        # On standard input, because every user of the machine can read the arguments of a command.
        configuration = {
            "port": self.port,
            "app_id": self.app_id,
            "key": self.key,
            "secret": self.secret,
            "timeouts": self._timeouts,
        }
        return ChildProcess(
            self.name,
            [sys.executable, "-m", "api.dev.pusher_server"],
            log=self.log,
            stdin=json.dumps(configuration).encode(),
            cwd=_ROOT,
        )

    def _is_ready(self) -> bool:
        path = f"/apps/{self.app_id}/channels"
        query = {"auth_key": self.key, "auth_timestamp": str(int(time.time())), "auth_version": "1.0"}
        query["auth_signature"] = sign_request(self.secret, "GET", path, query.items())
        return fetch_status(self.port, f"{path}?{urlencode(query)}") == http.client.OK
