"""`parley dev` and `parley token` as users meet them: started, pasted from, interrupted, killed.

A stack is started in a temporary directory of its own; every process of it can be recognised by
that directory or by an environment variable that names it.
"""

import contextlib
import json
import os
import re
import secrets
import shlex
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import httpx
import jwt
import psutil
import psycopg2
import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from api.dev import STACK_FILE, WEB_FILE, stack
from api.dev.postgres import Postgres
from api.dev.process import ChildError, free_port, wait_for
from api.dev.valkey import Valkey

ROOT = Path(__file__).parents[2]
READY = "Ctrl-C stops it."
LINUX_ONLY = pytest.mark.skipif(sys.platform != "linux", reason="needs PR_SET_PDEATHSIG")


class Dev:
    """A `parley dev` in a directory, its output in a file there."""

    def __init__(self, directory: Path, *arguments: str, user: str | None = None) -> None:
        self.directory = directory
        self._output = directory / f"output-{secrets.token_hex(4)}"
        with self._output.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "api.cli", "dev", *arguments],
                cwd=directory,
                env=environment(directory),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                user=user,
            )

    @property
    def output(self) -> str:
        return self._output.read_text()

    @property
    def paste(self) -> str:
        return self.output[self.output.index("export TOKEN=") : self.output.index(READY)]

    def wait_until(self, condition: Any) -> None:
        wait_for(lambda: condition() or self.process.poll() is not None, seconds=60)
        assert condition(), self.output

    def until_ready(self) -> "Dev":
        self.wait_until(lambda: READY in self.output)
        return self

    def ended(self) -> int:
        return self.process.wait(timeout=60)

    def stop(self) -> int:
        self.process.send_signal(signal.SIGINT)
        return self.ended()


def environment(directory: Path) -> dict[str, str]:
    ours = {"PYTHONPATH": str(ROOT), "PARLEY_TEST": str(directory), "RATE_LIMIT_REQUESTS": "1000"}
    return {**os.environ, **ours, "HOME": str(directory)}


def processes_of(directory: Path) -> list[str]:
    """All processes, wherever they hang in the tree, that belong to a stack in the directory."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.status() == psutil.STATUS_ZOMBIE:
                continue
            where = [process.cwd(), *process.cmdline(), process.environ().get("PARLEY_TEST", "")]
            if any(text.startswith(str(directory)) for text in where):
                found.append(f"{process.pid} {process.cmdline()}")
    return found


def assert_nothing_is_left(directory: Path) -> None:
    wait_for(lambda: not processes_of(directory), seconds=10)
    assert processes_of(directory) == []


@contextlib.contextmanager
def scratch() -> Iterator[Path]:
    """A directory of our own; pytest's would be closed to the user that PostgreSQL runs as."""
    with tempfile.TemporaryDirectory(prefix="parley-") as name:
        directory = Path(name).resolve()
        try:
            yield directory
        finally:
            for line in processes_of(directory):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(line.split()[0]), signal.SIGKILL)
            assert_nothing_is_left(directory)


@pytest.fixture(name="directory")
def _directory() -> Iterator[Path]:
    with scratch() as directory:
        yield directory


@pytest.fixture(scope="module", name="dev")
def _dev() -> Iterator[Dev]:
    """One stack for the tests that only look at it."""
    with scratch() as directory:
        dev = Dev(directory, "--port", str(free_port()), "--data", "data").until_ready()
        yield dev
        assert dev.stop() == 0, dev.output


def base_url(dev: Dev) -> str:
    return str(re.findall(r"http://127\.0\.0\.1:\d+", dev.paste)[0])


def titles(dev: Dev) -> set[str]:
    token = re.findall(r"TOKEN=(\S+)", dev.output)[0]
    answer = httpx.get(f"{base_url(dev)}/api/chats", headers={"Authorization": f"Bearer {token}"})
    return {chat["title"] for chat in answer.json()["chats"]}


def refused(*arguments: str, directory: Path) -> str:
    """What `parley dev` says that cannot start: one line."""
    done = subprocess.run(
        [sys.executable, "-m", "api.cli", "dev", *arguments],
        cwd=directory,
        env=environment(directory),
        capture_output=True,
        check=False,
        text=True,
        timeout=30,
    )
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    return done.stderr


def parley_token(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    clean = {k: v for k, v in os.environ.items() if k not in ("NEXTAUTH_SECRET", "AUTH_SECRET")}
    with scratch() as directory:
        return subprocess.run(
            [sys.executable, "-m", "api.cli", "token", *arguments],
            cwd=directory,
            env={**clean, "PYTHONPATH": str(ROOT), **variables},
            capture_output=True,
            check=False,
            text=True,
            timeout=30,
        )


# A running stack


def test_the_printed_commands_work_as_they_are(dev: Dev) -> None:
    done = subprocess.run(["bash", "-euc", dev.paste], capture_output=True, text=True, timeout=60, check=True)
    chats, created, sent, found, messages, image, profile, settings = map(json.loads, done.stdout.splitlines())
    assert "Welcome to Parley" in {chat["title"] for chat in chats["chats"]}
    assert created["title"] == "Ideas"
    assert sent["content"] == "Hello from curl"
    assert sent["id"] in {message["id"] for message in found["messages"]}
    assert "<mark>Hello</mark> from curl" in {message["extract"] for message in found["messages"]}
    assert messages["messages"][0]["id"] == sent["id"]
    assert {message["userId"] for message in messages["messages"]} == {"alice", "bob"}
    assert {message["type"] for message in messages["messages"]} == {"text", "code"}
    assert profile["user"] == {"id": "alice", "name": "Alice", "email": "alice@example.com"} | image
    assert image["imageUrl"].startswith(f"{base_url(dev)}/images/")
    assert httpx.get(image["imageUrl"]).headers["content-type"] == "image/png"
    assert settings["settings"]["theme"] == "light"
    assert settings["settings"]["responseStyle"] == "concise"


def test_the_printed_database_urls_work(dev: Dev) -> None:
    users = []
    for url in re.findall(r"'(postgresql://[^']+)'", dev.output):
        with contextlib.closing(psycopg2.connect(url)) as connection:
            cursor = connection.cursor()
            cursor.execute("select rolname, rolsuper from pg_roles where rolname = current_user")
            users += cursor.fetchall()
    assert users == [("parley_app", False), ("postgres", True)]


def test_the_printed_metrics_are_there(dev: Dev) -> None:
    of_api, of_listener = re.findall(r"http://127\.0\.0\.1:\d+/metrics", dev.output)
    assert 'parley_requests_total{method="GET",route="/readyz"' in httpx.get(of_api).text
    assert "parley_listener_leads 1.0" in httpx.get(of_listener).text
    assert httpx.get(of_listener.replace("metrics", "healthz")).json() == {"status": "ok"}


def test_a_token_for_the_stack_is_accepted(dev: Dev) -> None:
    done = parley_token("--user", "carol", "--data", str(dev.directory / "data"))
    bearer = {"Authorization": f"Bearer {done.stdout.strip()}"}
    assert httpx.get(f"{base_url(dev)}/api/chats", headers=bearer).json()["chats"] == []


def test_a_web_app_can_sign_users_in_and_its_pages_can_call(dev: Dev) -> None:
    lines = (dev.directory / "data" / WEB_FILE).read_text().splitlines()
    given = dict(line.split("=", 1) for line in lines)
    with contextlib.closing(psycopg2.connect(given["DATABASE_URL"])) as connection, connection:
        cursor = connection.cursor()
        cursor.execute("insert into users (name) values ('Dora') returning id")
        insert = """insert into sessions ("userId", expires, "sessionToken") values (%s, now() + '1 hour', 'of Dora')"""
        cursor.execute(insert, cursor.fetchone())
    session = {"Cookie": "authjs.session-token=of Dora", "Origin": "http://localhost:3000"}
    assert httpx.get(f"{base_url(dev)}/api/profile", headers=session).json()["user"]["name"] == "Dora"
    assert httpx.post(f"{base_url(dev)}/api/chats", json={"title": "x"}, headers=session).status_code == 201
    for name in ("NEXTAUTH_SECRET", "AUTH_SECRET"):
        signed = jwt.encode({"sub": "dora", "exp": 4_102_444_800}, given[name], algorithm="HS256")
        bearer = {"Authorization": f"Bearer {signed}"}
        assert httpx.get(f"{base_url(dev)}/api/profile", headers=bearer).json()["user"]["id"] == "dora"


def test_only_loopback_is_listened_on(dev: Dev) -> None:
    listening = []
    for process in psutil.Process(dev.process.pid).children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):  # PostgreSQL's workers come and go
            connections = process.net_connections()
            listening += [c.laddr.ip for c in connections if c.status == psutil.CONN_LISTEN]
    assert len(listening) >= 3
    assert set(listening) == {"127.0.0.1"}


def test_secrets_are_neither_printed_nor_seen_by_other_users(dev: Dev) -> None:
    data = dev.directory / "data"
    passwords = re.findall(r"[^:\s]{20,}", (data / "pgpass").read_text())
    kept = [*passwords, (data / STACK_FILE).read_text()]
    shown = [dev.output]
    for process in psutil.Process(dev.process.pid).children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):  # PostgreSQL's workers come and go
            shown.append(" ".join(process.cmdline()))
    assert len(shown) > 5
    assert len(kept) == 3
    assert not [secret for secret in kept for text in shown if secret in text]
    for path in data.rglob("*"):
        with contextlib.suppress(FileNotFoundError):  # as do its files
            mode = path.stat().st_mode
            assert not stat.S_ISREG(mode) or not stat.S_IMODE(mode) & 0o077, path


def test_a_second_one_in_the_same_directory_is_refused(dev: Dev) -> None:
    said = refused("--port", str(free_port()), "--data", "data", directory=dev.directory)
    assert f"already running on {dev.directory / 'data'}" in said
    assert titles(dev)


def test_a_port_in_use_is_refused(dev: Dev, directory: Path) -> None:
    port = base_url(dev).rpartition(":")[2]
    assert f"port {port}" in refused("--port", port, directory=directory)
    assert processes_of(directory) == []


# parley listen


@contextlib.contextmanager
def listen(dev: Dev, user: str, chat: str) -> Iterator[tuple[IO[str], IO[str]]]:
    """The printed command, as this user and in this chat: what it prints, and what it says beside that."""
    arguments = shlex.split(re.findall(r"^\S+ (listen .*)$", dev.output, flags=re.MULTILINE)[0])
    arguments[1], arguments[3] = chat, user
    with subprocess.Popen(
        [sys.executable, "-m", "api.cli", *arguments],
        cwd=dev.directory,
        env=environment(dev.directory),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout
        assert process.stderr
        yield process.stdout, process.stderr
        assert process.wait(timeout=20) == 1


def test_listen_prints_events_until_the_user_is_no_member(dev: Dev) -> None:
    tokens = {user: parley_token("--user", user, "--data", str(dev.directory / "data")).stdout.strip() for user in "ab"}
    a, b = (
        httpx.Client(base_url=base_url(dev), headers={"Authorization": f"Bearer {tokens[user]}"}) for user in tokens
    )
    with a, b:
        b.get("/api/chats")
        chat = a.post("/api/chats", json={"title": "Live"}).json()["id"]
        a.post(f"/api/chats/{chat}/members", json={"userId": "b"})
        with listen(dev, "b", chat) as (printed, said):
            assert said.readline() == f"Listening to private-chat-{chat}\n"
            sent = a.post(f"/api/chats/{chat}/messages", json={"content": "grüß dich"}).json()
            assert json.loads(printed.readline()) == {"event": "message:sent", "data": sent}
            a.delete(f"/api/chats/{chat}/members/b")
            a.post(f"/api/chats/{chat}/messages", json={"content": "without b"})
            assert printed.read() == ""
            assert "is the user still in the chat?" in said.read()
        with listen(dev, "b", chat) as (_, said):
            assert "answers 403" in said.read()


# Starting and stopping


def test_data_stay_until_fresh(directory: Path) -> None:
    arguments = ("--port", str(free_port()))

    dev = Dev(directory, *arguments).until_ready()
    subprocess.run(["bash", "-euc", dev.paste], stdout=subprocess.DEVNULL, timeout=60, check=True)
    assert dev.stop() == 0
    assert processes_of(directory) == []

    dev = Dev(directory, *arguments).until_ready()
    assert titles(dev) == {"Welcome to Parley", "Ideas"}
    assert dev.stop() == 0

    dev = Dev(directory, *arguments, "--fresh").until_ready()
    assert titles(dev) == {"Welcome to Parley"}
    assert dev.stop() == 0


def test_fresh_empties_no_directory_but_its_own(directory: Path) -> None:
    (directory / "thesis.txt").write_text("all of it")
    said = refused("--fresh", "--data", str(directory), directory=directory)
    assert str(directory) in said
    assert (directory / "thesis.txt").read_text() == "all of it"


@pytest.mark.parametrize("moment", ["postgres/unfinished-*", "postgres/data", "migration.log"])
def test_interrupted_while_it_starts(directory: Path, moment: str) -> None:
    arguments = ("--port", str(free_port()), "--data", "data")
    dev = Dev(directory, *arguments)
    dev.wait_until(lambda: list(directory.glob(f"data/{moment}")))
    assert dev.stop() == 0
    assert READY not in dev.output
    assert "Traceback" not in dev.output
    assert processes_of(directory) == []
    assert Dev(directory, *arguments).until_ready().stop() == 0


def test_two_side_by_side_and_one_loses_a_child(directory: Path) -> None:
    one, other = (Dev(directory, "--port", str(free_port())) for _ in range(2))
    one.until_ready()
    other.until_ready()
    for child in psutil.Process(one.process.pid).children():
        if "valkey" in child.name():
            child.kill()
    assert one.ended() == 1
    assert re.fullmatch(r"parley dev: Valkey ended, .* see /.*/log", one.output.splitlines()[-1])
    assert titles(other)
    assert other.stop() == 0
    assert processes_of(directory) == []


@LINUX_ONLY
def test_killed_it_leaves_nothing_and_starts_again(directory: Path) -> None:
    arguments = ("--port", str(free_port()), "--data", "data")
    dev = Dev(directory, *arguments).until_ready()
    dev.process.kill()
    dev.ended()
    assert_nothing_is_left(directory)
    dev = Dev(directory, *arguments).until_ready()
    dev.process.send_signal(signal.SIGTERM)
    dev.process.send_signal(signal.SIGINT)
    assert dev.ended() == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="the other tests already run as an ordinary user")
def test_as_an_ordinary_user(directory: Path) -> None:
    shutil.chown(directory, "nobody")
    try:
        subprocess.run(
            [sys.executable, "-c", "import api.dev.stack"],
            user="nobody",
            cwd=directory,
            env=environment(directory),
            check=True,
            capture_output=True,
            timeout=60,
        )
    except (PermissionError, subprocess.CalledProcessError):
        pytest.skip(f"`nobody` cannot run {sys.executable}")
    dev = Dev(directory, "--port", str(free_port()), user="nobody").until_ready()
    assert titles(dev)
    assert dev.stop() == 0


# The servers by themselves


def test_the_port_of_the_api_is_given_to_no_other_server(monkeypatch: pytest.MonkeyPatch) -> None:
    port, other = free_port(), free_port()
    monkeypatch.setattr("api.dev.process._ports", [other, port])
    stack._check_port(port)
    assert free_port() == other


def test_postgres_survives_a_crash_and_asks_for_a_password(directory: Path) -> None:
    with Postgres(directory, settings={"fsync": "off"}) as postgres:
        url = postgres.url("postgres")
        with contextlib.closing(psycopg2.connect(url)) as connection:
            connection.cursor().execute("create table kept ()")
            connection.commit()
        postgres.kill()
        postgres.start()
        assert postgres.url("postgres") == url
        with contextlib.closing(psycopg2.connect(url)) as connection:
            connection.cursor().execute("table kept")
        with pytest.raises(psycopg2.OperationalError, match="password"):
            psycopg2.connect(postgres.url("postgres", password="guess"))
    assert processes_of(directory) == []


def test_postgres_says_why_it_does_not_start(directory: Path) -> None:
    with pytest.raises(ChildError, match="no_such_setting"):
        Postgres(directory, settings={"no_such_setting": "1"}).start()


def test_valkey_keeps_port_and_password_over_a_crash(directory: Path) -> None:
    with Valkey(directory) as valkey:
        url = valkey.url()
        valkey.kill()
        valkey.start()
        assert valkey.url() == url
        with redis.Redis.from_url(url) as client:
            assert client.ping()
        stranger = redis.Redis(port=valkey.port, retry=Retry(NoBackoff(), 0))
        with stranger, pytest.raises(redis.AuthenticationError):
            stranger.ping()


# Tokens


def test_a_token_says_what_was_asked_and_the_first_secret_signs() -> None:
    first, second = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
    done = parley_token(
        *("--user", "carol", "--name", "Carol", "--expires", "2d"),
        NEXTAUTH_SECRET=f"{first},{second}",
        AUTH_SECRET=second,
    )
    claims = jwt.decode(done.stdout.strip(), first, algorithms=["HS256"])
    assert (claims["sub"], claims["name"]) == ("carol", "Carol")
    assert claims["exp"] - claims["iat"] == 2 * 86_400
    assert "email" not in claims


@pytest.mark.parametrize(
    ("arguments", "variables", "status", "said"),
    [
        (("--user", "carol"), {}, 1, "set NEXTAUTH_SECRET"),
        (("--user", "carol"), {"AUTH_SECRET": "short"}, 1, "AUTH_SECRET must have at least 32"),
        (("--user", "carol"), {"AUTH_SECRET": "short " * 8}, 1, "AUTH_SECRET must be random"),
        (("--user", "carol", "--expires", "1y"), {}, 2, "'1y' is not a time"),
        (("--user", "carol", "--expires", "0s"), {}, 2, "'0s' is not a time"),
        (("--user", "carol", "--expires", "367d"), {}, 2, "up to 366d"),
        (("--user", " "), {}, 2, "blank"),
    ],
)
def test_a_token_that_cannot_be_made(
    arguments: tuple[str, ...], variables: dict[str, str], status: int, said: str
) -> None:
    done = parley_token(*arguments, **variables)
    assert (done.returncode, done.stdout) == (status, "")
    assert said in done.stderr.splitlines()[-1]
    assert "short" not in done.stderr
