"""Clients that send or read slowly: they hold no connection to PostgreSQL, and are cut off after a while."""

import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from select import select

import psutil
import psycopg
import pytest

from api.dev.postgres import Postgres
from api.dev.process import find_free_port
from tests.api.support import head
from tests.support import Api, call, new_chat, new_user, running, scraped, token, wait_until

# The API, with less patience.
IMPATIENT = """
from api import __main__, app
from api.http import protocol
app.TIMEOUTS.update(REQUEST_TIMEOUT=0.2, RESPONSE_TIMEOUT=1)
protocol.LAST_SECONDS = 0.5
protocol.MAX_UNREAD = 8_000_000
__main__.main()
"""
PAGE = 100
CONTENT = "x" * 32_768
BODY = {"Content-Type": "application/json", "Content-Length": "99999"}


@pytest.fixture(scope="module")
def impatient(new_api: Callable[..., Api], shared_database: str) -> Iterator[Api]:
    api = new_api(shared_database, METRICS_PORT=str(find_free_port()), RATE_LIMIT_REQUESTS="1000")
    api.command[-2:] = ["-c", IMPATIENT]
    with running(api):
        yield api
    assert '"level": "error"' not in api.log.read_text()


@pytest.fixture(scope="module")
def page(postgres: Postgres, shared_database: str) -> bytes:
    """A request for a page of 3 MB."""
    user = new_user()
    with psycopg.connect(postgres.url(shared_database), autocommit=True) as dba:
        chat = new_chat(dba, user)
        for _ in range(PAGE):
            call(dba, user, "send_message", chat, {"content": CONTENT})
    authorization = {"Authorization": f"Bearer {token(user)}"}
    return head(f"GET /api/chats/{chat}/messages?limit={PAGE} HTTP/1.1", authorization)


def connect(api: Api) -> socket.socket:
    """A connection that takes little before it is read from."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.settimeout(20)
    connection.connect(("127.0.0.1", api.port))
    return connection


def peers_of(api: Api) -> list[tuple[str, int]]:
    assert api.child is not None
    return [each.raddr for each in psutil.Process(api.child.pid).net_connections("tcp")]


def has(api: Api, connection: socket.socket) -> bool:
    """Whether the API still has it."""
    return connection.getsockname() in peers_of(api)


@pytest.mark.parametrize(
    ("method", "headers", "status"),
    [("GET", {}, 400), ("POST", BODY, 503), ("POST", BODY | {"Upgrade": "websocket"}, 503)],
    ids=["head", "body", "body of an upgrade"],
)
def test_who_sends_bit_by_bit_has_no_more_time(
    impatient: Api, method: str, headers: dict[str, str], status: int
) -> None:
    begun = head(f"{method} /api/chats HTTP/1.1", impatient.headers() | headers)
    with connect(impatient) as client:
        client.sendall(begun if headers else begun[:-2])

        def is_answered() -> bool:
            client.sendall(b"x")
            return bool(select([client], [], [], 0)[0])

        wait_until(is_answered)
        answer = client.recv(4096)
        assert answer.startswith(f"HTTP/1.1 {status}".encode())
        assert (b"Retry-After: 1\r\n" in answer) == (status == 503)
        wait_until(lambda: not has(impatient, client))


@pytest.mark.parametrize("more", ["another request", "half a head"])
def test_who_does_not_read_is_cut_off(impatient: Api, page: bytes, more: str) -> None:
    port = int(impatient.environment["METRICS_PORT"])
    with connect(impatient) as client:
        client.sendall(page + (page if more == "another request" else page[:20]))
        assert client.recv(12) == b"HTTP/1.1 200"
        wait_until(lambda: scraped(port, "parley_database_connections", server="primary", state="used") == 0)
        wait_until(lambda: not has(impatient, client))


def test_of_those_who_leave_too_much_unread_the_slowest_is_cut_off(impatient: Api, page: bytes) -> None:
    with connect(impatient) as slowest, connect(impatient) as second, connect(impatient) as third:
        for client in (slowest, second, third):
            wait_until(lambda: has(impatient, slowest))
            client.sendall(page)
            assert client.recv(12) == b"HTTP/1.1 200"
        wait_until(lambda: not has(impatient, slowest))
        assert has(impatient, second)
        assert has(impatient, third)


@pytest.mark.parametrize("reads", [True, False], ids=["has read", "is gone"])
def test_who_is_done_leaves_nothing_unread(impatient: Api, page: bytes, reads: bool) -> None:
    with connect(impatient) as slow, ExitStack() as stack:
        slow.sendall(page)
        assert slow.recv(12) == b"HTTP/1.1 200"
        for _ in range(3):
            client = stack.enter_context(connect(impatient))
            address = client.getsockname()
            client.sendall(page)
            left = PAGE * len(CONTENT) if reads else 1
            while left > 0:
                left -= len(client.recv(1_000_000))
            if not reads:
                client.close()
                wait_until(lambda gone=address: gone not in peers_of(impatient))  # type: ignore[misc]
        assert has(impatient, slow)
