"""Requests that wait for locks in PostgreSQL, and how many of them are queued or hold a connection."""

import socket
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import httpx
import psycopg

from tests.api.support import request_head, unlimited_client
from tests.api_process import Api, scrape

CONNECTIONS, MAX_OF_USER, MAX_WRITES = 10, 5, 8
LOCKED = "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"


def metric(api: Api, name: str, **labels: str) -> float:
    return scrape(int(api.environment["METRICS_PORT"]), name, **labels)


def used_connections(api: Api) -> float:
    return metric(api, "parley_database_connections", server="primary", state="used")


def queued_requests(api: Api) -> float:
    """Return the number of requests in the queues."""
    return metric(api, "parley_admission_waiting_requests")


@contextmanager
def hold_locks(url: str, statement: str, *parameters: Any) -> Iterator[Callable[[], int]]:
    """Hold the locks of a statement; yield a function that counts the statements waiting for a lock."""
    with psycopg.connect(url) as locker, psycopg.connect(url, autocommit=True) as watcher:
        locker.execute(statement, parameters)

        def count() -> int:
            row = watcher.execute(LOCKED).fetchone()
            assert row
            return int(row[0])

        yield count
        locker.rollback()


def lock_chats(url: str, *chats: str) -> AbstractContextManager[Callable[[], int]]:
    """Lock the rows of chats."""
    return hold_locks(url, "select from parley.chats where id = any (%s::uuid[]) for update", list(chats))


def lock_members(url: str) -> AbstractContextManager[Callable[[], int]]:
    """Lock a table that every request for chats needs."""
    return hold_locks(url, "lock table parley.members in access exclusive mode")


@contextmanager
def signed_in(api: Api, user: str | None = None) -> Iterator[httpx.Client]:
    """Yield a client of an existing user, so that no waiting statement has to create the user."""
    with unlimited_client(api, user) as client:
        client.get("/api/profile").raise_for_status()
        yield client


def new_chat(owner: httpx.Client, *members: httpx.Client) -> str:
    chat: str = owner.post("/api/chats", json={"title": "A chat"}).raise_for_status().json()["id"]
    for member in members:
        user = member.get("/api/profile").raise_for_status().json()["user"]["id"]
        owner.post(f"/api/chats/{chat}/members", json={"userId": user}).raise_for_status()
    return chat


def send(client: httpx.Client, chat: str, content: str = "x") -> httpx.Response:
    return client.post(f"/api/chats/{chat}/messages", json={"content": content})


def send_get(api: Api, user: str, path: str) -> socket.socket:
    """Open a connection on which a user requests a path."""
    connection = socket.create_connection(("127.0.0.1", api.port), timeout=20)
    connection.sendall(request_head(f"GET {path} HTTP/1.1", api.headers(user)))
    return connection


def statuses(futures: list[Future[httpx.Response]]) -> list[int]:
    return [future.result().status_code for future in futures]
