"""One user's requests, or those on one locked chat, hold neither all connections nor all places in line."""

import socket
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any

import httpx
import psycopg
import pytest

from api.admission import EXPENSIVE_BODY, LARGE_RESPONSE
from api.database import WAITING_FOR_EACH
from api.dev.postgres import Postgres
from api.dev.process import free_port
from tests.api.support import head, refusal, unlimited
from tests.images import encoded, gradient
from tests.support import Api, new_user, running, scraped, wait_until

CONNECTIONS, OF_ONE_USER, WRITES = 10, 5, 8
LOCKED = "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"


@pytest.fixture(scope="module")
def database(new_database: Callable[[str], str]) -> str:
    return new_database(f"parley_{new_user().replace('-', '_')}")


@pytest.fixture(scope="module")
def api(new_api: Callable[..., Api], database: str) -> Iterator[Api]:
    """An API with a pool of the default size, in a database of its own."""
    with running(new_api(database, METRICS_PORT=str(free_port()))) as api:
        yield api


@pytest.fixture(scope="module")
def tiny(new_api: Callable[..., Api], database: str) -> Iterator[Api]:
    """One with a single connection, in the same database."""
    with running(new_api(database, METRICS_PORT=str(free_port()), DATABASE_POOL_SIZE="1")) as api:
        yield api


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(60) as pool:
        yield pool


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


def statuses(futures: list[Future[httpx.Response]]) -> list[int]:
    return [future.result().status_code for future in futures]


@pytest.mark.parametrize("users", [1, 12])
def test_twelve_sends_behind_a_locked_chat_leave_connections_to_others(
    api: Api, postgres: Postgres, database: str, threads: ThreadPoolExecutor, users: int
) -> None:
    with ExitStack() as stack:
        clients = [stack.enter_context(unlimited(api)) for _ in range(users)]
        other = stack.enter_context(unlimited(api))
        chat = new_chat(clients[0], *clients[1:])
        with locked(postgres.url(database), chat) as locks:
            sends = [threads.submit(send, clients[number % users], chat) for number in range(12)]
            wait_until(lambda: (locks(), waiting(api)) == (2, 10))
            for client in (other, *clients):
                assert client.get("/api/profile").status_code == 200
                assert client.get(f"/api/chats/{chat}/messages").status_code == (404 if client is other else 200)
            assert send(other, new_chat(other)).status_code == 201
            assert (locks(), waiting(api), used(api)) == (2, 10, 2)
        assert statuses(sends) == [201] * 12
        assert clients[0].get(f"/api/chats/{chat}/messages").json()["total"] == 12
    assert waiting(api) == 0


def test_any_change_of_a_chat_counts_also_by_another_spelling(
    api: Api, postgres: Postgres, database: str, threads: ThreadPoolExecutor
) -> None:
    with unlimited(api) as owner:
        chat = new_chat(owner)
        message = send(owner, chat).json()["id"]
        with locked(postgres.url(database), chat) as locks:
            first = [threads.submit(send, owner, spelling) for spelling in (chat, chat.upper())]
            wait_until(lambda: locks() == 2)
            path = f"/api/chats/{chat.upper()}"
            second = [
                threads.submit(owner.put, path, json={"title": "Another"}),
                threads.submit(owner.put, f"{path}/messages/{message}", json={"content": "y"}),
                threads.submit(owner.delete, f"{path}/messages/{message}"),
                threads.submit(owner.post, f"{path}/members", json={"userId": "nobody"}),
                threads.submit(owner.delete, f"{path}/members/nobody"),
            ]
            wait_until(lambda: waiting(api) == len(second))
            assert locks() == 2
        assert statuses(first) == [201, 201]
        assert set(statuses(second)) <= {200, 204, 400, 404}


def test_who_waits_too_long_is_told_to_come_back(
    api: Api, postgres: Postgres, database: str, threads: ThreadPoolExecutor
) -> None:
    with unlimited(api) as client:
        chat = new_chat(client)
        with locked(postgres.url(database), chat) as locks:
            sends = [threads.submit(send, client, chat) for _ in range(12)]
            wait_until(lambda: sum(future.done() for future in sends) == 10)
            for future in sends:
                if future.done():
                    refusal(future.result(), 503)
                    assert future.result().headers["retry-after"] == "1"
            assert (locks(), waiting(api)) == (2, 0)
        assert sorted(statuses(sends)) == [201, 201, *[503] * 10]
        assert client.get(f"/api/chats/{chat}/messages").json()["total"] == 2
        assert send(client, chat).status_code == 201


def test_locks_on_many_chats_leave_connections_to_reads(
    api: Api, postgres: Postgres, database: str, threads: ThreadPoolExecutor
) -> None:
    with ExitStack() as stack:
        clients = [stack.enter_context(unlimited(api)) for _ in range(12)]
        chats = [new_chat(client) for client in clients]
        with locked(postgres.url(database), *chats) as locks:
            sends = [threads.submit(send, client, chat) for client, chat in zip(clients, chats, strict=True)]
            wait_until(lambda: (locks(), waiting(api)) == (WRITES, 12 - WRITES))
            with unlimited(api) as other:
                for client in (other, *clients):
                    assert client.get("/api/profile").status_code == 200
                    assert client.get("/api/chats").status_code == 200
                writes = [threads.submit(other.post, "/api/chats", json={"title": "x"})]
                image = {"image": encoded(gradient(), "PNG")}
                writes.append(threads.submit(clients[0].post, "/api/profile/image", files=image))
                wait_until(lambda: waiting(api) == 12 - WRITES + 2)
                assert used(api) == WRITES
            assert not any(future.done() for future in writes)
        assert statuses(sends) == [201] * 12


def test_one_user_with_slow_statements_leaves_connections_to_others(
    api: Api, postgres: Postgres, database: str, threads: ThreadPoolExecutor
) -> None:
    with signed_in(api) as client, signed_in(api) as other:
        with locked_members(postgres.url(database)) as locks:
            slow = [threads.submit(client.get, "/api/chats") for _ in range(20)]
            wait_until(lambda: (locks(), waiting(api)) == (OF_ONE_USER, 20 - OF_ONE_USER))
            for path in ("/api/profile", "/api/settings"):
                assert other.get(path).status_code == 200
            assert other.put("/api/settings", json={"settings": {"theme": "dark"}}).status_code == 200
            own = threads.submit(client.get, "/api/profile")
            wait_until(lambda: waiting(api) == 21 - OF_ONE_USER)
        assert statuses([*slow, own]) == [200] * 21


def test_a_user_has_one_expensive_request_in_flight(
    api: Api, postgres: Postgres, database: str, threads: ThreadPoolExecutor
) -> None:
    def post(size: int) -> httpx.Response:
        body = b'{"title": "x"}'
        return client.post("/api/chats", content=body.ljust(size), headers={"Content-Type": "application/json"})

    with signed_in(api) as client:
        with locked_members(postgres.url(database)) as locks:
            searches = [threads.submit(client.get, f"/api/search?search={word}") for word in "abc"]
            large = [threads.submit(post, EXPENSIVE_BODY + 1) for _ in range(3)]
            wait_until(lambda: (locks(), waiting(api)) == (1, 5))
            ordinary = [threads.submit(post, EXPENSIVE_BODY), threads.submit(client.get, "/api/chats")]
            wait_until(lambda: locks() == 3)
            assert client.get("/api/profile?search=x").status_code == 200  # which searches nothing
            assert waiting(api) == 5
        assert statuses(searches) == [200] * 3
        assert statuses(large) == [201] * 3
        assert statuses(ordinary) == [201, 200]


def test_a_user_who_has_received_a_large_page_has_one_page_in_flight(
    api: Api, postgres: Postgres, database: str, threads: ThreadPoolExecutor
) -> None:
    messages = LARGE_RESPONSE // 32_768
    with signed_in(api) as client, signed_in(api) as other:
        chat = new_chat(client, other)
        for _ in range(messages):
            assert send(client, chat, "x" * 32_768).status_code == 201
        assert len(client.get(f"/api/chats/{chat}/messages").content) > LARGE_RESPONSE
        assert len(other.get(f"/api/chats/{chat}/messages?limit={messages - 1}").content) <= LARGE_RESPONSE
        with locked_members(postgres.url(database)) as locks:
            pages = [threads.submit(client.get, f"/api/chats/{chat}/messages?page={page}") for page in range(1, 4)]
            wait_until(lambda: (locks(), waiting(api)) == (1, 2))
            pages += [threads.submit(other.get, f"/api/chats/{chat}/messages?page={page}") for page in range(2, 5)]
            pages += [threads.submit(client.get, f"/api/chats/{chat}")]
            wait_until(lambda: (locks(), waiting(api)) == (5, 2))
        assert statuses(pages) == [200] * 7


def test_many_users_have_half_of_the_connections_for_expensive_requests(
    api: Api, postgres: Postgres, database: str, threads: ThreadPoolExecutor
) -> None:
    with ExitStack() as stack:
        clients = [stack.enter_context(signed_in(api)) for _ in range(8)]
        with locked_members(postgres.url(database)) as locks:
            searches = [threads.submit(client.get, "/api/search?search=a") for client in clients]
            wait_until(lambda: (locks(), waiting(api)) == (CONNECTIONS // 2, 8 - CONNECTIONS // 2))
            assert clients[-1].get("/api/profile").status_code == 200
        assert statuses(searches) == [200] * 8


def asking(api: Api, user: str, path: str) -> socket.socket:
    """A connection on which a user asks for something."""
    connection = socket.create_connection(("127.0.0.1", api.port), timeout=20)
    connection.sendall(head(f"GET {path} HTTP/1.1", api.headers(user)))
    return connection


def test_one_users_line_has_an_end_and_others_have_places(
    tiny: Api, postgres: Postgres, database: str, threads: ThreadPoolExecutor
) -> None:
    user, places = new_user(), WAITING_FOR_EACH // 4
    with signed_in(tiny, user) as client, signed_in(tiny) as other, ExitStack() as stack:
        with locked_members(postgres.url(database)) as locks:
            flood = [stack.enter_context(asking(tiny, user, "/api/chats")) for _ in range(places + 1)]
            wait_until(lambda: (locks(), waiting(tiny)) == (1, places))
            response = client.get("/api/profile")
            refusal(response, 503)
            assert response.headers["retry-after"] == "1"
            assert waiting(tiny) == places
            late = threads.submit(other.get, "/api/profile")
            wait_until(lambda: metric(tiny, "parley_database_connections", server="primary", state="waiting") == 1)
        assert late.result().status_code == 200
        assert {one.recv(65_536)[9:12] for one in flood} == {b"200"}
        assert client.get("/api/profile").status_code == 200


def test_who_goes_away_while_waiting_leaves_the_place_and_takes_no_slot(
    api: Api, postgres: Postgres, database: str, threads: ThreadPoolExecutor
) -> None:
    user = new_user()
    with signed_in(api, user) as client:
        with locked_members(postgres.url(database)) as locks:
            with ExitStack() as gone:
                held = [threads.submit(client.get, "/api/chats") for _ in range(OF_ONE_USER)]
                wait_until(lambda: locks() == OF_ONE_USER)
                for _ in range(20):
                    gone.enter_context(asking(api, user, "/api/chats"))
                wait_until(lambda: waiting(api) == 20)
                late = [threads.submit(client.get, "/api/chats") for _ in range(3)]
                wait_until(lambda: waiting(api) == 23)
            wait_until(lambda: waiting(api) == 3)
            assert used(api) == OF_ONE_USER
        assert statuses([*held, *late]) == [200] * (OF_ONE_USER + 3)
    assert (waiting(api), used(api)) == (0, 0)


def test_a_user_who_has_gone_away_in_flight_frees_the_slots(api: Api, postgres: Postgres, database: str) -> None:
    user = new_user()
    with signed_in(api, user) as client, locked_members(postgres.url(database)) as locks:
        for _ in range(2):
            with ExitStack() as gone:
                for _ in range(OF_ONE_USER):
                    gone.enter_context(asking(api, user, "/api/chats"))
                wait_until(lambda: locks() == OF_ONE_USER)
            wait_until(lambda: (locks(), used(api)) == (0, 0))
        assert client.get("/api/profile").status_code == 200


def test_a_single_connection_serves_reads_writes_searches_and_uploads(
    tiny: Api, postgres: Postgres, database: str, threads: ThreadPoolExecutor
) -> None:
    image = encoded(gradient(), "PNG")
    with unlimited(tiny) as client, unlimited(tiny) as other:
        chat = new_chat(client)
        with locked(postgres.url(database), chat) as locks:
            asked = [threads.submit(send, client, chat)]
            wait_until(lambda: locks() == 1)
            asked += [threads.submit(send, client, chat, "x" * (EXPENSIVE_BODY + 1)) for _ in range(2)]
            asked += [threads.submit(client.get, "/api/search?search=x") for _ in range(2)]
            asked += [threads.submit(client.post, "/api/profile/image", files={"image": image})]
            asked += [threads.submit(other.get, "/api/profile"), threads.submit(other.get, "/api/search?search=x")]
            wait_until(lambda: waiting(tiny) + metric(tiny, "parley_database_connections", state="waiting") == 7)
        assert statuses(asked) == [201, 201, 201, 200, 200, 200, 200, 200]
    assert (waiting(tiny), used(tiny)) == (0, 0)


def test_the_wait_for_a_turn_is_told_and_measured(
    api: Api, postgres: Postgres, database: str, threads: ThreadPoolExecutor
) -> None:
    name = "parley_admission_wait_seconds"
    before = metric(api, f"{name}_count"), metric(api, f"{name}_sum")
    with unlimited(api) as client:
        chat = new_chat(client)
        with locked(postgres.url(database), chat) as locks, psycopg.connect(postgres.url(database)) as clock:
            first = [threads.submit(send, client, chat) for _ in range(2)]
            wait_until(lambda: locks() == 2)
            queued = threads.submit(send, client, chat)
            wait_until(lambda: waiting(api) == 1)
            clock.execute("select pg_sleep(0.3)")
        timings: list[dict[str, Any]] = []
        for future in (*first, queued):
            entries = future.result().headers["server-timing"].split(", ")
            timings.append({entry.partition(";")[0]: float(entry.partition("dur=")[2]) for entry in entries})
        assert [timing.keys() for timing in timings[:2]] == [{"limit", "pool", "db", "total"}] * 2
        assert list(timings[2]) == ["limit", "queue", "pool", "db", "total"]
        assert timings[2]["queue"] >= 300
        assert timings[2]["db"] < 300
    assert metric(api, f"{name}_count") == before[0] + 1
    assert metric(api, f"{name}_sum") >= before[1] + 0.3
