"""The process at work and at its end: it waits for what is in flight, with bounds, and leaves nothing behind."""

import os
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import httpx
import psutil
import psycopg
import pytest

from api.dev.postgres import Postgres
from api.dev.process import Child
from tests.api.support import becomes, exchange, head, refusal, unlimited
from tests.support import ROOT, Api, long_window, new_user, running, wait_until

CONNECTIONS = 10  # of an API's pool to PostgreSQL, at most
MIB = 1024 * 1024


@pytest.fixture(scope="module", autouse=True)
def endless(api: Api) -> Iterator[socket.socket]:
    """A connection with a refused request whose body never ends; it is opened early, since it lives for seconds."""
    with socket.create_connection(("127.0.0.1", api.port), timeout=10) as connection:
        connection.sendall(head("POST /nope HTTP/1.1", {"Content-Length": str(10**15)}))
        yield connection


@pytest.fixture
def database(new_database: Callable[[str], str]) -> str:
    return new_database(f"parley_{new_user().replace('-', '_')}")


@contextmanager
def held_up(url: str) -> Iterator[Callable[[], int]]:
    """A lock that new chats wait for; what it gives tells how many do."""
    with psycopg.connect(url) as locker, psycopg.connect(url, autocommit=True) as watcher:
        locker.execute("lock table parley.chats in access exclusive mode")

        def waiting() -> int:
            query = (
                "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
            )
            row = watcher.execute(query).fetchone()
            assert row is not None
            return int(row[0])

        yield waiting
        locker.rollback()


def post_chat(client: httpx.Client) -> httpx.Response:
    return client.post("/api/chats", json={"title": "x"})


@pytest.mark.parametrize("workers", ["1", "2"])
def test_sigterm_lets_a_request_in_flight_finish_and_takes_no_more(
    postgres: Postgres, new_api: Callable[..., Api], database: str, workers: str
) -> None:
    api = new_api(database, WORKERS=workers)
    with running(api), api.client() as client, ThreadPoolExecutor() as pool:
        assert api.child is not None
        assert client.get("/api/chats").status_code == 200
        with held_up(postgres.url(database)) as waiting:
            answer = pool.submit(post_chat, client)
            wait_until(lambda: waiting() == 1)
            os.kill(api.child.pid, signal.SIGTERM)
            wait_until(lambda: not accepts(api))
            assert not answer.done()
        assert answer.result().status_code == 201
        wait_until(lambda: api.child is not None and api.child.exit_code is not None)
        assert api.child.exit_code == 0
        assert "Traceback" not in api.log.read_text()
    with psycopg.connect(postgres.url(database)) as dba:
        assert dba.execute("select count(*) from parley.chats").fetchone() == (1,)


def accepts(api: Api) -> bool:
    try:
        socket.create_connection(("127.0.0.1", api.port), timeout=5).close()
    except ConnectionRefusedError:
        return False
    return True


def test_who_finds_no_free_connection_waits_a_while_and_is_told_to_come_back(
    postgres: Postgres, api: Api, shared_database: str
) -> None:
    with ThreadPoolExecutor(CONNECTIONS + 2) as pool, ExitStack() as stack:
        client, *holders = (stack.enter_context(unlimited(api)) for _ in range(1 + CONNECTIONS))
        for each in (client, *holders):
            assert each.get("/api/chats").status_code == 200
        with held_up(postgres.url(shared_database)) as waiting:
            first = [pool.submit(holder.get, "/api/chats") for holder in holders]
            wait_until(lambda: waiting() == CONNECTIONS)
            begin = time.monotonic()
            others = [pool.submit(client.get, "/api/chats"), pool.submit(becomes, client, "/readyz", 503)]
            assert client.get("/healthz").status_code == 200
            for other in others:
                refusal(other.result(), 503)
                assert other.result().headers["retry-after"] == "1"
            assert time.monotonic() - begin < 8
        assert [answer.result().status_code for answer in first] == [200] * CONNECTIONS
        assert client.get("/api/chats").status_code == 200


def test_who_goes_away_is_not_waited_for_and_is_no_error(postgres: Postgres, api: Api, shared_database: str) -> None:
    log = len(api.log.read_text())
    with unlimited(api) as client, held_up(postgres.url(shared_database)) as waiting:
        with socket.create_connection(("127.0.0.1", api.port), timeout=5) as connection:
            headers = api.headers() | {"Content-Type": "application/json", "Content-Length": "14"}
            connection.sendall(head("POST /api/chats HTTP/1.1", headers) + b'{"title": "x"}')
            wait_until(lambda: waiting() == 1)
        wait_until(lambda: waiting() == 0)
        assert client.get("/healthz").status_code == 200
    assert '"level": "error"' not in api.log.read_text()[log:]


def test_who_never_stops_sending_is_cut_off(endless: socket.socket) -> None:
    def cut_off() -> bool:
        try:
            endless.sendall(b"x" * MIB)
        except (BrokenPipeError, ConnectionResetError):
            return True
        return False

    wait_until(cut_off, seconds=10)


def test_many_who_connect_at_once_are_kept_waiting_not_away(api: Api) -> None:
    if sys.platform != "linux" or int(Path("/proc/sys/net/core/somaxconn").read_text()) < 500:
        pytest.skip("the kernel has no room for them")
    assert api.child is not None
    with ExitStack() as stack:
        os.kill(api.child.pid, signal.SIGSTOP)  # so that it takes none
        stack.callback(os.kill, api.child.pid, signal.SIGCONT)
        for _ in range(300):
            stack.enter_context(socket.create_connection(("127.0.0.1", api.port), timeout=0.9))


def test_workers_share_the_port_and_the_limit_and_end_together(
    new_api: Callable[..., Api], shared_database: str
) -> None:
    api = new_api(shared_database, WORKERS="2", RATE_LIMIT_WINDOW=long_window())
    with running(api):
        assert api.child is not None
        leader = api.child.pid
        wait_until(lambda: len(processes_of(leader)) == 3)  # one may be ready before the other begins
        headers = api.headers()
        asked = [exchange(api, head("GET /api/chats HTTP/1.1", headers), method="GET") for _ in range(12)]
        assert [response.status_code for response in asked] == [200] * 10 + [429] * 2
        os.kill(leader, signal.SIGTERM)
        wait_until(lambda: api.child is not None and api.child.exit_code is not None)
        assert api.child.exit_code == 0
        assert processes_of(leader) == []
        assert "Traceback" not in api.log.read_text()


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the first to wake takes what it finds")
def test_each_worker_gets_its_share_of_connections(new_api: Callable[..., Api], shared_database: str) -> None:
    api = new_api(shared_database, WORKERS="2")
    with running(api), ExitStack() as stack:
        assert api.child is not None
        connect = partial(socket.create_connection, ("127.0.0.1", api.port), timeout=10)
        connections = [stack.enter_context(connect()) for _ in range(64)]
        for connection in connections:
            connection.sendall(head("GET /healthz HTTP/1.1", {}))
            assert connection.recv(65_536).startswith(b"HTTP/1.1 200 ")
        shares = [
            sum(
                each.status == psutil.CONN_ESTABLISHED and each.laddr.port == api.port
                for each in worker.net_connections()
            )
            for worker in psutil.Process(api.child.pid).children()
        ]
        assert sum(shares) == 64
        assert min(shares) >= 16, shares  # by chance less in one of 40,000 runs


def test_workers_that_are_told_to_stop_while_they_start_do(new_api: Callable[..., Api], shared_database: str) -> None:
    api = new_api(shared_database, WORKERS="2")
    child = Child("API", [sys.executable, "-m", "api"], log=api.log, cwd=ROOT, env=api.environment)
    try:
        child.wait_until(lambda: len(processes_of(child.pid)) == 3, seconds=20)
        os.kill(child.pid, signal.SIGTERM)
        wait_until(lambda: child.exit_code is not None)
        assert child.exit_code == 0
        assert processes_of(child.pid) == []
    finally:
        child.stop()


def test_when_a_worker_dies_the_process_ends_so_that_it_is_started_anew(
    new_api: Callable[..., Api], shared_database: str
) -> None:
    api = new_api(shared_database, WORKERS="2")
    with running(api):
        assert api.child is not None
        leader = api.child.pid
        worker = next(pid for pid in processes_of(leader) if pid != leader)
        os.kill(worker, signal.SIGKILL)
        wait_until(lambda: api.child is not None and api.child.exit_code is not None)
        assert api.child.exit_code == 1
        assert processes_of(leader) == []


def processes_of(leader: int) -> list[int]:
    """The living processes of the session that this process leads."""
    listed = subprocess.run(["ps", "-o", "pid=,stat=", "-s", str(leader)], capture_output=True, text=True, check=False)
    found = (line.split() for line in listed.stdout.splitlines())
    return [int(pid) for pid, state in found if not state.startswith("Z")]


@pytest.mark.skipif(sys.platform != "linux", reason="tells the limits of other processes")
def test_it_takes_more_connections_than_a_shell_allows(new_api: Callable[..., Api], shared_database: str) -> None:
    usual, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, most))
    try:
        with running(new_api(shared_database)) as api:
            assert api.child
            assert psutil.Process(api.child.pid).rlimit(psutil.RLIMIT_NOFILE) == (most, most)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (usual, most))
