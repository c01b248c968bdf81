"""Writes to a locked chat hold neither all connections nor all places in line."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from api.dev.postgres import Postgres
from tests.api.admission.fairness.support import WRITES, locked, new_chat, send, statuses, used, waiting
from tests.api.support import refusal, unlimited
from tests.images import draw_gradient, encode
from tests.support import Api, wait_until


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
                image = {"image": encode(draw_gradient(), "PNG")}
                writes.append(threads.submit(clients[0].post, "/api/profile/image", files=image))
                wait_until(lambda: waiting(api) == 12 - WRITES + 2)
                assert used(api) == WRITES
            assert not any(future.done() for future in writes)
        assert statuses(sends) == [201] * 12
