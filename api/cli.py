"""The command `parley`, with its subcommands `dev`, `token`, `listen` and `db`."""

import argparse
import asyncio
import os
import re
import signal
import sys
from pathlib import Path

from pydantic import ValidationError

from api.admin import drift, logins
from api.auth.secrets import find_weakness, split_secrets
from api.dev.data_directory import CLIENT_FILE, SECRET_FILE, find_running_directory, get_default_directory
from api.dev.session_token import sign_session_token
from api.dev.tail import Endpoints, FatalError, follow_events

DEFAULT_PORT = 8000
DEFAULT_WEB_PORT = 3000  # as that of `next dev`
UNIT_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
MAX_EXPIRES_DAYS = 366
LISTEN_TOKEN_DAYS = 30
SECRET_VARIABLES = ("NEXTAUTH_SECRET", "AUTH_SECRET")


def main() -> int:
    """Run the command line; return the exit status."""
    arguments = _create_parser().parse_args()
    try:
        return COMMANDS[arguments.command](arguments)
    except KeyboardInterrupt:
        return 128 + signal.SIGINT


def _create_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="parley", description="A chat backend in PostgreSQL.")
    commands = parser.add_subparsers(dest="command", required=True)
    _add_dev(
        commands.add_parser("dev", help="run PostgreSQL, Valkey, Pusher, the API and the listener on this machine")
    )
    token = commands.add_parser("token", help="print a session token")
    _add_token(token)
    listen = commands.add_parser("listen", help="print a chat's events as they are published")
    _add_listen(listen)
    _add_db(commands.add_parser("db", help="manage the database in DATABASE_URL, as its owner"))
    for command in (token, listen):
        command.add_argument(
            "--data",
            type=Path,
            metavar="DIR",
            help="the data directory of a stack of `parley dev` (default: the stack that the environment describes, if "
            "NEXTAUTH_SECRET or AUTH_SECRET is set, otherwise the one that runs in .parley)",
        )
    return parser


def _add_dev(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--port", type=_parse_port, default=DEFAULT_PORT, help="the API's port (%(default)s)")
    parser.add_argument("--data", type=Path, metavar="DIR", help="the data directory (.parley/PORT)")
    parser.add_argument("--fresh", action="store_true", help="empty the data directory first")
    parser.add_argument(
        "--web",
        type=_parse_port,
        nargs="?",
        const=DEFAULT_WEB_PORT,
        metavar="PORT",
        help="run the example web app, too, on this port (%(const)s); requires Node.js 20.9 and npm, and installs the "
        "packages in api/client",
    )


def _add_token(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--user", required=True, metavar="ID", type=_parse_nonblank, help="the user's ID")
    for claim in ("name", "email", "picture"):
        parser.add_argument(f"--{claim}", help="of the user, if this is their first sign-in")
    parser.add_argument("--expires", type=_parse_seconds, default="1h", help="30s, 15m, 12h, 7d (1h)")


def _add_listen(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("chat", metavar="CHAT", type=_parse_nonblank, help="the chat's ID")
    parser.add_argument("--user", required=True, metavar="ID", type=_parse_nonblank, help="the subscribing user's ID")


def _add_db(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True)
    actions.add_parser("check", help="compare the schema with this checkout's, and print statements that repair it")
    login = actions.add_parser("login", help="create a login, or set its password; PASSWORD has the password")
    login.add_argument("name", metavar="NAME", type=_parse_nonblank, help="the login's name")
    login.add_argument("role", choices=logins.ROLES, help="the role that it is granted")


def _run_dev(arguments: argparse.Namespace) -> int:
    try:
        from api.dev import stack  # noqa: PLC0415 (only this command needs the extra `local`)
    except ImportError as error:
        print(f"parley dev: {error}; pip install -e '.[local]' installs it", file=sys.stderr)
        return 1
    directory = arguments.data or get_default_directory(arguments.port)
    return stack.main(directory, arguments.port, arguments.fresh, arguments.web)


def _print_token(arguments: argparse.Namespace) -> int:
    try:
        secret = _read_secret(_find_stack(arguments.data))
    except (OSError, ValueError, LookupError) as error:
        print(f"parley token: {error}", file=sys.stderr)
        return 1
    claims = {name: getattr(arguments, name) for name in ("name", "email", "picture")}
    print(sign_session_token(secret, arguments.expires, sub=arguments.user, **claims))
    return 0


def _print_events(arguments: argparse.Namespace) -> int:
    try:
        seconds = LISTEN_TOKEN_DAYS * UNIT_SECONDS["d"]
        directory = _find_stack(arguments.data)
        token = sign_session_token(_read_secret(directory), seconds, sub=arguments.user)
        asyncio.run(follow_events(_read_endpoints(directory), token, arguments.chat))
    except ValidationError as error:
        names = ", ".join(str(invalid["loc"][0]).upper() for invalid in error.errors())
        print(f"parley listen: missing or malformed: {names}", file=sys.stderr)
    except (OSError, ValueError, LookupError, FatalError) as error:
        print(f"parley listen: {error}", file=sys.stderr)
    return 1


def _manage_database(arguments: argparse.Namespace) -> int:
    return drift.main() if arguments.action == "check" else logins.main(arguments)


def _find_stack(data: Path | None) -> Path | None:
    """Return the data directory of a stack, or None for the one that the environment describes.

    Raises LookupError if that is not unique.
    """
    if data is None and any(os.environ.get(name) for name in SECRET_VARIABLES):
        return None
    return data or find_running_directory()


def _read_endpoints(directory: Path | None) -> Endpoints:
    """Return the endpoints of a stack."""
    if directory is None:
        return Endpoints()  # type: ignore[call-arg]  # The environment has the values.
    pairs = (line.split("=", 1) for line in (directory / CLIENT_FILE).read_text().splitlines())
    return Endpoints.model_validate({name.lower(): value for name, value in pairs})


def _read_secret(directory: Path | None) -> str:
    """Return the secret that signs tokens for a stack. Raises ValueError if there is none or it is weak."""
    if directory is None:
        source = next(name for name in SECRET_VARIABLES if os.environ.get(name))
        secret = split_secrets(os.environ[source])[0]
    else:
        file = directory / SECRET_FILE
        if not file.exists():
            raise ValueError(f"{directory} is not a data directory of `parley dev`: there is no {file}")
        source, secret = str(file), file.read_text()
    if error := find_weakness(secret):
        raise ValueError(f"the secret in {source} {error}")
    return secret


def _parse_port(text: str) -> int:
    if not text.isdecimal() or int(text) not in range(1, 65_536):
        raise argparse.ArgumentTypeError(f"{text!r} is not a port, 1 to 65535")
    return int(text)


def _parse_nonblank(text: str) -> str:
    if not text.strip():
        raise argparse.ArgumentTypeError("must not be blank")
    return text


def _parse_seconds(text: str) -> int:
    match = re.fullmatch(r"([0-9]{1,9})([smhd])", text)
    seconds = int(match[1]) * UNIT_SECONDS[match[2]] if match else 0
    if not 1 <= seconds <= MAX_EXPIRES_DAYS * UNIT_SECONDS["d"]:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time like 30s, 15m, 12h or 7d, up to {MAX_EXPIRES_DAYS}d")
    return seconds


COMMANDS = {"dev": _run_dev, "token": _print_token, "listen": _print_events, "db": _manage_database}

if __name__ == "__main__":
    sys.exit(main())
