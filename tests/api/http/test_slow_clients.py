"""Clients that send or read slowly: they hold no connection to PostgreSQL, and are disconnected after a timeout."""

import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from select import select

import psutil
import psycopg
import pytest

from api.dev.postgres import Postgres
from api.dev.process import find_free_port
from tests.api.support import request_head
from tests.api_process import Api, running, scrape
from tests.database import call, new_chat
from tests.tokens import new_user, token
from tests.waiting import wait_until

# Runs the API with shorter timeouts and a smaller write buffer.
PROGRAM = """
from api import __main__, app
from api.http import protocol
app.TIMEOUTS.update(REQUEST_TIMEOUT=0.2, RESPONSE_TIMEOUT=1)
protocol.TIMEOUT_RESPONSE_SECONDS = 0.5
protocol.MAX_WRITE_BUFFER = 8_000_000
__main__.main()
"""
PAGE_SIZE = 100  # messages
CONTENT = "x" * 32_768  # of each message
BODY_HEADERS = {"Content-Type": "application/json", "Content-Length": "99999"}


@pytest.fixture(scope="module")
def api(new_api: Callable[..., Api], shared_database: str) -> Iterator[Api]:
    api = new_api(shared_database, METRICS_PORT=str(find_free_port()), RATE_LIMIT_REQUESTS="1000")
    api.command[-2:] = ["-c", PROGRAM]
    with running(api):
        yield api
    assert '"level": "error"' not in api.log.read_text()


@pytest.fixture(scope="module")
def page_request(postgres: Postgres, shared_database: str) -> bytes:
    """A request for a page of 3 MB."""
    user = new_user()
    with psycopg.connect(postgres.url(shared_database), autocommit=True) as dba:
        chat = new_chat(dba, user)
        for _ in range(PAGE_SIZE):
            call(dba, user, "send_message", chat, {"content": CONTENT})
    authorization = {"Authorization": f"Bearer {token(user)}"}
    return request_head(f"GET /api/chats/{chat}/messages?limit={PAGE_SIZE} HTTP/1.1", authorization)


def connect(api: Api) -> socket.socket:
    """Open a connection with a small receive buffer."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.settimeout(20)
    connection.connect(("127.0.0.1", api.port))
    return connection


def list_peers(api: Api) -> list[tuple[str, int]]:
    assert api.child is not None
    return [connection.raddr for connection in psutil.Process(api.child.pid).net_connections("tcp")]


def is_connected(api: Api, connection: socket.socket) -> bool:
    """Return whether the API has not closed a connection."""
    return connection.getsockname() in list_peers(api)


@pytest.mark.parametrize(
    ("method", "headers", "status"),
    [("GET", {}, 400), ("POST", BODY_HEADERS, 503), ("POST", BODY_HEADERS | {"Upgrade": "websocket"}, 503)],
    ids=["head", "body", "body of an upgrade"],
)
def test_sending_byte_by_byte_does_not_extend_the_timeout(
    api: Api, method: str, headers: dict[str, str], status: int
) -> None:
    start = request_head(f"{method} /api/chats HTTP/1.1", api.headers() | headers)
    with connect(api) as client:
        client.sendall(start if headers else start[:-2])

        def has_response() -> bool:
            client.sendall(b"x")
            return bool(select([client], [], [], 0)[0])

        wait_until(has_response)
        response = client.recv(4096)
        assert response.startswith(f"HTTP/1.1 {status}".encode())
        assert (b"Retry-After: 1\r\n" in response) == (status == 503)
        wait_until(lambda: not is_connected(api, client))


@pytest.mark.parametrize("sent_next", ["another request", "half a head"])
def test_client_that_does_not_read_is_disconnected(api: Api, page_request: bytes, sent_next: str) -> None:
    port = int(api.environment["METRICS_PORT"])
    with connect(api) as client:
        client.sendall(page_request + (page_request if sent_next == "another request" else page_request[:20]))
        assert client.recv(12) == b"HTTP/1.1 200"
        wait_until(lambda: scrape(port, "parley_database_connections", server="primary", state="used") == 0)
        wait_until(lambda: not is_connected(api, client))


def test_slowest_of_the_clients_with_unread_responses_is_disconnected(api: Api, page_request: bytes) -> None:
    with connect(api) as slowest, connect(api) as second, connect(api) as third:
        for client in (slowest, second, third):
            wait_until(lambda: is_connected(api, slowest))
            client.sendall(page_request)
            assert client.recv(12) == b"HTTP/1.1 200"
        wait_until(lambda: not is_connected(api, slowest))
        assert is_connected(api, second)
        assert is_connected(api, third)


@pytest.mark.parametrize("is_read", [True, False], ids=["has read", "has closed"])
def test_finished_clients_do_not_count_as_unread(api: Api, page_request: bytes, is_read: bool) -> None:
    with connect(api) as slow, ExitStack() as stack:
        slow.sendall(page_request)
        assert slow.recv(12) == b"HTTP/1.1 200"
        for _ in range(3):
            client = stack.enter_context(connect(api))
            address = client.getsockname()
            client.sendall(page_request)
            remaining = PAGE_SIZE * len(CONTENT) if is_read else 1
            while remaining > 0:
                remaining -= len(client.recv(1_000_000))
            if not is_read:
                client.close()
                wait_until(lambda gone=address: gone not in list_peers(api))  # type: ignore[misc]
        assert is_connected(api, slow)
