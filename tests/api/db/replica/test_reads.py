"""Reads from a replica: a client never misses its own writes, and sees those of others within the maximum lag."""

from functools import partial

import psycopg
import pytest

from api.dev.process import find_free_port
from tests.api.db.replica.cluster import (
    MAX_LAG,
    NO_CACHE,
    NOT_USED,
    Cluster,
    chatting,
    fetch_one,
    new_chat,
    replica_log,
    uses_replica,
)
from tests.api.outages import suspended
from tests.api.support import unlimited_client
from tests.api_process import Api, running, scrape
from tests.database import add_session
from tests.tokens import new_user
from tests.waiting import wait_until

READ = "select count(*) from pg_stat_activity where usename = 'app' and query like '% api.list_messages(%'"


def test_replica_serves_reads(cluster: Cluster, api: Api) -> None:
    with chatting(cluster, api) as (chat, _, member):
        wait_until(lambda: chat.contents(member) == ["before"] and cluster.on_replica(READ) > 0)


def test_replica_serves_reads_if_serializable_is_the_default(cluster: Cluster) -> None:
    """A hot standby rejects SERIALIZABLE transactions."""
    alter = "alter role app in database parley {} default_transaction_isolation"
    level = "show default_transaction_isolation"
    replica_url = cluster.replica.url("parley", "app", "app")
    with psycopg.connect(cluster.primary.url("parley"), autocommit=True) as dba:
        dba.execute(f"{alter.format('set')} = 'serializable'")
        try:
            wait_until(lambda: fetch_one(replica_url, level) == "serializable")
            with running(cluster.new_api()) as api:
                wait_until(lambda: uses_replica(api))
        finally:
            dba.execute(alter.format("reset"))


@pytest.mark.parametrize("kind", ["JWT", "database session"])
def test_own_writes_are_visible_at_once_and_others_within_the_maximum_lag(
    cluster: Cluster, api: Api, other_api: Api, kind: str
) -> None:
    headers = {}
    if kind == "database session":
        with psycopg.connect(cluster.primary.url("parley"), autocommit=True) as dba:
            headers = {"Authorization": f"Bearer {add_session(dba, new_user())}"}
    with chatting(cluster, api, other_api, headers=headers) as (chat, owner, owner_there, member, member_there):
        with cluster.paused():
            chat.send(owner, "after")
            for client in (owner, owner_there):
                assert chat.contents(client) == ["after", "before"]
            for client in (member, member_there):
                assert chat.contents(client) == ["before"]
                assert chat.contents(client, **NO_CACHE) == ["after", "before"]
            wait_until(lambda: chat.contents(member) == ["after", "before"], 2 * MAX_LAG)
            wait_until(lambda: chat.contents(member_there) == ["after", "before"], MAX_LAG)
            wait_until(lambda: replica_log(api)[-1] == f"{NOT_USED}the replica is more than 2 s behind")
        wait_until(lambda: uses_replica(api))


def test_objects_that_the_replica_does_not_have_yet_are_found(cluster: Cluster, api: Api) -> None:
    with cluster.paused(), unlimited_client(api) as owner, unlimited_client(api) as member:
        assert member.get("/api/settings").status_code == 200
        chat = new_chat(owner, member)
        assert chat.contents(member) == ["before"]
        count = "select count(*) from parley.settings where user_id = %s"
        assert (cluster.on_primary(count, chat.member), cluster.on_replica(count, chat.member)) == (1, 0)


def test_events_are_served_by_the_primary(cluster: Cluster, api: Api) -> None:
    with chatting(cluster, api) as (chat, owner, member):
        events = chat.path.replace("messages", "events")
        seq, cursor = member.get(chat.path).headers["x-chat-seq"], member.get("/api/events").json()["next"]
        with cluster.paused():
            chat.send(owner, "after")
            assert chat.contents(member) == ["before"]
            for path, after in ((events, seq), ("/api/events", cursor)):
                (event,) = member.get(path, params={"after": after}).json()["events"]
                assert event["data"]["content"] == "after"


def test_repeat_gets_the_first_response_and_is_visible_at_once(cluster: Cluster, api: Api, other_api: Api) -> None:
    with chatting(cluster, api, other_api) as (chat, owner, owner_there, *_), cluster.paused():
        key = {"Idempotency-Key": new_user("key")}
        sent, again = (c.post(chat.path, json={"content": "after"}, headers=key) for c in (owner, owner_there))
        assert (again.status_code, again.content) == (201, sent.content)
        assert again.headers["idempotency-replayed"] == "true"
        assert chat.contents(owner_there) == ["after", "before"]


def test_etags_are_the_same_on_the_replica_and_the_primary(cluster: Cluster, api: Api) -> None:
    with chatting(cluster, api) as (chat, owner, member):

        def conditional_get(etag: str = "", **headers: str) -> tuple[int, str, bool]:
            """Return the status and the ETag of a conditional GET, and whether the replica served it."""
            response = member.get(chat.path, headers={"If-None-Match": etag} | headers)
            return response.status_code, response.headers["etag"], "replica;" in response.headers["server-timing"]

        _, before, _ = conditional_get(**NO_CACHE)
        with cluster.paused():
            assert conditional_get() == (200, before, True)
            assert conditional_get(before) == (304, before, True)
            chat.send(owner, "after")
            assert conditional_get(before) == (304, before, True)
            status, after, _ = conditional_get(before, **NO_CACHE)
            assert (status, after != before) == (200, True)
            assert member.get(chat.path, headers={"If-Match": after}).headers["etag"] == after


def test_removed_member_cannot_authorize_a_channel(cluster: Cluster, api: Api) -> None:
    with chatting(cluster, api) as (chat, owner, member):
        path = chat.path.removesuffix("/messages")
        form = {"socket_id": "1.2", "channel_name": f"private-chat-{path.split('/')[3]}"}
        assert member.post("/api/pusher/auth", data=form).status_code == 200
        with cluster.paused():
            assert owner.delete(f"{path}/members/{chat.member}").status_code == 204
            assert chat.contents(member) == ["before"]  # the replica has the member
            assert member.post("/api/pusher/auth", data=form).status_code == 403
            assert chat.contents(member) == ["before"]  # and still serves reads


def test_reads_from_the_replica_are_reported_and_measured(cluster: Cluster) -> None:
    port = find_free_port()
    read = partial(scrape, port)
    with running(cluster.new_api(METRICS_PORT=str(port))) as api, unlimited_client(api) as client:
        wait_until(lambda: uses_replica(api))
        assert read("parley_replica_in_use") == 1
        primary = client.get("/api/chats")  # the primary creates the new user
        assert "db;dur=" in primary.headers["server-timing"]
        wait_until(
            lambda: (
                ", replica;dur=" in (timing := client.get("/api/chats").headers["server-timing"])
                and "db;" not in timing
            )
        )
        assert read("parley_database_statement_duration_seconds_count", server="replica") >= 1
        assert read("parley_database_connections", server="replica", state="max") == 10
        assert read("parley_database_connections", server="replica", state="open") >= 1
        with suspended(cluster.replica):
            wait_until(lambda: read("parley_replica_in_use") == 0)
            assert read("parley_database_connections", server="replica") == 0
        wait_until(lambda: read("parley_replica_in_use") == 1)
