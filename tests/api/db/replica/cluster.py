"""A primary, its replica and a Redis, with APIs that use them, and a chat whose content shows which server responded.

Stale reads are shown with a replica whose replay is paused: clients that it serves do not see later changes.
"""

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psycopg
import redis

from api.dev.postgres import Postgres
from api.dev.valkey import Valkey
from tests.api.support import unlimited_client
from tests.api_process import Api, read_log
from tests.conftest import QUICK as QUICK_PRIMARY
from tests.tokens import new_user
from tests.waiting import wait_until

MAX_LAG = 2.0  # seconds; DATABASE_REPLICA_MAX_LAG of the APIs
# By default, commits that are not flushed, as here, may reach the replica 0.4 s later.
QUICK = {**QUICK_PRIMARY, "wal_retrieve_retry_interval": "100ms", "wal_writer_delay": "10ms"}
USED = "The replica serves reads"
NOT_USED = "The replica is not used: "
NO_CACHE = {"Cache-Control": "no-cache"}


@dataclass
class Cluster:
    """A primary, its replica, and a Redis."""

    directory: Path
    primary: Postgres
    replica: Postgres
    valkey: Valkey

    def new_api(self, **options: str) -> Api:
        """Return another API on all three, not yet started."""
        settings = {
            "DATABASE_REPLICA_URL": self.replica.url("parley", "app", "app"),
            "DATABASE_REPLICA_MAX_LAG": str(MAX_LAG),
            "PUSHER_KEY": "key",
            "PUSHER_SECRET": "secret",
        }
        url = self.primary.url("parley", "app", "app")
        return Api(self.directory, url, self.valkey.url(), **settings | options)

    def on_primary(self, statement: str, *arguments: Any) -> Any:
        """Run a statement on the primary as a superuser, and return its one value."""
        return fetch_one(self.primary.url("parley"), statement, *arguments)

    def on_replica(self, statement: str, *arguments: Any) -> Any:
        """Run a statement on the replica as a superuser, and return its one value."""
        return fetch_one(self.replica.url("parley"), statement, *arguments)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Pause the replica's replay for the duration of a block."""
        self.on_replica("select pg_wal_replay_pause()")
        try:
            wait_until(lambda: self.on_replica("select pg_get_wal_replay_pause_state()") == "paused")
            yield
        finally:
            self.on_replica("select pg_wal_replay_resume()")


def fetch_one(url: str, statement: str, *arguments: Any) -> Any:
    with psycopg.connect(url, autocommit=True) as connection:
        row = connection.execute(statement, arguments or None).fetchone()
    assert row is not None
    return row[0]


def replica_log(api: Api) -> list[str]:
    """Return what the API has logged about the replica."""
    return [line["event"] for line in read_log(api.log) if line["event"].startswith("The replica ")]


def uses_replica(api: Api) -> bool:
    return replica_log(api)[-1:] == [USED]


@dataclass
class Chat:
    """A chat of an owner and a member who has written nothing."""

    path: str
    member: str

    def contents(self, client: httpx.Client, **headers: str) -> list[str]:
        """Return the messages that a client sees."""
        response = client.get(self.path, headers=headers)
        assert response.status_code == 200, response.text
        return [message["content"] for message in response.json()["messages"]]

    def send(self, client: httpx.Client, content: str) -> float:
        """Send a message; return how many seconds that took."""
        started_at = time.monotonic()
        assert client.post(self.path, json={"content": content}).status_code == 201
        return time.monotonic() - started_at


def new_chat(owner: httpx.Client, member: httpx.Client) -> Chat:
    name = member.get("/api/profile").json()["user"]["id"]
    chat_id = owner.post("/api/chats", json={"title": "Plans"}).json()["id"]
    assert owner.post(f"/api/chats/{chat_id}/members", json={"userId": name}).status_code == 201
    chat = Chat(f"/api/chats/{chat_id}/messages", name)
    chat.send(owner, "before")
    return chat


@contextmanager
def chatting(cluster: Cluster, *apis: Api, headers: dict[str, str] | None = None) -> Iterator[tuple[Any, ...]]:
    """Yield a chat that the replica has, a client of its owner at each API, and one of its member at each API."""
    owner, member = new_user("owner"), new_user("member")
    with ExitStack() as stack:
        owners = [stack.enter_context(unlimited_client(api, owner, **headers or {})) for api in apis]
        members = [stack.enter_context(unlimited_client(api, member)) for api in apis]
        chat = new_chat(owners[0], members[0])
        count = "select count(*) from parley.messages where chat_id = %s"
        wait_until(lambda: cluster.on_replica(count, chat.path.split("/")[3]) == 1)
        yield chat, *owners, *members


@contextmanager
def persisted(valkey: Valkey) -> Iterator[redis.Redis]:
    """Save a snapshot, from which Valkey restores its data whenever it starts during a block; yield a client."""
    with redis.Redis.from_url(valkey.url()) as client:
        client.save()
        try:
            yield client
        finally:
            (valkey.directory / "dump.rdb").unlink()
