"""One user's slow or expensive requests leave connections to others."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import httpx

from api.admission.controller import EXPENSIVE_BODY_BYTES, LARGE_PAGE_BYTES
from api.dev.postgres import Postgres
from tests.api.admission.fairness.support import (
    CONNECTIONS,
    MAX_OF_USER,
    lock_members,
    new_chat,
    queued_requests,
    send,
    signed_in,
    statuses,
)
from tests.api_process import Api
from tests.waiting import wait_until


def test_slow_statements_of_one_user_leave_connections_to_others(
    api: Api, postgres: Postgres, database: str, threads: ThreadPoolExecutor
) -> None:
    with signed_in(api) as client, signed_in(api) as other:
        with lock_members(postgres.url(database)) as count_waiting:
            slow = [threads.submit(client.get, "/api/chats") for _ in range(20)]
            wait_until(lambda: (count_waiting(), queued_requests(api)) == (MAX_OF_USER, 20 - MAX_OF_USER))
            for path in ("/api/profile", "/api/settings"):
                assert other.get(path).status_code == 200
            assert other.put("/api/settings", json={"settings": {"theme": "dark"}}).status_code == 200
            own = threads.submit(client.get, "/api/profile")
            wait_until(lambda: queued_requests(api) == 21 - MAX_OF_USER)
        assert statuses([*slow, own]) == [200] * 21


def test_user_has_one_expensive_request_in_flight(
    api: Api, postgres: Postgres, database: str, threads: ThreadPoolExecutor
) -> None:
    def post(size: int) -> httpx.Response:
        body = b'{"title": "x"}'
        return client.post("/api/chats", content=body.ljust(size), headers={"Content-Type": "application/json"})

    with signed_in(api) as client:
        with lock_members(postgres.url(database)) as count_waiting:
            searches = [threads.submit(client.get, f"/api/search?search={word}") for word in "abc"]
            large = [threads.submit(post, EXPENSIVE_BODY_BYTES + 1) for _ in range(3)]
            wait_until(lambda: (count_waiting(), queued_requests(api)) == (1, 5))
            ordinary = [threads.submit(post, EXPENSIVE_BODY_BYTES), threads.submit(client.get, "/api/chats")]
            wait_until(lambda: count_waiting() == 3)
            assert client.get("/api/profile?search=x").status_code == 400  # a route without search
            assert queued_requests(api) == 5
        assert statuses(searches) == [200] * 3
        assert statuses(large) == [201] * 3
        assert statuses(ordinary) == [201, 200]


def test_after_a_large_page_a_user_has_one_page_in_flight(
    api: Api, postgres: Postgres, database: str, threads: ThreadPoolExecutor
) -> None:
    messages = LARGE_PAGE_BYTES // 32_768
    with signed_in(api) as client, signed_in(api) as other:
        chat = new_chat(client, other)
        for _ in range(messages):
            assert send(client, chat, "x" * 32_768).status_code == 201
        assert len(client.get(f"/api/chats/{chat}/messages").content) > LARGE_PAGE_BYTES
        assert len(other.get(f"/api/chats/{chat}/messages?limit={messages - 1}").content) <= LARGE_PAGE_BYTES
        with lock_members(postgres.url(database)) as count_waiting:
            pages = [threads.submit(client.get, f"/api/chats/{chat}/messages?page={page}") for page in range(1, 4)]
            wait_until(lambda: (count_waiting(), queued_requests(api)) == (1, 2))
            pages += [threads.submit(other.get, f"/api/chats/{chat}/messages?page={page}") for page in range(2, 5)]
            pages += [threads.submit(client.get, f"/api/chats/{chat}")]
            wait_until(lambda: (count_waiting(), queued_requests(api)) == (5, 2))
        assert statuses(pages) == [200] * 7


def test_many_users_have_half_of_the_connections_for_expensive_requests(
    api: Api, postgres: Postgres, database: str, threads: ThreadPoolExecutor
) -> None:
    with ExitStack() as stack:
        clients = [stack.enter_context(signed_in(api)) for _ in range(8)]
        with lock_members(postgres.url(database)) as count_waiting:
            searches = [threads.submit(client.get, "/api/search?search=a") for client in clients]
            wait_until(lambda: (count_waiting(), queued_requests(api)) == (CONNECTIONS // 2, 8 - CONNECTIONS // 2))
            assert clients[-1].get("/api/profile").status_code == 200
        assert statuses(searches) == [200] * 8
