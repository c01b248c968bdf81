"""A local Pusher Channels as a child process: the program is channels.py.

For one machine, for development and tests: it listens on 127.0.0.1 without TLS, keeps nothing, and knows no other
process of its kind. What is to survive its end, or to reach more than one machine, needs Pusher or another server
that speaks its protocol.
"""

import hashlib
import hmac
import http.client
import json
import secrets
import sys
import time
from collections.abc import Iterable
from operator import itemgetter
from pathlib import Path
from urllib.parse import urlencode

from api.dev.process import Child, Server

_ROOT = Path(__file__).parents[2]


class Pusher(Server):
    """A Pusher Channels server with one app.

    Browsers keep a key and ask for signatures made with the secret, so who starts it again may give it both.
    `timeouts` are the seconds of silence after which a connection is asked for a sign of life, and of waiting for it.
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
        """The settings of who talks to it; they have its port once it was started."""
        return {
            "PUSHER_APP_ID": self.app_id,
            "PUSHER_KEY": self.key,
            "PUSHER_SECRET": self.secret,
            "PUSHER_HOST": "127.0.0.1",
            "PUSHER_PORT": str(self.port),
            "PUSHER_USE_TLS": "false",
        }

    def _spawn(self) -> Child:
        # By standard input: a command line would show the secret to every user of the machine.
        configuration = {
            "port": self.port,
            "app_id": self.app_id,
            "key": self.key,
            "secret": self.secret,
            "timeouts": self._timeouts,
        }
        return Child(
            self.name,
            [sys.executable, "-m", "api.dev.pusher_server"],
            log=self.log,
            stdin=json.dumps(configuration).encode(),
            cwd=_ROOT,
        )

    def _answers(self) -> bool:
        path = f"/apps/{self.app_id}/channels"
        query = {"auth_key": self.key, "auth_timestamp": str(int(time.time())), "auth_version": "1.0"}
        query["auth_signature"] = request_signature(self.secret, "GET", path, query.items())
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", f"{path}?{urlencode(query)}")
            return connection.getresponse().status == http.client.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()


def request_signature(secret: str, method: str, path: str, query: Iterable[tuple[str, str]]) -> str:
    """The auth_signature of a request with this query, which is not URL-encoded and has no auth_signature yet."""
    parameters = sorted(((name.lower(), value) for name, value in query), key=itemgetter(0))
    return signature(secret, "\n".join([method, path, "&".join(map("=".join, parameters))]))


def signature(secret: str, text: str) -> str:
    """What Pusher signs with: HMAC with SHA-256, in hexadecimal digits."""
    return hmac.digest(secret.encode(), text.encode(errors="surrogatepass"), hashlib.sha256).hex()
