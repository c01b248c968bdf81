"""The command `parley`.

`dev` runs everything on this machine, `token` signs a session token, `listen` hears a chat, `db` looks after a
database.
"""

import argparse
import asyncio
import os
import re
import signal
import sys
from pathlib import Path

from pydantic import ValidationError

from api.admin import drift as check
from api.admin import logins
from api.auth.secrets import split_secrets, weakness
from api.dev import CLIENT_FILE, STACK_FILE, data_directory, session_token
from api.dev import tail as listen

DEFAULT_PORT = 8000
SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
LONGEST_DAYS = 366
LISTENING_DAYS = 30
SECRET_NAMES = ("NEXTAUTH_SECRET", "AUTH_SECRET")


def main() -> int:
    """Run the command line; returns the exit status."""
    arguments = _parser().parse_args()
    try:
        return COMMANDS[arguments.command](arguments)
    except KeyboardInterrupt:
        return 128 + signal.SIGINT


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="parley", description="A chat backend in PostgreSQL.")
    commands = parser.add_subparsers(dest="command", required=True)

    dev = commands.add_parser("dev", help="run everything on this machine, for development")
    dev.add_argument("--port", type=_port, default=DEFAULT_PORT, help="of the API (%(default)s)")
    dev.add_argument("--data", type=Path, metavar="DIR", help="where data stay (.parley/PORT)")
    dev.add_argument("--fresh", action="store_true", help="empty that directory first")

    token = commands.add_parser("token", help="print a session token")
    token.add_argument("--user", required=True, metavar="ID", type=_nonblank)
    for claim in ("name", "email", "picture"):
        token.add_argument(f"--{claim}", help="of the user, if this is their first visit")
    token.add_argument("--expires", type=_seconds, default="1h", help="30s, 15m, 12h, 7d (1h)")
    listen = commands.add_parser("listen", help="print a chat's events as they come")
    listen.add_argument("chat", metavar="CHAT", type=_nonblank, help="the chat's id")
    listen.add_argument("--user", required=True, metavar="ID", type=_nonblank, help="who listens")
    db = commands.add_parser("db", help="look after the database in DATABASE_URL, as its owner")
    actions = db.add_subparsers(dest="action", required=True)
    actions.add_parser("check", help="find where it is not as this checkout makes it, and print what mends it")
    login = actions.add_parser("login", help="make a login, or give it the password in PASSWORD")
    login.add_argument("name", metavar="NAME", type=_nonblank)
    login.add_argument("role", choices=logins.ROLES, help="what it may do")
    for command in (token, listen):
        command.add_argument(
            "--data",
            type=Path,
            metavar="DIR",
            help="for this stack of `parley dev` (default: the one that the environment describes, with "
            f"NEXTAUTH_SECRET or AUTH_SECRET, else {data_directory(DEFAULT_PORT)})",
        )
    return parser


def _dev(arguments: argparse.Namespace) -> int:
    try:
        from api.dev import stack  # noqa: PLC0415 (needs the extra `local`, the rest does not)
    except ImportError as error:
        print(f"parley dev: {error}; pip install -e '.[local]' installs it", file=sys.stderr)
        return 1
    directory = arguments.data or data_directory(arguments.port)
    return stack.main(directory, arguments.port, arguments.fresh)


def _token(arguments: argparse.Namespace) -> int:
    try:
        secret = _secret(arguments.data)
    except (OSError, ValueError) as error:
        print(f"parley token: {error}", file=sys.stderr)
        return 1
    claims = {name: getattr(arguments, name) for name in ("name", "email", "picture")}
    print(session_token(secret, arguments.expires, sub=arguments.user, **claims))
    return 0


def _listen(arguments: argparse.Namespace) -> int:
    try:
        token = session_token(_secret(arguments.data), LISTENING_DAYS * SECONDS["d"], sub=arguments.user)
        asyncio.run(listen.run(_place(arguments.data), token, arguments.chat))
    except ValidationError as error:
        names = ", ".join(str(problem["loc"][0]).upper() for problem in error.errors())
        print(f"parley listen: missing or malformed: {names}", file=sys.stderr)
    except (OSError, ValueError, listen.EndError) as error:
        print(f"parley listen: {error}", file=sys.stderr)
    return 1


def _db(arguments: argparse.Namespace) -> int:
    return check.main() if arguments.action == "check" else logins.main(arguments)


def _place(data: Path | None) -> listen.Place:
    """Find the API and Pusher where the secret is found."""
    if not data and any(os.environ.get(name) for name in SECRET_NAMES):
        return listen.Place()  # type: ignore[call-arg]  # the environment gives it
    file = (data or data_directory(DEFAULT_PORT)) / CLIENT_FILE
    pairs = (line.split("=", 1) for line in file.read_text().splitlines())
    return listen.Place.model_validate({name.lower(): value for name, value in pairs})


def _secret(data: Path | None) -> str:
    """Find the secret that signs. Raises ValueError if there is none or it is weak."""
    source = next((name for name in SECRET_NAMES if os.environ.get(name)), "")
    if source and not data:
        secret = split_secrets(os.environ[source])[0]
    else:
        file = (data or data_directory(DEFAULT_PORT)) / STACK_FILE
        if not file.exists():
            raise ValueError(f"set NEXTAUTH_SECRET, or run `parley dev` first: there is no {file}")
        source, secret = str(file), file.read_text()
    if problem := weakness(secret):
        raise ValueError(f"the secret in {source} {problem}")
    return secret


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) not in range(1, 65_536):
        raise argparse.ArgumentTypeError(f"{text!r} is not a port, 1 to 65535")
    return int(text)


def _nonblank(text: str) -> str:
    if not text.strip():
        raise argparse.ArgumentTypeError("must not be blank")
    return text


def _seconds(text: str) -> int:
    match = re.fullmatch(r"([0-9]{1,9})([smhd])", text)
    seconds = int(match[1]) * SECONDS[match[2]] if match else 0
    if not 1 <= seconds <= LONGEST_DAYS * SECONDS["d"]:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time like 30s, 15m, 12h or 7d, up to {LONGEST_DAYS}d")
    return seconds


COMMANDS = {"dev": _dev, "token": _token, "listen": _listen, "db": _db}

if __name__ == "__main__":
    sys.exit(main())
