"""The queue of requests that wait for slots: its limits, disconnected clients, a single connection, and metrics."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import psycopg
import pytest

from api.admission.controller import EXPENSIVE_BODY_BYTES
from api.db.pool import MAX_WAITING_PER_CONNECTION
from api.dev.postgres import Postgres
from api.dev.process import find_free_port
from tests.api.admission.fairness.support import (
    MAX_OF_USER,
    lock_chats,
    lock_members,
    metric,
    new_chat,
    queued_requests,
    send,
    send_get,
    signed_in,
    statuses,
    used_connections,
)
from tests.api.support import expect_error, read_status, unlimited_client
from tests.api_process import Api, running
from tests.images import draw_gradient, encode
from tests.tokens import new_user
from tests.waiting import wait_until


@pytest.fixture(scope="module")
def single_connection_api(new_api: Callable[..., Api], database: str) -> Iterator[Api]:
    """An API with a single connection, in the same database."""
    with running(new_api(database, METRICS_PORT=str(find_free_port()), DATABASE_POOL_SIZE="1")) as api:
        yield api


def test_one_users_queue_is_limited_and_leaves_capacity_to_others(
    single_connection_api: Api, postgres: Postgres, database: str, threads: ThreadPoolExecutor
) -> None:
    user, capacity = new_user(), MAX_WAITING_PER_CONNECTION // 4
    with (
        signed_in(single_connection_api, user) as client,
        signed_in(single_connection_api) as other,
        ExitStack() as stack,
    ):
        with lock_members(postgres.url(database)) as count_waiting:
            flood = [
                stack.enter_context(send_get(single_connection_api, user, "/api/chats")) for _ in range(capacity + 1)
            ]
            wait_until(lambda: (count_waiting(), queued_requests(single_connection_api)) == (1, capacity))
            response = client.get("/api/profile")
            expect_error(response, 503)
            assert response.headers["retry-after"] == "1"
            assert queued_requests(single_connection_api) == capacity
            late = threads.submit(other.get, "/api/profile")
            wait_until(
                lambda: (
                    metric(single_connection_api, "parley_database_connections", server="primary", state="waiting") == 1
                )
            )
        assert late.result().status_code == 200
        assert {read_status(connection) for connection in flood} == {200}
        assert client.get("/api/profile").status_code == 200


def test_disconnected_clients_leave_the_queue_and_take_no_slot(
    api: Api, postgres: Postgres, database: str, threads: ThreadPoolExecutor
) -> None:
    user = new_user()
    with signed_in(api, user) as client:
        with lock_members(postgres.url(database)) as count_waiting:
            with ExitStack() as gone:
                held = [threads.submit(client.get, "/api/chats") for _ in range(MAX_OF_USER)]
                wait_until(lambda: count_waiting() == MAX_OF_USER)
                for _ in range(20):
                    gone.enter_context(send_get(api, user, "/api/chats"))
                wait_until(lambda: queued_requests(api) == 20)
                late = [threads.submit(client.get, "/api/chats") for _ in range(3)]
                wait_until(lambda: queued_requests(api) == 23)
            wait_until(lambda: queued_requests(api) == 3)
            assert used_connections(api) == MAX_OF_USER
        assert statuses([*held, *late]) == [200] * (MAX_OF_USER + 3)
    assert (queued_requests(api), used_connections(api)) == (0, 0)


def test_clients_that_disconnect_in_flight_release_their_slots(api: Api, postgres: Postgres, database: str) -> None:
    user = new_user()
    with signed_in(api, user) as client, lock_members(postgres.url(database)) as count_waiting:
        for _ in range(2):
            with ExitStack() as gone:
                for _ in range(MAX_OF_USER):
                    gone.enter_context(send_get(api, user, "/api/chats"))
                wait_until(lambda: count_waiting() == MAX_OF_USER)
            wait_until(lambda: (count_waiting(), used_connections(api)) == (0, 0))
        assert client.get("/api/profile").status_code == 200


def test_single_connection_serves_reads_writes_searches_and_uploads(
    single_connection_api: Api, postgres: Postgres, database: str, threads: ThreadPoolExecutor
) -> None:
    image = encode(draw_gradient(), "PNG")
    with unlimited_client(single_connection_api) as client, unlimited_client(single_connection_api) as other:
        chat = new_chat(client)
        with lock_chats(postgres.url(database), chat) as count_waiting:
            requests = [threads.submit(send, client, chat)]
            wait_until(lambda: count_waiting() == 1)
            requests += [threads.submit(send, client, chat, "x" * (EXPENSIVE_BODY_BYTES + 1)) for _ in range(2)]
            requests += [threads.submit(client.get, "/api/search?search=x") for _ in range(2)]
            requests += [threads.submit(client.post, "/api/profile/image", files={"image": image})]
            requests += [threads.submit(other.get, "/api/profile"), threads.submit(other.get, "/api/search?search=x")]
            wait_until(
                lambda: (
                    queued_requests(single_connection_api)
                    + metric(single_connection_api, "parley_database_connections", state="waiting")
                    == 7
                )
            )
        assert statuses(requests) == [201, 201, 201, 200, 200, 200, 200, 200]
    assert (queued_requests(single_connection_api), used_connections(single_connection_api)) == (0, 0)


def test_wait_in_the_queue_is_reported_and_measured(
    api: Api, postgres: Postgres, database: str, threads: ThreadPoolExecutor
) -> None:
    name = "parley_admission_wait_seconds"
    before = metric(api, f"{name}_count"), metric(api, f"{name}_sum")
    with unlimited_client(api) as client:
        chat = new_chat(client)
        with (
            lock_chats(postgres.url(database), chat) as count_waiting,
            psycopg.connect(postgres.url(database)) as clock,
        ):
            first = [threads.submit(send, client, chat) for _ in range(2)]
            wait_until(lambda: count_waiting() == 2)
            queued = threads.submit(send, client, chat)
            wait_until(lambda: queued_requests(api) == 1)
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
