"""Writes to a locked chat hold neither all connections nor the whole queue."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from api.dev.postgres import Postgres
from tests.api.admission.fairness.support import (
    MAX_WRITES,
    lock_chats,
    new_chat,
    queued_requests,
    send,
    statuses,
    used_connections,
)
from tests.api.support import expect_error, unlimited_client
from tests.api_process import Api
from tests.images import draw_gradient, encode
from tests.waiting import wait_until


@pytest.mark.parametrize("users", [1, 12])
def test_twelve_sends_behind_a_locked_chat_leave_connections_to_others(
    api: Api, postgres: Postgres, database: str, threads: ThreadPoolExecutor, users: int
) -> None:
    with ExitStack() as stack:
        clients = [stack.enter_context(unlimited_client(api)) for _ in range(users)]
        other = stack.enter_context(unlimited_client(api))
        chat = new_chat(clients[0], *clients[1:])
        with lock_chats(postgres.url(database), chat) as count_waiting:
            sends = [threads.submit(send, clients[number % users], chat) for number in range(12)]
            wait_until(lambda: (count_waiting(), queued_requests(api)) == (2, 10))
            for client in (other, *clients):
                assert client.get("/api/profile").status_code == 200
                assert client.get(f"/api/chats/{chat}/messages").status_code == (404 if client is other else 200)
            assert send(other, new_chat(other)).status_code == 201
            assert (count_waiting(), queued_requests(api), used_connections(api)) == (2, 10, 2)
        assert statuses(sends) == [201] * 12
        assert clients[0].get(f"/api/chats/{chat}/messages").json()["total"] == 12
    assert queued_requests(api) == 0


def test_all_writes_to_a_chat_share_its_slots_in_any_spelling_of_its_id(
    api: Api, postgres: Postgres, database: str, threads: ThreadPoolExecutor
) -> None:
    with unlimited_client(api) as owner:
        chat = new_chat(owner)
        message = send(owner, chat).json()["id"]
        with lock_chats(postgres.url(database), chat) as count_waiting:
            first = [threads.submit(send, owner, spelling) for spelling in (chat, chat.upper())]
            wait_until(lambda: count_waiting() == 2)
            path = f"/api/chats/{chat.upper()}"
            second = [
                threads.submit(owner.put, path, json={"title": "Another"}),
                threads.submit(owner.put, f"{path}/messages/{message}", json={"content": "y"}),
                threads.submit(owner.delete, f"{path}/messages/{message}"),
                threads.submit(owner.post, f"{path}/members", json={"userId": "nobody"}),
                threads.submit(owner.delete, f"{path}/members/nobody"),
            ]
            wait_until(lambda: queued_requests(api) == len(second))
            assert count_waiting() == 2
        assert statuses(first) == [201, 201]
        assert set(statuses(second)) <= {200, 204, 400, 404}


def test_request_that_waits_too_long_gets_503(
    api: Api, postgres: Postgres, database: str, threads: ThreadPoolExecutor
) -> None:
    with unlimited_client(api) as client:
        chat = new_chat(client)
        with lock_chats(postgres.url(database), chat) as count_waiting:
            sends = [threads.submit(send, client, chat) for _ in range(12)]
            wait_until(lambda: sum(future.done() for future in sends) == 10)
            for future in sends:
                if future.done():
                    expect_error(future.result(), 503)
                    assert future.result().headers["retry-after"] == "1"
            assert (count_waiting(), queued_requests(api)) == (2, 0)
        assert sorted(statuses(sends)) == [201, 201, *[503] * 10]
        assert client.get(f"/api/chats/{chat}/messages").json()["total"] == 2
        assert send(client, chat).status_code == 201


def test_locks_on_many_chats_leave_connections_to_reads(
    api: Api, postgres: Postgres, database: str, threads: ThreadPoolExecutor
) -> None:
    with ExitStack() as stack:
        clients = [stack.enter_context(unlimited_client(api)) for _ in range(12)]
        chats = [new_chat(client) for client in clients]
        with lock_chats(postgres.url(database), *chats) as count_waiting:
            sends = [threads.submit(send, client, chat) for client, chat in zip(clients, chats, strict=True)]
            wait_until(lambda: (count_waiting(), queued_requests(api)) == (MAX_WRITES, 12 - MAX_WRITES))
            with unlimited_client(api) as other:
                for client in (other, *clients):
                    assert client.get("/api/profile").status_code == 200
                    assert client.get("/api/chats").status_code == 200
                writes = [threads.submit(other.post, "/api/chats", json={"title": "x"})]
                image = {"image": encode(draw_gradient(), "PNG")}
                writes.append(threads.submit(clients[0].post, "/api/profile/image", files=image))
                wait_until(lambda: queued_requests(api) == 12 - MAX_WRITES + 2)
                assert used_connections(api) == MAX_WRITES
            assert not any(future.done() for future in writes)
        assert statuses(sends) == [201] * 12
