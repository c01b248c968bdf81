"""`parley dev`: PostgreSQL, Valkey, Pusher, the API and the listener with demo data, until it is told to stop.

The data directory holds `postgres`, `valkey`, `pusher`, `images`, an image to upload, the log of the
migration, `pgpass` for psql, `client.env` for clients, `web.env` for a web app that signs users in, and
one file that is three things: the session secret, the lock of the running stack, and the mark by which
a directory is known to be ours.

Signals that ask for an end are blocked from the start and noticed while waiting (see
process.wait_for), so nothing is ever started and not stopped, and stopping is not disturbed.
"""

import asyncio
import contextlib
import fcntl
import http.client
import logging
import math
import os
import re
import secrets
import shlex
import shutil
import signal
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NoReturn
from urllib.parse import quote

import asyncpg
import psycopg2

from api.admin import logins
from api.dev import CLIENT_FILE, STACK_FILE, WEB_FILE, demo, session_token
from api.dev.postgres import Postgres
from api.dev.process import (
    STOP_SIGNALS,
    Child,
    ChildError,
    Server,
    free_port,
    is_free,
    open_private,
    reserve,
    run,
    wait_for,
)
from api.dev.pusher_process import Pusher
from api.dev.valkey import Valkey

ROOT = Path(__file__).parents[2]
DATABASE = "parley"
API_USER = "parley_app"
LISTENER_USER = "parley_events"
WEB_USER = "parley_signin"
WEB_ORIGINS = "http://localhost:3000,http://127.0.0.1:3000"  # where Next.js has its pages
PUSHER_KEY = "parley-dev"
TOKEN_DAYS = 30
IMAGE = "alice.png"
# PostgreSQL's log says which request a slow statement is of, and not what users wrote.
POSTGRES_SETTINGS = {
    "log_line_prefix": "%m [%p] %q<%a> ",
    "log_min_duration_statement": "100ms",
    "log_parameter_max_length": "0",
    "log_parameter_max_length_on_error": "0",
}


class Api(Server):
    """The API as a child process; ready when /readyz says so."""

    name = "the API"
    attempts = 1

    def __init__(self, directory: Path, port: int, environment: Mapping[str, str]) -> None:
        super().__init__(directory, port)
        self.base_url = f"http://127.0.0.1:{port}"
        self._environment = {
            **os.environ,
            **environment,
            "HOST": "127.0.0.1",
            "PORT": str(port),
            "WORKERS": "1",
        }

    def _spawn(self) -> Child:
        return Child(self.name, [sys.executable, "-m", "api"], cwd=ROOT, env=self._environment, umask=0o077)

    def _answers(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", "/readyz")
            return connection.getresponse().status == http.client.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()


class RefusedError(Exception):
    """The stack cannot run there; the message is one line."""


def main(directory: Path, port: int, fresh: bool) -> int:
    """Run the stack; the exit status of the process.

    `fresh` empties the directory first. Changes the process for good: its signal mask, its
    logging, its environment.
    """
    nohup = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS - ({signal.SIGHUP} if nohup else set()))
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    # Drivers would add the PG ones to the URLs that we give; the other is another name of ours.
    for name in [name for name in os.environ if name.startswith("PG") or name == "AUTH_SECRET"]:
        del os.environ[name]
    os.environ.setdefault("ALLOWED_ORIGINS", WEB_ORIGINS)
    os.environ.setdefault("LOG_FORMAT", "text")
    directory = directory.resolve()
    try:
        with _claimed(directory, fresh) as secret, contextlib.ExitStack() as stack:
            _check_port(port)
            _run(stack, directory, port, secret)
    except KeyboardInterrupt:
        print(f"Stopped; the data stay in {directory}", flush=True)
        return 0
    except (RefusedError, ChildError, OSError, asyncpg.PostgresError) as error:
        print(f"parley dev: {error}", file=sys.stderr)
    return 1


def _run(stack: contextlib.ExitStack, directory: Path, port: int, secret: str) -> NoReturn:
    print(f"Starting, with data in {directory} …", flush=True)
    valkey = stack.enter_context(Valkey(directory / "valkey"))
    postgres = stack.enter_context(Postgres(directory / "postgres", settings=POSTGRES_SETTINGS))
    pusher = stack.enter_context(Pusher(directory / "pusher", _last_pusher_port(directory), key=PUSHER_KEY))
    password = secrets.token_urlsafe(24)
    _migrate(postgres, directory, password)
    url = postgres.url(DATABASE, API_USER, password)
    chat_id = asyncio.run(demo.ensure(url))
    environment = {
        "DATABASE_URL": url,
        "REDIS_URL": valkey.url(),
        "NEXTAUTH_SECRET": secret,
        "STORAGE_URL": f"file://{quote(str(directory / 'images'))}",
        "PUBLIC_URL": f"http://127.0.0.1:{port}",
        **pusher.environment,
        **{name: str(free_port()) for name in ("METRICS_PORT", "LISTENER_METRICS_PORT")},
        "METRICS_HOST": "127.0.0.1",
    }
    listener = _start_listener(environment | {"DATABASE_URL": postgres.url(DATABASE, LISTENER_USER, password)})
    stack.callback(listener.stop, signal.SIGTERM)
    api = stack.enter_context(Api(directory, port, environment))
    with open_private(directory / CLIENT_FILE, "wb") as file:
        public = ("PUBLIC_URL", "PUSHER_KEY", "PUSHER_HOST", "PUSHER_PORT", "PUSHER_USE_TLS")
        file.write("".join(f"{name}={environment[name]}\n" for name in public).encode())
    with open_private(directory / WEB_FILE, "wb") as file:
        web_url = postgres.url(DATABASE, WEB_USER, password)
        file.write(f"DATABASE_URL={web_url}\nNEXTAUTH_SECRET={secret}\nAUTH_SECRET={secret}\n".encode())
    with open_private(directory / "pgpass", "wb") as file:
        file.write(f"*:*:*:postgres:{postgres.password}\n*:*:*:{API_USER}:{password}\n".encode())
    with open_private(directory / IMAGE, "wb") as file:
        file.write(demo.image())
    print(_greeting(directory, environment, postgres, secret, chat_id), flush=True)
    children = [listener, *(server.child for server in (api, postgres, valkey, pusher) if server.child)]
    wait_for(lambda: any(child.exit_code is not None for child in children), math.inf, every=0.2)
    raise ChildError("; ".join(c.last_words() for c in children if c.exit_code is not None))


def _start_listener(environment: Mapping[str, str]) -> Child:
    command = [sys.executable, "-m", "listener"]
    return Child("the listener", command, cwd=ROOT, env={**os.environ, **environment}, umask=0o077)


def _last_pusher_port(directory: Path) -> int:
    """The port that clients may remember, if it is free; else 0."""
    with contextlib.suppress(FileNotFoundError):
        port = re.search(r"^PUSHER_PORT=(\d+)$", (directory / CLIENT_FILE).read_text(), flags=re.MULTILINE)
        if port and is_free(int(port[1])):
            return int(port[1])
    return 0


@contextlib.contextmanager
def _claimed(directory: Path, fresh: bool) -> Iterator[str]:
    """Hold the directory alone; gives the session secret that is kept there."""
    mark = directory / STACK_FILE
    if directory.exists() and not mark.exists() and any(directory.iterdir()):
        raise RefusedError(f"{directory} is not empty and not one that parley dev made")
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    with open_private(mark, "a+b") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RefusedError(f"already running on {directory}") from None
        if fresh:
            for path in set(directory.iterdir()) - {mark}:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
            file.truncate(0)
        file.seek(0)
        secret = file.read().decode()
        if not secret:
            secret = secrets.token_urlsafe(48)
            file.write(secret.encode())
            file.flush()
        yield secret


def _check_port(port: int) -> None:
    if not is_free(port):
        raise RefusedError(f"port {port} of 127.0.0.1 is in use or not allowed; --port takes another one")
    reserve(port)  # the API comes last


def _migrate(postgres: Postgres, directory: Path, password: str) -> None:
    """Bring the database up to date and let the login roles in with this password."""
    url = postgres.url(DATABASE)
    with contextlib.suppress(asyncpg.DuplicateDatabaseError):
        asyncio.run(_execute(postgres.url("postgres"), f"create database {DATABASE}"))
    asyncio.run(_execute(url, _UNLOCK))
    run(
        "the migration",
        [sys.executable, "-m", "yoyo", "apply", "--batch"],
        seconds=300,
        log=directory / "migration.log",
        cwd=ROOT,
        env={**os.environ, "DATABASE_URL": url},
    )
    with contextlib.closing(psycopg2.connect(url)) as connection, connection:
        for name, role in ((API_USER, "parley_api"), (LISTENER_USER, "parley_listener"), (WEB_USER, "parley_web")):
            logins.ensure(connection, name, role, password)
    asyncio.run(_execute(url, f"alter role {WEB_USER} set search_path = next_auth"))


async def _execute(url: str, sql: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(sql)
    finally:
        await connection.close()


def _greeting(directory: Path, environment: Mapping[str, str], postgres: Postgres, secret: str, chat_id: str) -> str:
    base_url = environment["PUBLIC_URL"]
    passfile = quote(str(directory / "pgpass"))
    return _GREETING.format(
        base_url=base_url,
        directory=directory,
        database=f"127.0.0.1:{postgres.port}/{DATABASE}?passfile={passfile}",
        api_user=API_USER,
        web_file=directory / WEB_FILE,
        port=base_url.rpartition(":")[2],
        web_origins=os.environ["ALLOWED_ORIGINS"].replace(",", ", "),
        pusher_port=environment["PUSHER_PORT"],
        pusher_key=environment["PUSHER_KEY"],
        metrics_port=environment["METRICS_PORT"],
        listener_metrics_port=environment["LISTENER_METRICS_PORT"],
        listen=f"{shlex.quote(sys.argv[0])} listen {chat_id} --user bob --data {shlex.quote(str(directory))}",
        token=session_token(secret, TOKEN_DAYS * 86_400, **demo.ALICE),
        days=TOKEN_DAYS,
        auth='-H "Authorization: Bearer $TOKEN"',
        json="-H 'Content-Type: application/json'",
        messages=f"{base_url}/api/chats/{chat_id}/messages",
        image=shlex.quote(f"image=@{directory / IMAGE}"),
    )


# A migration that was killed leaves yoyo's lock behind; the one that may run now is ours.
_UNLOCK = """
do $$ begin
    if to_regclass('yoyo_lock') is not null then delete from yoyo_lock; end if;
end $$
"""

# The passwords are in the file that the URLs name, not on the screen.
_GREETING = """
Parley is ready at {base_url}

  docs    {base_url}/docs
  users   alice and bob, in one chat
  psql    'postgresql://{api_user}@{database}' (as the API)
          'postgresql://postgres@{database}' (as superuser)
  web app {web_file} is for its .env.local: the secret, and the
          database of its @auth/pg-adapter; its pages may call from {web_origins},
          with their cookie if they call by their own host name: http://localhost:{port}
  events  a Pusher-protocol server on 127.0.0.1:{pusher_port}, without TLS, key {pusher_key}
  metrics http://127.0.0.1:{metrics_port}/metrics of the API, http://127.0.0.1:{listener_metrics_port}/metrics
          of the listener; PostgreSQL's log is {directory}/postgres/log
  data    {directory} (kept; --fresh empties it)

To see as bob what happens in the chat, in another terminal:

{listen}

To be alice for {days} days, paste into another terminal:

export TOKEN={token}

curl -s -w '\\n' {auth} {base_url}/api/chats

curl -s -w '\\n' {auth} {json} \\
  -d '{{"title": "Ideas"}}' {base_url}/api/chats

curl -s -w '\\n' {auth} {json} \\
  -d '{{"content": "Hello from curl", "type": "text"}}' \\
  {messages}

curl -s -w '\\n' {auth} '{base_url}/api/search?search=hello'

curl -s -w '\\n' {auth} {messages}

curl -s -w '\\n' {auth} -F {image} {base_url}/api/profile/image

curl -s -w '\\n' {auth} {base_url}/api/profile

curl -s -w '\\n' {auth} {json} \\
  -X PUT -d '{{"settings": {{"theme": "light"}}}}' {base_url}/api/settings

Ctrl-C stops it.
"""
