"""What tests say often: call a function as a user, expect a refusal, run the API."""

import itertools
import json
import os
import shutil
import signal
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import jwt
import psycopg
import pytest
from prometheus_client.parser import text_string_to_metric_families

from api.dev.postgres import Postgres, build_user_options, find_account
from api.dev.process import Child, find_free_port, run, wait_for

ROOT = Path(__file__).resolve().parents[1]
SECRET = "what nobody but the tests of Parley signs with"
OLD_SECRET = "what those tests signed with until it was rotated"
NO_SUCH_ID = "01900000-0000-7000-8000-000000000000"

Connection = psycopg.Connection[Any]

# Settings as who has chosen nothing gets them, and others, without what is not a user's to choose.
DEFAULT_SETTINGS: dict[str, Any] = {
    "model": "default",
    "theme": "system",
    "context": "",
    "runtime": "default",
    "isPremium": False,
    "responseStyle": "detailed",
    "alwaysShowCode": False,
}
CHOSEN_SETTINGS: dict[str, Any] = {
    "model": "large",
    "theme": "dark",
    "context": "Be brief.",
    "runtime": "python3.11",
    "responseStyle": "concise",
    "alwaysShowCode": True,
}

_addresses = itertools.count(1)
_NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # made once: httpx else makes one, slowly, for each client
# httpcore counts a connection as idle until its next request begins, so with a limit it closes those of other threads.
_KEEP_ALIVE = httpx.Limits(max_keepalive_connections=None)


@contextmanager
def rolled_back(url: str) -> Iterator[Connection]:
    """A connection in a transaction that never commits; blocks of transaction() in it are savepoints."""
    with psycopg.connect(url, autocommit=True) as connection, connection.transaction(force_rollback=True):
        yield connection


def call(connection: Connection, user: str, function: str, *arguments: Any, **named: Any) -> Any:
    """What an `api` function answers to a user; bodies are dicts. What fails is rolled back."""
    values = [json.dumps(a) if isinstance(a, dict | list) else a for a in (*arguments, *named.values())]
    marks = ["%s"] * len(arguments) + [f'"{name}" => %s' for name in named]
    statement = f"select api.{function}({', '.join(marks)}) from session.authenticate(%s)"
    with connection.transaction():
        row = connection.execute(statement, [*values, json.dumps({"sub": user})]).fetchone()
    assert row is not None
    return row[0]


def new_chat(connection: Connection, owner: str, *members: str, title: str = "A chat") -> str:
    """The id of a new chat of these users."""
    chat: str = call(connection, owner, "create_chat", {"title": title})["id"]
    for member in members:
        add_member(connection, owner, chat, member)
    return chat


def add_member(connection: Connection, owner: str, chat: str, user: str) -> Any:
    """Signs the user in, so that they are known, and adds them."""
    call(connection, user, "get_settings")
    return call(connection, owner, "add_member", chat, {"userId": user})


def next_millisecond() -> None:
    """Waits until what is new is later than what was before: in one millisecond, chance orders what is in two chats."""
    begun = time.time_ns() // 1_000_000
    while time.time_ns() // 1_000_000 == begun:
        pass


@dataclass
class Refusal:
    """What a refused call said."""

    message: str = ""
    fields: dict[str, str] = field(default_factory=dict)


@contextmanager
def refused(status: int) -> Iterator[Refusal]:
    """Expects SQLSTATE PT<status>; what it said is there afterwards."""
    refusal = Refusal()
    with pytest.raises(psycopg.Error) as caught:
        yield refusal
    assert caught.value.sqlstate == f"PT{status}", caught.value
    refusal.message = caught.value.diag.message_primary or ""
    refusal.fields = json.loads(caught.value.diag.message_detail or "{}").get("fields", {})


def roll_up(connection: Connection, max_messages: int = 1000) -> int:
    """Brings the analysts' views up to date, as far as open transactions let it; answers in how many calls."""
    for calls in itertools.count(1):
        if connection.execute("select listener.roll_up(%s)", [max_messages]).fetchone() == (False,):
            connection.execute("select listener.roll_up_chats_and_settings()")
            return calls
    raise AssertionError


def roll_up_to_now(connection: Connection, max_messages: int = 1000) -> None:
    """… until what was sent before now is in them, since autovacuum has transactions too."""
    now = connection.execute("select clock_timestamp()").fetchone()
    assert now

    def is_done() -> bool:
        roll_up(connection, max_messages)
        return connection.execute("select from parley.rollup_state where as_of > %s", now).rowcount == 1

    wait_until(is_done)


def add_session(connection: Connection, user: str, expires: str = "1 hour", session_token: str | None = None) -> str:
    """Makes a database session as a web app does, and its user if need be; answers its token."""
    session_token = new_user("session") if session_token is None else session_token
    connection.execute("insert into next_auth.users (id) values (%s) on conflict do nothing", [user])
    connection.execute(
        'insert into next_auth.sessions ("userId", expires, "sessionToken") values (%s, now() + %s::interval, %s)',
        [user, expires, session_token],
    )
    return session_token


def new_user(prefix: str = "user") -> str:
    """An id that no other test has."""
    return f"{prefix}-{uuid4().hex[:12]}"


def claims(user: str = "", **changes: Any) -> dict[str, Any]:
    """The claims of a good session token, with changes; those with the value None are left out."""
    changed = {"sub": user or new_user(), "exp": int(time.time()) + 3600} | changes
    return {name: value for name, value in changed.items() if value is not None}


def long_window() -> str:
    """A RATE_LIMIT_WINDOW that does not end while a test runs, as one of a day does at midnight."""
    return str(max((86_400, 70_000), key=lambda seconds: seconds - time.time() % seconds))


def token(user: str = "", secret: str = SECRET, **changes: Any) -> str:
    """A session token with these claims, signed."""
    return jwt.encode(claims(user, **changes), secret, algorithm="HS256")


def wait_until(condition: Callable[[], object], seconds: float = 15) -> None:
    """Waits for a state, and fails the test if it does not come."""
    assert wait_for(lambda: bool(condition()), seconds), "the awaited state did not come"


@contextmanager
def open_directory() -> Iterator[Path]:
    """A temporary directory that another user can be let into: pytest's own is closed to others at every start."""
    path = Path(tempfile.mkdtemp(prefix="parley-test-"))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def new_postgres(directory: Path, **settings: str) -> Postgres:
    """A PostgreSQL of the wheel, or of the programs in the directory that PARLEY_TEST_POSTGRES names."""
    if programs := os.environ.get("PARLEY_TEST_POSTGRES"):
        return Postgres(directory, settings=settings, bin_dir=Path(programs))
    return Postgres(directory, settings=settings)


def new_replica(directory: Path, primary: Postgres, **settings: str) -> Postgres:
    """A streaming replica of a PostgreSQL that runs, not yet started; what a directory had is gone."""
    replica = new_postgres(directory, **settings)
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(mode=0o700)
    (directory / "password").write_text(primary.password)
    account = find_account()
    if account:
        os.chown(directory, account.pw_uid, account.pw_gid)
    command: list[str | Path] = [primary.get_program("pg_basebackup"), "-R", "--checkpoint=fast", "-D", replica.data]
    run(
        "pg_basebackup",
        [*command, "-d", primary.url("postgres")],
        seconds=60,
        log=replica.log,
        **build_user_options(account),
    )
    return replica


def yoyo(database_url: str, *arguments: str) -> str:
    """What `yoyo …` prints when it is run on a database as a DBA would."""
    environment = os.environ | {"DATABASE_URL": database_url}
    command = [sys.executable, "-m", "yoyo", *arguments]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def migrate(server: Postgres) -> None:
    """Makes the migrated database `parley`, and the login roles `app` of the API and `events` of the listener."""
    with psycopg.connect(server.url("postgres"), autocommit=True) as dba:
        dba.execute("create database parley")
        yoyo(server.url("parley"), "apply", "--batch")
        dba.execute("create role app login password 'app' in role parley_api")
        dba.execute("create role events login password 'events' in role parley_listener")


class Api:
    """`python -m api` as a process on a free port; `options` are further environment variables."""

    def __init__(self, directory: Path, database_url: str, redis_url: str, **options: str) -> None:
        self.port = find_free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = directory / f"api-{self.port}.log"
        self.log.unlink(missing_ok=True)  # of one that had this port before
        self.command = [sys.executable, "-W", "error", "-m", "api"]
        self.spawn: Callable[..., Child] = Child
        self.environment = {
            "PATH": os.environ["PATH"],
            "DATABASE_URL": database_url,
            "REDIS_URL": redis_url,
            "NEXTAUTH_SECRET": f"{SECRET}, {OLD_SECRET}",
            "PORT": str(self.port),
            "STORAGE_URL": f"file://{directory}/images-{self.port}",
            "TRUSTED_PROXIES": "1",  # so that each test can have an address, and a budget, of its own
            "LOG_REQUESTS_OVER": "inf",  # for on a busy machine any request may take half a second
            **options,
        }
        self.images = directory / f"images-{self.port}"
        self.child: Child | None = None

    def start(self) -> None:
        """Returns when it is ready."""
        self.child = self.spawn("API", self.command, log=self.log, cwd=ROOT, env=self.environment)
        self.child.wait_until(self.is_ready, seconds=20)

    def refuse(self) -> str:
        """The one line that it ends with, since it can't start."""
        child = Child("API", self.command, log=self.log, cwd=ROOT, env=self.environment)
        try:
            wait_until(lambda: child.exit_code is not None)
        finally:
            child.stop()
        assert child.exit_code == 1
        lines = self.log.read_text().splitlines()
        assert len(lines) == 1, lines
        return lines[0]

    def is_ready(self) -> bool:
        """Whether GET /readyz says so."""
        try:
            return httpx.get(f"{self.url}/readyz", timeout=5, verify=_NO_TLS).is_success
        except httpx.TransportError:
            return False

    def lend_environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Gives this process its variables, for the length of a test."""
        for name, value in self.environment.items():
            monkeypatch.setenv(name, value)

    def stop(self) -> None:
        """Ends it by SIGTERM."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Ends it by SIGKILL."""
        self._end()

    def _end(self, *signals: signal.Signals) -> None:
        if self.child:
            self.child.stop(*signals)
            self.child = None

    def client(self, user: str | None = None, **headers: str) -> httpx.Client:
        """Return an HTTP client with an address of its own and a user's token; a new user's, unless it is ""."""
        return httpx.Client(
            base_url=self.url, timeout=20, headers=self.headers(user) | headers, verify=_NO_TLS, limits=_KEEP_ALIVE
        )

    def headers(self, user: str | None = None) -> dict[str, str]:
        """The headers of such a client."""
        address = str(ip_address("10.0.0.0") + next(_addresses))
        authorization = {} if user == "" else {"Authorization": f"Bearer {token(user or new_user())}"}
        return {"X-Forwarded-For": address, **authorization}


def logged(log: Path) -> list[dict[str, Any]]:
    """What a process has logged, each line of which is JSON."""
    return [json.loads(line) for line in log.read_text().splitlines()]


def scraped(port: int, name: str, **labels: str) -> float:
    """What a process tells Prometheus on this port: the sum of the samples of this name with these labels."""
    text = httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=10, verify=_NO_TLS).raise_for_status().text
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    return sum(s.value for s in samples if s.name == name and labels.items() <= s.labels.items())


@contextmanager
def running(api: Api) -> Iterator[Api]:
    """The API, started and in the end stopped."""
    try:
        api.start()
        yield api
    finally:
        api.stop()
