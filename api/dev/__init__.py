"""The stack of `parley dev`: PostgreSQL, Valkey, Pusher, the API and the listener, all on one machine.

postgres.py, valkey.py and pusher.py run the servers, process.py holds what they share, channels.py is the
Pusher server itself, stack.py puts the stack together, demo.py fills it. Here is what needs none of the
`local` extra: where a stack keeps its data, and how a session token is signed.
"""

import time
from pathlib import Path

import jwt

STACK_FILE = "parley-dev.secret"
CLIENT_FILE = "client.env"  # where clients find the API and Pusher
WEB_FILE = "web.env"  # what a web app signs users in with


def data_directory(port: int) -> Path:
    """Where the stack on this port keeps its data unless told otherwise, relative to the cwd."""
    return Path(".parley") / str(port)


def session_token(secret: str, seconds: int, **claims: str | None) -> str:
    """Sign a session token, a JWT with HS256, for so many seconds; claims of None are left out."""
    now = int(time.time())
    given = {name: value for name, value in claims.items() if value is not None}
    return jwt.encode({**given, "iat": now, "exp": now + seconds}, secret, algorithm="HS256")
