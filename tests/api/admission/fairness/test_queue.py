"""The line of requests that wait for a turn: its end, clients that go away, one connection for all, metrics."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import psycopg
import pytest

from api.admission.statements import EXPENSIVE_BODY
from api.db.pool import WAITING_FOR_EACH
from api.dev.postgres import Postgres
from api.dev.process import find_free_port
from tests.api.admission.fairness.support import (
    OF_ONE_USER,
    asking,
    locked,
    locked_members,
    metric,
    new_chat,
    send,
    signed_in,
    statuses,
    used,
    waiting,
)
from tests.api.support import refusal, unlimited
from tests.images import draw_gradient, encode
from tests.support import Api, new_user, running, wait_until


@pytest.fixture(scope="module")
def tiny(new_api: Callable[..., Api], database: str) -> Iterator[Api]:
    """One with a single connection, in the same database."""
    with running(new_api(database, METRICS_PORT=str(find_free_port()), DATABASE_POOL_SIZE="1")) as api:
        yield api


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
    image = encode(draw_gradient(), "PNG")
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
