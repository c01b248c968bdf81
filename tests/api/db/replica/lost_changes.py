"""A primary whose last changes its replicas lack, and the promotion of these replicas."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from api.dev.postgres import Postgres
from tests.api.db.replica.cluster import QUICK, fetch_one
from tests.database import Connection, call, new_chat
from tests.servers import new_replica
from tests.tokens import new_user
from tests.waiting import wait_until

COMMON_SEQ = 4  # the last seq of a chat that the replica has received
SEEN_SEQ = 7  # the last seq that a client has seen


@contextmanager
def connect(server: Postgres) -> Iterator[Connection]:
    """Connect to a server's database as a superuser."""
    with psycopg.connect(server.url("parley"), autocommit=True) as connection:
        yield connection


@contextmanager
def disconnected_replica(directory: Path, primary: Postgres) -> Iterator[Postgres]:
    """Start a replica that has all changes of the primary so far, and receives no later ones."""
    with new_replica(directory, primary, **QUICK) as replica:
        position = fetch_one(primary.url("postgres"), "select pg_logical_emit_message(true, 'parley', '')::text")
        wait_until(
            lambda: fetch_one(replica.url("postgres"), "select pg_last_wal_replay_lsn() >= %s::pg_lsn", position)
        )
        with psycopg.connect(replica.url("postgres"), autocommit=True) as dba:
            dba.execute("alter system set primary_conninfo = ''")
            dba.execute("select pg_reload_conf()")
            wait_until(lambda: dba.execute("select from pg_stat_wal_receiver").rowcount == 0)
        yield replica


def promote(replica: Postgres) -> None:
    """Make the replica a primary, on a timeline of its own."""
    assert fetch_one(replica.url("postgres"), "select pg_promote()")


@dataclass(frozen=True)
class LostChat:
    """A chat whose last changes the promoted replica lacks."""

    id: str
    owner: str
    member: str

    @classmethod
    def create(cls, dba: Connection) -> "LostChat":
        """Create a chat with COMMON_SEQ changes: two members, and two messages."""
        owner, member = new_user("owner"), new_user("member")
        chat = cls(new_chat(dba, owner, member), owner, member)
        chat.send(dba, COMMON_SEQ - 2)
        return chat

    def send(self, dba: Connection, count: int) -> None:
        """Send messages."""
        for _ in range(count):
            call(dba, self.owner, "send_message", self.id, {"content": "hello"})

    def list_events(self, dba: Connection, after: int, **options: str) -> Any:
        """Return the chat's events after a seq."""
        return call(dba, self.owner, "list_chat_events", self.id, after=str(after), **options)

    def seqs(self, dba: Connection, after: int = 0) -> list[int]:
        """Return the seqs of the events after a seq."""
        return [event["seq"] for event in self.list_events(dba, after)["events"]]

    def first_message(self, dba: Connection) -> str:
        """Return the id of the oldest message."""
        row = dba.execute("select id from parley.messages where chat_id = %s order by id limit 1", [self.id]).fetchone()
        assert row
        return str(row[0])
