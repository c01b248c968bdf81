"""Server processes: requests in flight at shutdown, workers, slow and disconnected clients, and their limits."""

import os
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path

import psutil
import psycopg
import pytest

from api import workers
from api.dev.postgres import Postgres
from api.dev.process import ChildProcess
from tests import ROOT
from tests.api.support import (
    expect_error,
    locked_chats,
    post_chat,
    request_head,
    send_raw,
    unlimited_client,
    wait_for_status,
)
from tests.api_process import Api, choose_long_window, running
from tests.tokens import new_user
from tests.waiting import wait_until

CONNECTIONS = 10  # of an API's pool to PostgreSQL, at most
MIB = 1024 * 1024


@pytest.fixture(scope="module", autouse=True)
def endless_request(api: Api) -> Iterator[socket.socket]:
    """A connection with a rejected request whose body never ends. It is opened early, since it lasts for seconds."""
    with socket.create_connection(("127.0.0.1", api.port), timeout=10) as connection:
        connection.sendall(request_head("POST /nope HTTP/1.1", {"Content-Length": str(10**15)}))
        yield connection


@pytest.fixture
def database(new_database: Callable[[str], str]) -> str:
    return new_database(f"parley_{new_user().replace('-', '_')}")


@pytest.mark.parametrize("workers", ["1", "2"])
def test_sigterm_finishes_requests_in_flight_and_accepts_no_more(
    postgres: Postgres, new_api: Callable[..., Api], database: str, workers: str
) -> None:
    api = new_api(database, WORKERS=workers)
    with running(api), api.client() as client, ThreadPoolExecutor() as pool:
        assert api.child is not None
        assert client.get("/api/chats").status_code == 200
        with locked_chats(postgres.url(database)) as count_waiting:
            response = pool.submit(post_chat, client)
            wait_until(lambda: count_waiting() == 1)
            os.kill(api.child.pid, signal.SIGTERM)
            wait_until(lambda: not accepts_connections(api))
            assert not response.done()
        assert response.result().status_code == 201
        wait_until(lambda: api.child is not None and api.child.exit_code is not None)
        assert api.child.exit_code == 0
        assert "Traceback" not in api.log.read_text()
    with psycopg.connect(postgres.url(database)) as dba:
        assert dba.execute("select count(*) from parley.chats").fetchone() == (1,)


def accepts_connections(api: Api) -> bool:
    try:
        socket.create_connection(("127.0.0.1", api.port), timeout=5).close()
    except ConnectionRefusedError:
        return False
    return True


@pytest.mark.slow
def test_request_without_a_free_connection_waits_then_gets_503(
    postgres: Postgres, api: Api, shared_database: str
) -> None:
    with ThreadPoolExecutor(CONNECTIONS + 2) as pool, ExitStack() as stack:
        client, *holders = (stack.enter_context(unlimited_client(api)) for _ in range(1 + CONNECTIONS))
        for each_client in (client, *holders):
            assert each_client.get("/api/chats").status_code == 200
        with locked_chats(postgres.url(shared_database)) as count_waiting:
            first = [pool.submit(holder.get, "/api/chats") for holder in holders]
            wait_until(lambda: count_waiting() == CONNECTIONS)
            started_at = time.monotonic()
            requests = [pool.submit(client.get, "/api/chats"), pool.submit(wait_for_status, client, "/readyz", 503)]
            assert client.get("/healthz").status_code == 200
            for request in requests:
                expect_error(request.result(), 503)
                assert request.result().headers["retry-after"] == "1"
            assert time.monotonic() - started_at < 8
        assert [response.result().status_code for response in first] == [200] * CONNECTIONS
        assert client.get("/api/chats").status_code == 200


def test_disconnected_client_cancels_its_statement_without_an_error(
    postgres: Postgres, api: Api, shared_database: str
) -> None:
    log = len(api.log.read_text())
    with unlimited_client(api) as client, locked_chats(postgres.url(shared_database)) as count_waiting:
        with socket.create_connection(("127.0.0.1", api.port), timeout=5) as connection:
            headers = api.headers() | {"Content-Type": "application/json", "Content-Length": "14"}
            connection.sendall(request_head("POST /api/chats HTTP/1.1", headers) + b'{"title": "x"}')
            wait_until(lambda: count_waiting() == 1)
        wait_until(lambda: count_waiting() == 0)
        assert client.get("/healthz").status_code == 200
    assert '"level": "error"' not in api.log.read_text()[log:]


def test_endless_body_is_cut_off(endless_request: socket.socket) -> None:
    def cut_off() -> bool:
        try:
            endless_request.sendall(b"x" * MIB)
        except (BrokenPipeError, ConnectionResetError):
            return True
        return False

    wait_until(cut_off, seconds=10)


def test_many_simultaneous_connections_fit_into_the_backlog(api: Api) -> None:
    if sys.platform != "linux" or int(Path("/proc/sys/net/core/somaxconn").read_text()) < 500:
        pytest.skip("the kernel's backlog is too small")
    assert api.child is not None
    with ExitStack() as stack:
        os.kill(api.child.pid, signal.SIGSTOP)  # so that it accepts none
        stack.callback(os.kill, api.child.pid, signal.SIGCONT)
        for _ in range(300):
            stack.enter_context(socket.create_connection(("127.0.0.1", api.port), timeout=0.9))


def test_workers_share_port_and_rate_limit_and_end_together(new_api: Callable[..., Api], shared_database: str) -> None:
    api = new_api(shared_database, WORKERS="2", RATE_LIMIT_WINDOW=choose_long_window())
    with running(api):
        assert api.child is not None
        leader = api.child.pid
        wait_until(lambda: len(list_processes(leader)) == 3)  # one worker may be ready before the other has started
        headers = api.headers()
        responses = [send_raw(api, request_head("GET /api/chats HTTP/1.1", headers), method="GET") for _ in range(12)]
        assert [response.status_code for response in responses] == [200] * 10 + [429] * 2
        os.kill(leader, signal.SIGTERM)
        wait_until(lambda: api.child is not None and api.child.exit_code is not None)
        assert api.child.exit_code == 0
        assert list_processes(leader) == []
        assert "Traceback" not in api.log.read_text()


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not distribute connections")
def test_connections_are_distributed_among_workers(new_api: Callable[..., Api], shared_database: str) -> None:
    api = new_api(shared_database, WORKERS="2")
    with running(api), ExitStack() as stack:
        assert api.child is not None
        connect = partial(socket.create_connection, ("127.0.0.1", api.port), timeout=10)
        connections = [stack.enter_context(connect()) for _ in range(64)]
        for connection in connections:
            connection.sendall(request_head("GET /healthz HTTP/1.1", {}))
            assert connection.recv(65_536).startswith(b"HTTP/1.1 200 ")
        shares = [
            sum(
                connection.status == psutil.CONN_ESTABLISHED and connection.laddr.port == api.port
                for connection in worker.net_connections()
            )
            for worker in psutil.Process(api.child.pid).children()
        ]
        assert sum(shares) == 64
        assert min(shares) >= 16, shares  # at random, one of 40,000 runs has less


def test_sigterm_during_the_start_stops_all_workers(new_api: Callable[..., Api], shared_database: str) -> None:
    api = new_api(shared_database, WORKERS="2")
    child = ChildProcess("API", [sys.executable, "-m", "api"], log=api.log, cwd=ROOT, env=api.environment)
    try:
        child.wait_until_ready(lambda: len(list_processes(child.pid)) == 3, seconds=20)
        os.kill(child.pid, signal.SIGTERM)
        wait_until(lambda: child.exit_code is not None)
        assert child.exit_code == 0
        assert list_processes(child.pid) == []
    finally:
        child.stop()


def test_dead_worker_is_replaced_while_the_others_serve(new_api: Callable[..., Api], shared_database: str) -> None:
    api = new_api(shared_database, WORKERS="2")
    with running(api), unlimited_client(api) as client:
        leader, (dead, other_worker) = list_workers(api)
        assert client.get("/api/chats").status_code == 200
        os.kill(dead, signal.SIGKILL)
        wait_until(lambda: dead not in list_workers(api)[1] and len(list_workers(api)[1]) == 2)
        assert other_worker in list_workers(api)[1]
        for _ in range(8):  # new connections, which the kernel distributes at random
            with unlimited_client(api) as other:
                assert other.get("/api/chats").status_code == 200
        os.kill(leader, signal.SIGTERM)
        wait_until(lambda: api.child is not None and api.child.exit_code is not None)
        assert api.child is not None
        assert api.child.exit_code == 0
        assert "Worker 0 ended unexpectedly, exit code -9" in api.log.read_text()
        assert "Traceback" not in api.log.read_text()


def test_process_ends_if_workers_crash_repeatedly(new_api: Callable[..., Api], shared_database: str) -> None:
    api = new_api(shared_database, WORKERS="2")
    with running(api):
        assert api.child is not None
        leader = api.child.pid
        while api.child.exit_code is None:
            for worker in list_workers(api)[1]:
                with suppress(ProcessLookupError):
                    os.kill(worker, signal.SIGKILL)
        assert api.child.exit_code == 1
        assert list_processes(leader) == []
        log = api.log.read_text()
        assert log.count("it is replaced") == workers.MAX_REPLACEMENTS
        assert log.splitlines()[-1] == "parley: more than 5 workers ended unexpectedly in 60 s, so all were stopped"


def test_workers_end_without_their_parent(new_api: Callable[..., Api], shared_database: str) -> None:
    api = new_api(shared_database, WORKERS="2")
    with running(api):
        leader, _ = list_workers(api)
        os.kill(leader, signal.SIGKILL)
        wait_until(lambda: list_processes(leader) == [])
        assert not accepts_connections(api)


def list_workers(api: Api) -> tuple[int, list[int]]:
    """Return the process IDs of the parent and of its running workers."""
    assert api.child is not None
    leader = api.child.pid
    return leader, [pid for pid in list_processes(leader) if pid != leader]


def list_processes(leader: int) -> list[int]:
    """Return the running processes of the session that this process leads."""
    listed = subprocess.run(["ps", "-o", "pid=,stat=", "-s", str(leader)], capture_output=True, text=True, check=False)
    found = (line.split() for line in listed.stdout.splitlines())
    return [int(pid) for pid, state in found if not state.startswith("Z")]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux reports the limits of other processes")
def test_open_files_limit_is_raised_to_the_hard_limit(new_api: Callable[..., Api], shared_database: str) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    try:
        api = new_api(shared_database)
        api.spawn = ChildProcess  # a fork has the limits of the fork server
        with running(api):
            assert api.child
            assert psutil.Process(api.child.pid).rlimit(psutil.RLIMIT_NOFILE) == (hard, hard)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
