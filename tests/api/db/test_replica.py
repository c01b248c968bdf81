"""Reads from a replica: a client never misses its own change, and no request fails for the replica's sake.

What is stale is shown with a replica whose replay is paused: whoever it answers does not see what was changed since.
"""

import asyncio
import json
import re
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from hashlib import sha256
from pathlib import Path
from threading import Event
from typing import Any

import httpx
import psutil
import psycopg
import pytest
import redis

from api.db.pool import CLOSE_SECONDS, END_SECONDS, Database
from api.db.recent_writes import EPOCH, Marks, names
from api.db.replica import LOOKS, POSITION, REPLICA_SECONDS, Position, Replica, Standby, WrongServerError
from api.dev.postgres import Postgres
from api.dev.process import Server, find_free_port
from api.dev.valkey import Valkey
from api.ratelimit.limiter import REDIS_SECONDS
from api.routes import ROUTES, Route
from api.settings import Settings
from tests.api.support import unlimited, user_of
from tests.api.test_routes import name_of, new_world
from tests.conftest import QUICK as QUICK_PRIMARY
from tests.support import (
    Api,
    add_session,
    logged,
    migrate,
    new_postgres,
    new_replica,
    new_user,
    running,
    scraped,
    wait_until,
)

WINDOW = 2.0
# By default what is committed without being flushed, as it is here, may be on its way to the replica for 0.4 s.
QUICK = {**QUICK_PRIMARY, "wal_retrieve_retry_interval": "100ms", "wal_writer_delay": "10ms"}
USED = "The replica answers reads"
NOT_USED = "The replica is not used: "
FRESH = {"Cache-Control": "no-cache"}
READ = "select count(*) from pg_stat_activity where usename = 'app' and query like 'select api.list_messages%'"


@dataclass
class Stage:
    """A primary, its replica, and a Redis; two APIs on all three."""

    directory: Path
    primary: Postgres
    replica: Postgres
    valkey: Valkey

    def new_api(self, **options: str) -> Api:
        """A further API, not yet started."""
        settings = {
            "DATABASE_REPLICA_URL": self.replica.url("parley", "app", "app"),
            "DATABASE_REPLICA_WINDOW": str(WINDOW),
            "PUSHER_KEY": "key",
            "PUSHER_SECRET": "secret",
        }
        url = self.primary.url("parley", "app", "app")
        return Api(self.directory, url, self.valkey.url(), **settings | options)

    def on_primary(self, statement: str, *arguments: Any) -> Any:
        """The one value that a statement answers to a superuser."""
        return only_value(self.primary.url("parley"), statement, *arguments)

    def on_replica(self, statement: str, *arguments: Any) -> Any:
        """The same on the replica."""
        return only_value(self.replica.url("parley"), statement, *arguments)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """The replica replays nothing meanwhile."""
        self.on_replica("select pg_wal_replay_pause()")
        try:
            wait_until(lambda: self.on_replica("select pg_get_wal_replay_pause_state()") == "paused")
            yield
        finally:
            self.on_replica("select pg_wal_replay_resume()")


def only_value(url: str, statement: str, *arguments: Any) -> Any:
    with psycopg.connect(url, autocommit=True) as connection:
        row = connection.execute(statement, arguments or None).fetchone()
    assert row is not None
    return row[0]


@pytest.fixture(scope="module")
def stage(directory: Path) -> Iterator[Stage]:
    with (
        new_postgres(directory / "primary", **QUICK) as primary,
        Valkey(directory / "valkey-marks") as valkey,
    ):
        migrate(primary)
        with new_replica(directory / "replica", primary, **QUICK) as replica:
            yield Stage(directory, primary, replica, valkey)


@pytest.fixture(scope="module")
def apis(stage: Stage) -> Iterator[tuple[Api, Api]]:
    with running(stage.new_api()) as one, running(stage.new_api()) as other:
        yield one, other


@pytest.fixture
def api(apis: tuple[Api, Api]) -> Api:
    """One of the two, both of which use the replica now."""
    wait_until(lambda: all(map(uses_replica, apis)))
    return apis[0]


@pytest.fixture
def other(apis: tuple[Api, Api]) -> Api:
    return apis[1]


def told(api: Api) -> list[str]:
    """What the log says of the replica, so far."""
    return [line["event"] for line in logged(api.log) if line["event"].startswith("The replica ")]


def uses_replica(api: Api) -> bool:
    return told(api)[-1:] == [USED]


@dataclass
class Chat:
    """A chat of an owner and a member; the member has changed nothing."""

    path: str
    member: str

    def contents(self, client: httpx.Client, **headers: str) -> list[str]:
        """What a client sees there."""
        response = client.get(self.path, headers=headers)
        assert response.status_code == 200, response.text
        return [message["content"] for message in response.json()["messages"]]

    def send(self, client: httpx.Client, content: str) -> float:
        """Sends a message; answers the seconds that it took."""
        begin = time.monotonic()
        assert client.post(self.path, json={"content": content}).status_code == 201
        return time.monotonic() - begin


def new_chat(owner: httpx.Client, member: httpx.Client) -> Chat:
    name = member.get("/api/profile").json()["user"]["id"]
    chat = owner.post("/api/chats", json={"title": "Plans"}).json()["id"]
    assert owner.post(f"/api/chats/{chat}/members", json={"userId": name}).status_code == 201
    made = Chat(f"/api/chats/{chat}/messages", name)
    made.send(owner, "before")
    return made


@contextmanager
def chatting(stage: Stage, *apis: Api, headers: dict[str, str] | None = None) -> Iterator[tuple[Any, ...]]:
    """A chat that the replica has; a client of its owner at each API, then one of its member at each."""
    owner, member = new_user("owner"), new_user("member")
    with ExitStack() as stack:
        owners = [stack.enter_context(unlimited(api, owner, **headers or {})) for api in apis]
        members = [stack.enter_context(unlimited(api, member)) for api in apis]
        chat = new_chat(owners[0], members[0])
        count = "select count(*) from parley.messages where chat_id = %s"
        wait_until(lambda: stage.on_replica(count, chat.path.split("/")[3]) == 1)
        yield chat, *owners, *members


@contextmanager
def hanging(server: Server) -> Iterator[None]:
    assert server.child is not None
    leader = psutil.Process(server.child.pid)
    leader.suspend()  # first: from then on none of its children begins, or is gone altogether
    processes = leader.children(recursive=True)
    for process in processes:
        process.suspend()
    try:
        yield
    finally:
        for process in (leader, *processes):
            with suppress(psutil.NoSuchProcess):  # a backend ends as soon as the first ones go on
                process.resume()


@contextmanager
def killed(server: Server) -> Iterator[None]:
    server.kill()
    try:
        yield
    finally:
        server.start()


def test_the_replica_answers_reads(stage: Stage, api: Api) -> None:
    with chatting(stage, api) as (chat, _, member):
        wait_until(lambda: chat.contents(member) == ["before"] and stage.on_replica(READ) > 0)


@pytest.mark.parametrize("kind", ["JWT", "database session"])
def test_own_changes_are_seen_at_once_and_others_within_the_window(
    stage: Stage, api: Api, other: Api, kind: str
) -> None:
    headers = {}
    if kind == "database session":
        with psycopg.connect(stage.primary.url("parley"), autocommit=True) as dba:
            headers = {"Authorization": f"Bearer {add_session(dba, new_user())}"}
    with chatting(stage, api, other, headers=headers) as (chat, owner, owner_there, member, member_there):
        with stage.paused():
            chat.send(owner, "after")
            for client in (owner, owner_there):
                assert chat.contents(client) == ["after", "before"]
            for client in (member, member_there):
                assert chat.contents(client) == ["before"]
                assert chat.contents(client, **FRESH) == ["after", "before"]
            wait_until(lambda: chat.contents(member) == ["after", "before"], 2 * WINDOW)
            wait_until(lambda: chat.contents(member_there) == ["after", "before"], WINDOW)
            wait_until(lambda: told(api)[-1] == f"{NOT_USED}it is more than 2 s behind")
        wait_until(lambda: uses_replica(api))


def test_what_the_replica_does_not_have_yet_is_found(stage: Stage, api: Api) -> None:
    with stage.paused(), unlimited(api) as owner, unlimited(api) as member:
        assert member.get("/api/settings").status_code == 200
        chat = new_chat(owner, member)
        assert chat.contents(member) == ["before"]
        lately = "select count(*) from parley.settings where user_id = %s"
        assert (stage.on_primary(lately, chat.member), stage.on_replica(lately, chat.member)) == (1, 0)


def test_what_happened_is_told_by_the_primary(stage: Stage, api: Api) -> None:
    with chatting(stage, api) as (chat, owner, member):
        events = chat.path.replace("messages", "events")
        seq, cursor = member.get(chat.path).headers["x-chat-seq"], member.get("/api/events").json()["next"]
        with stage.paused():
            chat.send(owner, "after")
            assert chat.contents(member) == ["before"]
            for path, after in ((events, seq), ("/api/events", cursor)):
                (event,) = member.get(path, params={"after": after}).json()["events"]
                assert event["data"]["content"] == "after"


def test_a_repeat_is_answered_as_the_first_was_and_seen_at_once(stage: Stage, api: Api, other: Api) -> None:
    with chatting(stage, api, other) as (chat, owner, owner_there, *_), stage.paused():
        key = {"Idempotency-Key": new_user("key")}
        sent, again = (c.post(chat.path, json={"content": "after"}, headers=key) for c in (owner, owner_there))
        assert (again.status_code, again.content) == (201, sent.content)
        assert again.headers["idempotency-replayed"] == "true"
        assert chat.contents(owner_there) == ["after", "before"]


def test_the_replica_tells_versions_as_the_primary_does(stage: Stage, api: Api) -> None:
    with chatting(stage, api) as (chat, owner, member):

        def asked(etag: str = "", **headers: str) -> tuple[int, str, bool]:
            """What is answered to who has a version; which one it is then; and whether the replica says so."""
            answer = member.get(chat.path, headers={"If-None-Match": etag} | headers)
            return answer.status_code, answer.headers["etag"], "replica;" in answer.headers["server-timing"]

        _, before, _ = asked(**FRESH)
        with stage.paused():
            assert asked() == (200, before, True)
            assert asked(before) == (304, before, True)
            chat.send(owner, "after")
            assert asked(before) == (304, before, True)
            status, after, _ = asked(before, **FRESH)
            assert (status, after != before) == (200, True)
            assert member.get(chat.path, headers={"If-Match": after}).headers["etag"] == after


def test_who_was_removed_hears_nothing_more(stage: Stage, api: Api) -> None:
    with chatting(stage, api) as (chat, owner, member):
        path = chat.path.removesuffix("/messages")
        form = {"socket_id": "1.2", "channel_name": f"private-chat-{path.split('/')[3]}"}
        assert member.post("/api/pusher/auth", data=form).status_code == 200
        with stage.paused():
            assert owner.delete(f"{path}/members/{chat.member}").status_code == 204
            assert chat.contents(member) == ["before"]  # the replica has the member
            assert member.post("/api/pusher/auth", data=form).status_code == 403
            assert chat.contents(member) == ["before"]  # and still answers


@pytest.mark.parametrize("route", ROUTES, ids=name_of)
def test_who_changes_something_is_marked_without_a_secret(stage: Stage, api: Api, route: Route) -> None:
    with new_world(api) as world, redis.Redis.from_url(stage.valkey.url()) as client:
        (mark,) = names(json.dumps({"sub": world.ids["owner"]}))
        client.delete(mark)
        assert world.request(world.owner, route).status_code == route.status
        assert bool(client.exists(mark)) is not route.changes_nothing
        if not route.changes_nothing:
            assert WINDOW * 1000 < client.pttl(mark) <= 2 * WINDOW * 1000
        assert world.ids["owner"] not in str(client.keys("parley:*"))


def test_a_session_is_marked_by_a_digest_of_its_digest() -> None:
    digests = [sha256(token).hexdigest() for token in (b"one", b"other")]
    marks = names(json.dumps({"session_digests": digests}))
    assert len(set(marks)) == 2
    assert not any(digest in mark for digest in digests for mark in marks)


def test_a_change_that_took_longer_than_a_window_is_marked_anew(stage: Stage, api: Api) -> None:
    with (
        chatting(stage, api) as (chat, owner, _),
        redis.Redis.from_url(stage.valkey.url()) as client,
        psycopg.connect(stage.primary.url("parley")) as dba,
        ThreadPoolExecutor() as pool,
    ):
        (mark,) = names(json.dumps({"sub": owner.get("/api/profile").json()["user"]["id"]}))
        dba.execute("lock table parley.messages in exclusive mode")
        sent = pool.submit(chat.send, owner, "late")
        wait_until(lambda: client.pttl(mark) < WINDOW * 1000 * 0.9)
        dba.rollback()
        assert sent.result() > WINDOW
        assert client.pttl(mark) > WINDOW * 1000


def test_marks_that_redis_lost_are_missed(stage: Stage, api: Api) -> None:
    with chatting(stage, api) as (chat, owner, member), stage.paused():
        chat.send(owner, "after")
        assert chat.contents(member) == ["before"]
        with redis.Redis.from_url(stage.valkey.url()) as client:
            assert client.exists(EPOCH)
            client.flushall()
        assert chat.contents(owner) == ["after", "before"]
        wait_until(lambda: not uses_replica(api))
    with redis.Redis.from_url(stage.valkey.url()) as client:
        assert client.exists(EPOCH)


@contextmanager
def persisting(valkey: Valkey) -> Iterator[redis.Redis]:
    """A client of a Valkey that will be as it is now whenever it starts."""
    with redis.Redis.from_url(valkey.url()) as client:
        client.save()
        try:
            yield client
        finally:
            (valkey.directory / "dump.rdb").unlink()


def test_marks_that_a_restart_of_redis_took_back_are_missed(stage: Stage, api: Api, other: Api) -> None:
    with (
        persisting(stage.valkey) as client,
        chatting(stage, api, other) as (chat, owner, owner_there, member, member_there),
        stage.paused(),
    ):
        epoch = client.get(EPOCH)
        chat.send(owner, "after")
        assert chat.contents(member) == chat.contents(member_there) == ["before"]
        with killed(stage.valkey):
            pass
        for reader in (owner, owner_there):
            assert chat.contents(reader) == ["after", "before"]
        assert client.get(EPOCH) == epoch


class WithMarks:
    """Marks that live long, and are kept already: nothing looks after them but who calls _look()."""

    LIFE = 60.0

    def __init__(self, stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
        stage.new_api().lend_environment(monkeypatch)

    async def __aenter__(self) -> Marks:
        self._marks = Marks(Settings.load(), self.LIFE)
        await self._marks._look()
        self._marks._since -= self.LIFE
        assert self._marks.are_kept
        return self._marks

    async def __aexit__(self, *_: object) -> None:
        await self._marks.close()


@pytest.fixture
def with_marks(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> WithMarks:
    return WithMarks(stage, monkeypatch)


def test_one_mark_of_two_is_enough(with_marks: WithMarks) -> None:
    one, other, third = (sha256(new_user().encode()).hexdigest() for _ in range(3))

    async def ask() -> list[bool]:
        async with with_marks as marks:
            assert await marks.set(json.dumps({"session_digests": [one]}))
            pairs = ([one, other], [other, one], [other, third])
            return [await marks.are_missing(json.dumps({"session_digests": pair})) for pair in pairs]

    assert asyncio.run(ask()) == [False, False, True]


def test_nothing_is_missing_in_a_redis_that_was_started_anew(stage: Stage, with_marks: WithMarks) -> None:
    identity = json.dumps({"sub": new_user()})

    async def ask() -> bool:
        async with with_marks as marks:
            assert await marks.are_missing(identity)
            assert await marks.set(identity)
            with killed(stage.valkey):
                pass
            return await marks.are_missing(identity)

    with persisting(stage.valkey):
        assert not asyncio.run(ask())


def test_without_a_run_id_each_connection_may_be_to_another_redis(
    stage: Stage, with_marks: WithMarks, monkeypatch: pytest.MonkeyPatch
) -> None:
    identity, login = json.dumps({"sub": new_user()}), new_user("login")
    monkeypatch.setenv("REDIS_URL", re.sub("//.*@", f"//{login}:word@", stage.valkey.url()))

    async def ask() -> list[bool]:
        async with with_marks as marks:
            connected = await marks.are_missing(identity)
            await marks._redis.connection_pool.disconnect()
            return [connected, await marks.are_missing(identity)]

    with redis.Redis.from_url(stage.valkey.url()) as client:
        client.acl_setuser(login, enabled=True, passwords="+word", commands=["+@all", "-info"], keys="*")
        assert asyncio.run(ask()) == [True, False]


def test_nothing_is_missing_once_another_request_has_lost_redis(stage: Stage, with_marks: WithMarks) -> None:
    identity = json.dumps({"sub": new_user()})

    async def ask() -> bool:
        async with with_marks as marks:
            with redis.Redis.from_url(stage.valkey.url()) as client:
                client.delete(EPOCH)
            asked = asyncio.create_task(marks.are_missing(identity))
            asyncio.get_running_loop().call_soon(marks._lose)  # when it waits for Redis
            return await asked

    assert not asyncio.run(ask())


@pytest.mark.parametrize("out_of_order", [killed, hanging])
def test_while_redis_is_away_the_primary_answers(
    stage: Stage, api: Api, other: Api, out_of_order: Callable[[Server], Any]
) -> None:
    with chatting(stage, api, other) as (chat, owner, owner_there, member, _), out_of_order(stage.valkey):
        chat.send(owner, "after")
        assert chat.contents(owner_there) == ["after", "before"]
        assert chat.send(owner, "soon") < REDIS_SECONDS  # nobody waits for Redis again
        with stage.paused():
            # With neither, nobody knows when the others will read it, but that they do when the window is over.
            assert WINDOW <= chat.send(owner, "late") < 2 * WINDOW
            for client in (owner, owner_there, member):
                assert chat.contents(client) == ["late", "soon", "after", "before"]
        wait_until(lambda: told(api)[-1].startswith(f"{NOT_USED}Redis is away"))


def test_a_writer_that_is_cut_off_from_redis_waits_for_the_replica(stage: Stage, api: Api) -> None:
    cut_off = stage.new_api(REDIS_URL=f"redis://127.0.0.1:{find_free_port()}/0")
    with running(cut_off), chatting(stage, api, cut_off) as (chat, owner, owner_there, member, _):
        wait_until(partial(told, cut_off))
        assert chat.send(owner_there, "after") < WINDOW / 2
        assert chat.contents(owner) == ["after", "before"]
        with stage.paused():
            chat.send(owner, "marked")
            assert chat.contents(member) == ["after", "before"]  # this API does use the replica
            assert WINDOW <= chat.send(owner_there, "unmarked") < 2 * WINDOW
            assert chat.contents(owner)[0] == "unmarked"


def test_a_writer_waits_no_longer_than_redis_is_away(stage: Stage) -> None:
    window = 20.0
    with running(stage.new_api(DATABASE_REPLICA_WINDOW=str(window))) as api, unlimited(api) as client:
        wait_until(partial(told, api))
        with stage.paused(), ThreadPoolExecutor() as pool:
            with killed(stage.valkey):
                assert client.get("/api/chats").status_code == 200
                wait_until(lambda: "Redis is away" in api.log.read_text())
                posted = pool.submit(client.post, "/api/chats", json={"title": "Plans"})
                count = "select count(*) from parley.chats where owner_id = %s"
                wait_until(lambda: stage.on_primary(count, user_of(client, **FRESH)) == 1)
                assert not posted.done()
            assert posted.result(window / 2).status_code == 201


def test_writers_that_wait_for_redis_hold_no_turn(stage: Stage) -> None:
    options = {"DATABASE_REPLICA_WINDOW": "20", "DATABASE_POOL_SIZE": "1"}  # one write at a time
    with running(stage.new_api(**options)) as api, unlimited(api) as client:
        wait_until(partial(told, api))
        with stage.paused(), ThreadPoolExecutor() as pool:
            with killed(stage.valkey):
                user = user_of(client, **FRESH)
                wait_until(lambda: "Redis is away" in api.log.read_text())
                posted = [pool.submit(client.post, "/api/chats", json={"title": "Plans"}) for _ in range(3)]
                count = "select count(*) from parley.chats where owner_id = %s"
                wait_until(lambda: stage.on_primary(count, user) == 3)
                assert not any(future.done() for future in posted)
                assert client.get("/api/profile").status_code == 200
            assert [future.result(10).status_code for future in posted] == [201] * 3


def test_what_looks_after_a_replica_that_is_away_is_not_hurried(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    nowhere = f"127.0.0.1:{find_free_port()}"
    stage.new_api(DATABASE_REPLICA_WINDOW="1", REDIS_URL=f"redis://{nowhere}").lend_environment(monkeypatch)
    looks = 0

    class Counting(Database):
        async def call(self, statement: str, *arguments: Any) -> Any:
            nonlocal looks
            looks += 1
            return await super().call(statement, *arguments)

    async def change() -> None:
        settings = Settings.load()
        primary = await Counting.connect(settings)
        replica = Replica.open(settings, f"postgresql://app:app@{nowhere}/parley", primary)
        async with replica.changed_by(json.dumps({"sub": new_user()})):
            pass
        await replica.close()
        await primary.close()

    asyncio.run(change())
    assert 1 < looks <= 2 * LOOKS


@contextmanager
def delayed(stage: Stage, milliseconds: int) -> Iterator[None]:
    """The replica replays each commit so much later, of which there are many."""
    stop = Event()

    def commit() -> None:
        with psycopg.connect(stage.primary.url("parley"), autocommit=True) as dba:
            while not stop.is_set():
                dba.execute("select pg_logical_emit_message(true, 'parley', 'something')")

    def delay(value: str) -> None:
        with psycopg.connect(stage.replica.url("parley"), autocommit=True) as dba:
            dba.execute(f"alter system set recovery_min_apply_delay = {value}")
            dba.execute("select pg_reload_conf()")

    with ThreadPoolExecutor() as pool:
        delay(str(milliseconds))
        committing = pool.submit(commit)
        try:
            yield
        finally:
            stop.set()
            committing.result()
            delay("default")


def test_a_writer_waits_as_long_as_the_replica_is_behind(stage: Stage) -> None:
    with running(stage.new_api(REDIS_URL=f"redis://127.0.0.1:{find_free_port()}/0")) as api, unlimited(api) as owner:
        wait_until(partial(told, api))
        with delayed(stage, 800):
            begin = time.monotonic()
            assert owner.post("/api/chats", json={"title": "Plans"}).status_code == 201
            assert 0.7 < time.monotonic() - begin < WINDOW * 0.8


@pytest.mark.parametrize("out_of_order", [killed, hanging])
def test_no_request_fails_without_the_replica(stage: Stage, api: Api, out_of_order: Callable[[Postgres], Any]) -> None:
    with chatting(stage, api) as (chat, owner, member), ThreadPoolExecutor(4) as pool:
        wait_until(lambda: chat.contents(member) == ["before"])
        asked = [pool.submit(partial(chat.contents, client)) for client in (owner, member) * 50]
        with out_of_order(stage.replica):
            asked += [pool.submit(partial(chat.contents, client)) for client in (owner, member) * 50]
            assert {str(answer.result()) for answer in asked} == {"['before']"}
            wait_until(lambda: told(api)[-1].startswith(f"{NOT_USED}it is away"))
            begin = time.monotonic()
            assert chat.contents(member) == ["before"]
            assert time.monotonic() - begin < REPLICA_SECONDS
        wait_until(lambda: uses_replica(api), 30)
    assert "Traceback" not in api.log.read_text()


def test_a_cancelled_request_does_not_wait_for_a_server_that_hangs(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.new_api().lend_environment(monkeypatch)

    async def ask() -> float:
        database = await Database.connect(Settings.load(), stage.replica.url("parley", "app", "app"))
        with hanging(stage.replica):
            begin = time.monotonic()
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.1):
                    await database.call("select 1")
            seconds = time.monotonic() - begin
        assert await database.call("select 1") == 1
        await database.close()
        return seconds

    assert asyncio.run(ask()) < 0.1 + 1.5 * END_SECONDS


def test_an_api_stops_though_the_primary_hangs(stage: Stage) -> None:
    with running(stage.new_api()) as api, unlimited(api) as client, hanging(stage.primary):
        with pytest.raises(httpx.ReadTimeout):
            client.get("/api/chats", timeout=WINDOW)
        begin = time.monotonic()
        api.stop()
        # The pool is closed after what looks after the replica, and what looks after images.
        assert time.monotonic() - begin < CLOSE_SECONDS + 2 * END_SECONDS + 1


def test_what_the_replica_answers_is_told_and_measured(stage: Stage) -> None:
    port = find_free_port()
    read = partial(scraped, port)
    with running(stage.new_api(METRICS_PORT=str(port))) as api, unlimited(api) as client:
        wait_until(lambda: uses_replica(api))
        assert read("parley_replica_in_use") == 1
        primary = client.get("/api/chats")  # its user is new, and made by the primary
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
        with hanging(stage.replica):
            wait_until(lambda: read("parley_replica_in_use") == 0)
            assert read("parley_database_connections", server="replica") == 0
        wait_until(lambda: read("parley_replica_in_use") == 1)


def test_no_connection_is_left_where_a_replica_hung(stage: Stage) -> None:
    name = new_user("api")
    url = f"{stage.replica.url('parley', 'app', 'app')}?application_name={name}"
    connections = "select count(*) from pg_stat_activity where application_name = %s"
    with running(stage.new_api(DATABASE_REPLICA_URL=url)) as api, unlimited(api) as client:
        wait_until(lambda: uses_replica(api))
        assert client.get("/api/chats").status_code == 200  # its user is new, and made by the primary
        wait_until(lambda: client.get("/api/chats").is_success and stage.on_replica(connections, name) == 2)
        with hanging(stage.replica):
            wait_until(lambda: told(api)[-1].startswith(f"{NOT_USED}it is away"))
        wait_until(lambda: uses_replica(api))
        wait_until(lambda: stage.on_replica(connections, name) == 1)  # which looks after it


def test_a_replica_that_is_away_at_the_start_is_used_when_it_has_come(stage: Stage) -> None:
    stage.replica.stop()
    api = stage.new_api()
    try:
        with running(api), unlimited(api) as client:
            assert client.get("/api/chats").status_code == 200
            wait_until(lambda: told(api) == [f"{NOT_USED}it is away: ConnectionRefusedError"])
            stage.replica.start()
            wait_until(lambda: uses_replica(api))
            assert client.get("/api/chats").status_code == 200
    finally:
        if stage.replica.child is None:
            stage.replica.start()


def test_a_replica_is_called_behind_once_it_has_been_for_a_window(stage: Stage) -> None:
    with stage.paused():
        stage.on_primary("select pg_logical_emit_message(true, 'parley', 'something')")
        with running(stage.new_api()) as api:
            wait_until(lambda: "behind" in "".join(told(api)))
            assert told(api) == [f"{NOT_USED}how far it is, is not known yet", f"{NOT_USED}it is more than 2 s behind"]


def test_what_is_not_the_replica_is_not_used(stage: Stage) -> None:
    for url, problem in (
        (stage.primary.url("parley", "app", "app"), "it is no replica, or was promoted"),
        (stage.replica.url("postgres", "app", "app"), "it is of another database"),
        (stage.replica.url("parley", "app", "hidden-word"), "it is away: InvalidPasswordError"),
    ):
        api = stage.new_api(DATABASE_REPLICA_URL=url)
        with running(api), unlimited(api) as client:
            wait_until(partial(told, api))
            assert client.get("/api/chats").status_code == 200
            assert told(api) == [NOT_USED + problem]
            assert "hidden-word" not in api.log.read_text()


def test_an_idle_replica_is_not_behind_where_a_segment_ends(stage: Stage) -> None:
    def is_told_apart() -> bool:
        stage.on_primary("select pg_switch_wal()")
        written = stage.on_primary("select pg_current_wal_insert_lsn() - '0/0'")
        replayed = stage.on_replica("select pg_last_wal_replay_lsn() - '0/0'")
        positions = stage.on_primary(POSITION)["lsn"], stage.on_replica(POSITION)["lsn"]
        return (written - replayed, *positions) == (40, replayed, replayed)

    wait_until(is_told_apart)


def test_positions_are_compared_within_one_history() -> None:
    def position(**changes: Any) -> Position:
        known: dict[str, Any] = {
            "backend": 0,
            "started": "",
            "is_replica": True,
            "system": 1,
            "timeline": "00000003",
            "database": 2,
            "epoch": "e",
            "lsn": 4,
        }
        return Position(**known | changes)

    position().check(position(is_replica=False))
    for changes in ({"system": 9}, {"database": 9}, {"epoch": "f"}, {"timeline": "9"}, {"is_replica": False}):
        with pytest.raises(WrongServerError):
            position(**changes).check(position(is_replica=False))
    with pytest.raises(WrongServerError):
        position().check(position())


# What a managed service may do: the owner is no superuser, and may not execute what tells clusters and timelines apart.
MANAGED = """
    create role managed;
    revoke execute on function pg_control_system(), pg_control_checkpoint(), pg_walfile_name(pg_lsn) from public;
    grant create on schema parley to managed;
    alter function parley.system_identifier() owner to managed;
    alter function parley.timeline() owner to managed;
"""


def test_a_replica_of_a_managed_service_is_used(directory: Path) -> None:
    with (
        new_postgres(directory / "managed", **QUICK) as primary,
        Valkey(directory / "valkey-managed") as valkey,
    ):
        migrate(primary)
        with psycopg.connect(primary.url("parley"), autocommit=True) as dba:
            dba.execute(MANAGED)
        with new_replica(directory / "managed-replica", primary, **QUICK) as replica:
            stage = Stage(directory, primary, replica, valkey)
            for server in (stage.on_primary, stage.on_replica):
                assert (server(POSITION)["system"], server(POSITION)["timeline"]) == (None, None)
            with running(stage.new_api()) as api, chatting(stage, api) as (chat, owner, _):
                wait_until(lambda: uses_replica(api))
                chat.send(owner, "after")
                assert owner.get("/api/events").status_code == 200


@pytest.mark.parametrize("changes", [{}, {"lsn": 2**62}, {"started": "before"}], ids=str)
def test_a_connection_that_is_behind_is_not_used(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any]
) -> None:
    stage.new_api().lend_environment(monkeypatch)

    async def ask() -> int:
        standby = await Standby.connect(Settings.load(), stage.replica.url("parley", "app", "app"))
        try:
            standby._position = replace(standby._position, **changes)
            return int(await standby.database.call("select 1"))
        finally:
            standby.cut()

    if not changes:
        assert asyncio.run(ask()) == 1
        return
    with pytest.raises(WrongServerError):
        asyncio.run(ask())


def test_a_promoted_replica_is_used_no_more(stage: Stage, directory: Path) -> None:
    with new_replica(directory / "promoted", stage.primary, **QUICK) as replica:
        api = stage.new_api(DATABASE_REPLICA_URL=replica.url("parley", "app", "app"))
        with running(api), chatting(stage, api) as (chat, owner, member):
            wait_until(lambda: uses_replica(api))
            assert only_value(replica.url("parley"), "select pg_promote()")
            wait_until(lambda: told(api)[-1] == f"{NOT_USED}it is no replica, or was promoted")
            chat.send(owner, "after")
            assert chat.contents(member) == ["after", "before"]
        assert told(api)[-2:] == [USED, f"{NOT_USED}it is no replica, or was promoted"]
