"""The metrics of a worker: requests by outcome, the time that they waited, and connections and uploads in progress."""

import os
import signal
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import httpx
import psutil
import pytest

from api.dev.postgres import Postgres
from api.dev.process import find_free_port, is_port_free, reserve_port
from api.dev.valkey import Valkey
from tests.api.support import locked_chats, post_chat, request_head, send_raw, unlimited_client
from tests.api_process import Api, choose_long_window, running, scrape
from tests.waiting import wait_until

ReadMetric = Callable[..., float]


@pytest.fixture(scope="module")
def metrics_port() -> int:
    return find_free_port()


@pytest.fixture(scope="module")
def metrics_valkey(directory: Path) -> Iterator[Valkey]:
    with Valkey(directory / "valkey-metrics") as server:
        yield server


@pytest.fixture(scope="module")
def database(new_database: Callable[[str], str]) -> str:
    return new_database("parley_metrics")


@pytest.fixture(scope="module")
def api(new_api: Callable[..., Api], database: str, metrics_valkey: Valkey, metrics_port: int) -> Iterator[Api]:
    options = {
        "METRICS_PORT": str(metrics_port),
        "REDIS_URL": metrics_valkey.url(),
        "RATE_LIMIT_WINDOW": choose_long_window(),
    }
    with running(new_api(database, **options)) as api:
        yield api


@pytest.fixture
def read_metric(metrics_port: int) -> ReadMetric:
    return partial(scrape, metrics_port)


def test_requests_are_counted_by_method_route_and_status(api: Api, read_metric: ReadMetric) -> None:
    route, message = "/api/chats/{chatId}/messages", "/api/chats/{chatId}/messages/{messageId}"
    with unlimited_client(api) as client:
        chat = client.post("/api/chats", json={"title": "x"}).json()["id"]
        for _ in range(3):
            sent = client.post(f"/api/chats/{chat}/messages", json={"content": "hello"})
        client.delete(f"/api/chats/{chat}/messages/{sent.json()['id']}")
        client.get(f"/api/chats/{chat}/messages?limit=0")
        client.get("/api/nope")
        client.request("MADE-UP", f"/api/chats/{chat}")
    send_raw(api, b"malformed\r\n\r\n")
    count = partial(read_metric, "parley_requests_total")
    assert count(method="POST", route=route, status="201") == 3
    assert count(method="DELETE", route=message, status="204") == 1
    assert count(method="GET", route=route, status="400") == 1
    assert count(method="GET", route="none", status="404") == 1
    assert count(method="other", route="none") == 2
    assert read_metric("parley_request_duration_seconds_count", method="POST", route=route) == 3
    assert 0 < read_metric("parley_request_duration_seconds_sum", method="POST", route=route) < 3
    text = httpx.get(f"http://127.0.0.1:{api.environment['METRICS_PORT']}/metrics").text
    assert chat not in text
    assert "MADE-UP" not in text


def test_waits_of_requests_are_measured(postgres: Postgres, api: Api, database: str, read_metric: ReadMetric) -> None:
    names = (
        "parley_database_statement_duration_seconds",
        "parley_database_pool_wait_seconds",
        "parley_rate_limit_duration_seconds",
    )
    with unlimited_client(api) as client, ThreadPoolExecutor() as threads:
        assert client.get("/api/chats").status_code == 200
        before = [read_metric(f"{name}_count") for name in names]
        with locked_chats(postgres.url(database)) as count_waiting:
            responses = [threads.submit(post_chat, client) for _ in range(2)]
            wait_until(lambda: count_waiting() == 2)
            assert read_metric("parley_database_connections", server="primary", state="used") == 2
            assert read_metric("parley_database_connections", server="primary", state="open") >= 2
        assert [response.result().status_code for response in responses] == [201, 201]
    assert [read_metric(f"{name}_count") for name in names] == [count + 2 for count in before]
    assert read_metric("parley_database_statement_duration_seconds_count", server="replica") == 0
    assert read_metric("parley_database_connections", server="primary", state="used") == 0
    assert read_metric("parley_database_connections", server="primary", state="max") == 10
    assert read_metric("parley_database_connections", server="replica") == 0
    assert read_metric("parley_replica_in_use") == 0
    assert read_metric("process_resident_memory_bytes") > 0


def test_decisions_of_the_rate_limit_are_counted_by_counter(
    api: Api, metrics_valkey: Valkey, read_metric: ReadMetric
) -> None:
    def count(decision: str, counted_by: str) -> float:
        return read_metric("parley_rate_limit_decisions_total", decision=decision, counted_by=counted_by)

    decisions = [("allow", "redis"), ("reject", "redis"), ("allow", "process"), ("reject", "process")]
    before = [count(*decision) for decision in decisions]
    with api.client() as client:
        for _ in range(12):
            client.get("/api/nope")
    assert [count(*decision) for decision in decisions] == [before[0] + 10, before[1] + 2, *before[2:]]
    assert read_metric("parley_rate_limit_fallback") == 0
    metrics_valkey.kill()
    try:
        with api.client() as client:
            for _ in range(12):
                client.get("/api/nope")
        assert [count(*decision) for decision in decisions[2:]] == [before[2] + 10, before[3] + 2]
        assert read_metric("parley_rate_limit_fallback") == 1
    finally:
        metrics_valkey.start()

    def is_back() -> bool:
        with unlimited_client(api) as client:
            client.get("/api/nope")
        return read_metric("parley_rate_limit_fallback") == 0

    wait_until(is_back)


def test_disconnected_client_is_not_counted_as_a_server_error(
    postgres: Postgres, api: Api, database: str, read_metric: ReadMetric
) -> None:
    count = partial(read_metric, "parley_requests_total", method="POST", route="/api/chats")
    headers = api.headers() | {"Content-Type": "application/json", "Content-Length": "14"}
    with locked_chats(postgres.url(database)) as count_waiting:
        with socket.create_connection(("127.0.0.1", api.port), timeout=10) as connection:
            connection.sendall(request_head("POST /api/chats HTTP/1.1", headers) + b'{"title": "x"}')
            wait_until(lambda: count_waiting() == 1)
        wait_until(lambda: count(status="499") == 1)
    assert count(status="503") == 0


def test_upload_in_progress_is_counted(api: Api, read_metric: ReadMetric) -> None:
    headers = api.headers() | {"Content-Type": "multipart/form-data; boundary=x", "Content-Length": "1000"}
    with socket.create_connection(("127.0.0.1", api.port), timeout=10) as connection:
        connection.sendall(request_head("POST /api/profile/image HTTP/1.1", headers))
        wait_until(lambda: read_metric("parley_uploads_in_progress") == 1)
    wait_until(lambda: read_metric("parley_uploads_in_progress") == 0)


def reserve_two_ports() -> int:
    """Reserve two consecutive free ports; return the first."""
    while not is_port_free((port := find_free_port()) + 1):
        pass
    reserve_port(port + 1)
    return port


def test_each_worker_serves_metrics_on_its_own_port(new_api: Callable[..., Api], shared_database: str) -> None:
    port = reserve_two_ports()
    with running(new_api(shared_database, WORKERS="2", METRICS_PORT=str(port))) as api, unlimited_client(api) as client:
        wait_until(lambda: all(is_listening(port + worker) for worker in range(2)))
        for number in range(20):
            assert client.get("/healthz", headers={"Connection": "close"}).status_code == 200
            wait_until(lambda n=number: sum(count_requests(port + w) for w in range(2)) == n + 1)  # type: ignore[misc]
        assert scrape(port, "process_start_time_seconds") > 0
        assert api.child is not None
        os.kill(api.child.pid, signal.SIGTERM)
        wait_until(lambda: api.child is not None and api.child.exit_code is not None)
        assert api.child.exit_code == 0
        assert not api.log.read_text()


def is_listening(metrics_port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", metrics_port)) == 0


def count_requests(metrics_port: int) -> float:
    return scrape(metrics_port, "parley_requests_total", route="/healthz")


@pytest.mark.parametrize("host", ["::1", "localhost"])
def test_metrics_listen_on_the_configured_host(new_api: Callable[..., Api], shared_database: str, host: str) -> None:
    port = find_free_port()
    with running(new_api(shared_database, METRICS_HOST=host, METRICS_PORT=str(port))):
        url_host = f"[{host}]" if ":" in host else host
        assert httpx.get(f"http://{url_host}:{port}/metrics").status_code == 200


def test_metrics_do_not_listen_without_a_port(new_api: Callable[..., Api], shared_database: str) -> None:
    with running(new_api(shared_database)) as api:
        assert api.child is not None
        connections = psutil.Process(api.child.pid).net_connections(kind="inet")
        assert {c.laddr.port for c in connections if c.status == psutil.CONN_LISTEN} == {api.port}


@pytest.mark.parametrize("offset", [0, 1])
def test_metrics_port_in_use_stops_the_start_with_one_line(
    new_api: Callable[..., Api], shared_database: str, offset: int
) -> None:
    port = reserve_two_ports()
    with socket.create_server(("127.0.0.1", port + offset)):
        api = new_api(shared_database, WORKERS="2", METRICS_PORT=str(port))
        assert api.fail_to_start() == (
            f"parley: METRICS_HOST or METRICS_PORT: can't listen on 127.0.0.1:{port + offset}: Address already in use"
        )
