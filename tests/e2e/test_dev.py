"""A running `parley dev`: what it prints, its servers and its secrets, and `parley listen`."""

import contextlib
import json
import re
import shlex
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import httpx
import jwt
import psutil
import psycopg2
import pytest

from api.dev.data_directory import SECRET_FILE, WEB_FILE
from api.dev.process import find_free_port
from tests.e2e.dev import (
    Dev,
    build_environment,
    fail_to_start,
    fetch_titles,
    find_processes,
    parse_url,
    run_parley_token,
    temporary_directory,
)
from tests.e2e.pusher_js import TERMINATED, PusherJsClient
from tests.tokens import token


@pytest.fixture(name="directory")
def _directory() -> Iterator[Path]:
    with temporary_directory() as directory:
        yield directory


@pytest.fixture(scope="module", name="dev")
def _dev() -> Iterator[Dev]:
    """One stack for the tests that do not change it."""
    with temporary_directory() as directory:
        dev = Dev(directory, "--port", str(find_free_port()), "--data", "data").wait_until_ready()
        yield dev
        assert dev.stop() == 0, dev.output


def test_printed_commands_work_unchanged(dev: Dev) -> None:
    done = subprocess.run(["bash", "-euc", dev.commands], capture_output=True, text=True, timeout=60, check=True)
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
    assert image["imageUrl"].startswith(f"{parse_url(dev)}/images/")
    assert httpx.get(image["imageUrl"]).headers["content-type"] == "image/png"
    assert settings["settings"]["theme"] == "light"
    assert settings["settings"]["responseStyle"] == "concise"


def test_printed_database_urls_work(dev: Dev) -> None:
    users = []
    for url in re.findall(r"'(postgresql://[^']+)'", dev.output):
        with contextlib.closing(psycopg2.connect(url)) as connection:
            cursor = connection.cursor()
            cursor.execute("select rolname, rolsuper from pg_roles where rolname = current_user")
            users += cursor.fetchall()
    assert users == [("parley_app", False), ("postgres", True)]


def test_printed_metrics_are_served(dev: Dev) -> None:
    api_metrics, listener_metrics = re.findall(r"http://127\.0\.0\.1:\d+/metrics", dev.output)
    assert 'parley_requests_total{method="GET",route="/readyz"' in httpx.get(api_metrics).text
    assert "parley_listener_is_leader 1.0" in httpx.get(listener_metrics).text
    assert httpx.get(listener_metrics.replace("metrics", "healthz")).json() == {"status": "ok"}


def test_token_for_the_stack_is_accepted(dev: Dev) -> None:
    done = run_parley_token("--user", "carol", "--data", str(dev.directory / "data"))
    bearer = {"Authorization": f"Bearer {done.stdout.strip()}"}
    assert httpx.get(f"{parse_url(dev)}/api/chats", headers=bearer).json()["chats"] == []


def test_web_app_can_sign_users_in_and_call_the_api_from_its_pages(dev: Dev) -> None:
    lines = (dev.directory / "data" / WEB_FILE).read_text().splitlines()
    variables = dict(line.split("=", 1) for line in lines)
    with contextlib.closing(psycopg2.connect(variables["DATABASE_URL"])) as connection, connection:
        cursor = connection.cursor()
        cursor.execute("insert into users (name) values ('Dora') returning id")
        insert = """insert into sessions ("userId", expires, "sessionToken") values (%s, now() + '1 hour', 'of Dora')"""
        cursor.execute(insert, cursor.fetchone())
    session = {"Cookie": "authjs.session-token=of Dora", "Origin": "http://localhost:3000"}
    assert httpx.get(f"{parse_url(dev)}/api/profile", headers=session).json()["user"]["name"] == "Dora"
    assert httpx.post(f"{parse_url(dev)}/api/chats", json={"title": "x"}, headers=session).status_code == 201
    for name in ("NEXTAUTH_SECRET", "AUTH_SECRET"):
        signed = jwt.encode({"sub": "dora", "exp": 4_102_444_800}, variables[name], algorithm="HS256")
        bearer = {"Authorization": f"Bearer {signed}"}
        assert httpx.get(f"{parse_url(dev)}/api/profile", headers=bearer).json()["user"]["id"] == "dora"


def test_all_servers_listen_on_loopback_only(dev: Dev) -> None:
    # The API and the listener let only root inspect their processes; the others have started and end at any time.
    urls = [parse_url(dev), *re.findall(r"(http://127\.0\.0\.1:\d+)/metrics", dev.output)]
    ports = {httpx.URL(url).port for url in urls}
    connections: list[Any] = [c for c in psutil.net_connections("tcp") if c.laddr and c.laddr.port in ports]
    for process in psutil.Process(dev.process.pid).children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            connections += process.net_connections()
    listening = [c.laddr.ip for c in connections if c.status == psutil.CONN_LISTEN]
    assert len(ports) == 3
    assert len(listening) >= len(ports) + 3
    assert set(listening) == {"127.0.0.1"}


def test_secrets_are_neither_printed_nor_readable_by_other_users(dev: Dev) -> None:
    data = dev.directory / "data"
    passwords = re.findall(r"[^:\s]{20,}", (data / "pgpass").read_text())
    kept = [*passwords, (data / SECRET_FILE).read_text()]
    shown = [dev.output]
    for process in psutil.Process(dev.process.pid).children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):  # workers of PostgreSQL start and end
            shown.append(" ".join(process.cmdline()))
    assert len(shown) > 5
    assert len(kept) == 3
    assert not [secret for secret in kept for text in shown if secret in text]
    for path in data.rglob("*"):
        with contextlib.suppress(FileNotFoundError):  # its files too
            mode = path.stat().st_mode
            assert not stat.S_ISREG(mode) or not stat.S_IMODE(mode) & 0o077, path


def test_second_stack_in_the_same_directory_is_rejected(dev: Dev) -> None:
    error = fail_to_start("--port", str(find_free_port()), "--data", "data", directory=dev.directory)
    assert f"already running on {dev.directory / 'data'}" in error
    assert fetch_titles(dev)


def test_port_in_use_is_rejected(dev: Dev, directory: Path) -> None:
    port = parse_url(dev).rpartition(":")[2]
    assert f"port {port}" in fail_to_start("--port", port, directory=directory)
    assert find_processes(directory) == []


@contextlib.contextmanager
def listen(dev: Dev, user: str, chat: str) -> Iterator[tuple[IO[str], IO[str]]]:
    """Run the printed command as this user and for this chat; return its standard output and standard error."""
    arguments = shlex.split(re.findall(r"^\S+ (listen .*)$", dev.output, flags=re.MULTILINE)[0])
    arguments[1], arguments[3] = chat, user
    with subprocess.Popen(
        [sys.executable, "-m", "api.cli", *arguments],
        cwd=dev.directory,
        env=build_environment(dev.directory),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout
        assert process.stderr
        yield process.stdout, process.stderr
        assert process.wait(timeout=20) == 1


def test_listen_prints_events_until_the_user_is_removed(dev: Dev) -> None:
    tokens = {
        user: run_parley_token("--user", user, "--data", str(dev.directory / "data")).stdout.strip() for user in "ab"
    }
    a, b = (
        httpx.Client(base_url=parse_url(dev), headers={"Authorization": f"Bearer {tokens[user]}"}) for user in tokens
    )
    with a, b:
        b.get("/api/chats")
        chat = a.post("/api/chats", json={"title": "Live"}).json()["id"]
        a.post(f"/api/chats/{chat}/members", json={"userId": "b"})
        with listen(dev, "b", chat) as (printed, error):
            assert error.readline() == f"Listening to private-chat-{chat}\n"
            sent = a.post(f"/api/chats/{chat}/messages", json={"content": "grüß dich"}).json()
            assert json.loads(printed.readline()) == {"event": "message:sent", "data": sent}
            a.delete(f"/api/chats/{chat}/members/b")
            a.post(f"/api/chats/{chat}/messages", json={"content": "without b"})
            assert printed.read() == ""
            assert "is the user still in the chat?" in error.read()
        with listen(dev, "b", chat) as (_, error):
            assert "returned 403" in error.read()


def test_events_arrive_through_pusher_js_with_the_variables_of_a_web_app(modules: Path) -> None:
    with temporary_directory() as directory:
        dev = Dev(directory, "--port", str(find_free_port()), "--data", "data").wait_until_ready()
        lines = (directory / "data" / WEB_FILE).read_text().splitlines()
        variables = dict(line.split("=", 1) for line in lines)
        public = {name.removeprefix("NEXT_PUBLIC_"): value for name, value in variables.items()}
        assert (public["PUSHER_USE_TLS"], public["PUSHER_CLUSTER"]) == ("false", "")  # as PusherJsClient connects
        alice, bob = ({"Authorization": f"Bearer {token(user, variables['AUTH_SECRET'])}"} for user in ("alice", "bob"))
        with (
            httpx.Client(base_url=f"{public['API_URL']}/api/chats", headers=alice) as http,
            PusherJsClient(modules, public["API_URL"], public, bob) as client,
        ):
            chat = http.get("").json()["chats"][0]["id"]
            client.sign_in().subscribe(f"private-chat-{chat}")
            sent = http.post(f"/{chat}/messages", json={"content": "Hello"}).json()
            assert client.wait_for("message:sent", f"private-chat-{chat}") == sent
            http.delete(f"/{chat}/members/bob")
            assert client.wait_for("error")["code"] == TERMINATED
        assert dev.stop() == 0
