"""Requests that wait for locks of PostgreSQL, and how many of them wait for a turn or hold a connection."""

import socket
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import httpx
import psycopg

from tests.api.support import head, unlimited
from tests.support import Api, scraped

CONNECTIONS, OF_ONE_USER, WRITES = 10, 5, 8
LOCKED = "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"


def metric(api: Api, name: str, **labels: str) -> float:
    return scraped(int(api.environment["METRICS_PORT"]), name, **labels)


def used(api: Api) -> float:
    return metric(api, "parley_database_connections", server="primary", state="used")


def waiting(api: Api) -> float:
    """In line for a turn."""
    return metric(api, "parley_admission_waiting_requests")


@contextmanager
def held(url: str, statement: str, *parameters: Any) -> Iterator[Callable[[], int]]:
    """Holds the locks of a statement; what it gives tells how many statements wait for a lock."""
    with psycopg.connect(url) as locker, psycopg.connect(url, autocommit=True) as watcher:
        locker.execute(statement, parameters)

        def count() -> int:
            row = watcher.execute(LOCKED).fetchone()
            assert row
            return int(row[0])

        yield count
        locker.rollback()


def locked(url: str, *chats: str) -> AbstractContextManager[Callable[[], int]]:
    """Holds the rows of chats."""
    return held(url, "select from parley.chats where id = any (%s::uuid[]) for update", list(chats))


def locked_members(url: str) -> AbstractContextManager[Callable[[], int]]:
    """Holds a table that every request for chats, of one or all, needs."""
    return held(url, "lock table parley.members in access exclusive mode")


@contextmanager
def signed_in(api: Api, user: str | None = None) -> Iterator[httpx.Client]:
    """A client of a user whom no statement that waits has to add first."""
    with unlimited(api, user) as client:
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


def asking(api: Api, user: str, path: str) -> socket.socket:
    """A connection on which a user asks for something."""
    connection = socket.create_connection(("127.0.0.1", api.port), timeout=20)
    connection.sendall(head(f"GET {path} HTTP/1.1", api.headers(user)))
    return connection


def statuses(futures: list[Future[httpx.Response]]) -> list[int]:
    return [future.result().status_code for future in futures]
