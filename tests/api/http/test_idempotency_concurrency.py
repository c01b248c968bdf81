"""Idempotency-Key: concurrent repeats through two processes, one of which is killed."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import psycopg
import pytest

from api.dev.postgres import Postgres
from tests import images
from tests.api.http.idempotency import REPLAYED, contents, idempotency_header, is_replay, new_chat, upload
from tests.api.support import expect_error, unlimited_client
from tests.api_process import Api, running
from tests.tokens import new_user
from tests.waiting import wait_until


@pytest.fixture(scope="module")
def database(new_database: Callable[[str], str]) -> str:
    return new_database("parley_once")


@pytest.fixture(scope="module")
def apis(directory: Path, new_api: Callable[..., Api], database: str) -> Iterator[tuple[Api, Api]]:
    """Two processes of one service."""
    options = {"STORAGE_URL": f"file://{directory}/images-once", "PUBLIC_URL": "https://chat.example.org"}
    with running(new_api(database, **options)) as one, running(new_api(database, **options)) as other:
        yield one, other


@contextmanager
def lock_rows(url: str) -> Iterator[Callable[[], int]]:
    """Lock the rows of all chats and users; yield a function that counts the statements that wait for them."""
    with psycopg.connect(url) as locker, psycopg.connect(url, autocommit=True) as watcher:
        locker.execute("select from parley.chats for update")
        locker.execute("select from next_auth.users for update")
        waiting_statements = (
            "select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
        )
        yield lambda: watcher.execute(waiting_statements).rowcount
        locker.rollback()


@pytest.mark.parametrize("resource", ["message", "image"])
def test_repeat_during_the_first_request_gets_409_with_retry_after(
    apis: tuple[Api, Api], postgres: Postgres, database: str, resource: str
) -> None:
    user, header = new_user(), idempotency_header()
    with (
        unlimited_client(apis[0], user) as one,
        unlimited_client(apis[1], user) as other,
        ThreadPoolExecutor() as threads,
    ):
        messages = new_chat(one)

        def request(client: httpx.Client) -> httpx.Response:
            if resource == "image":
                return upload(client, images.build_png(7, 7), header)
            return client.post(messages, json={"content": "x"}, headers=header)

        with lock_rows(postgres.url(database)) as count_waiting:
            first_request = threads.submit(request, one)
            wait_until(lambda: count_waiting() == 1)
            repeat = request(other)
            error = expect_error(repeat, 409)
            assert error["message"] == "The first request with this Idempotency-Key is still under way."
            assert error.keys() == {"message", "code"}
            assert repeat.headers["retry-after"] == "1"
            assert other.get(messages, headers=header).status_code == 200
            assert not first_request.done()
        first = first_request.result()
        assert first.is_success
        assert REPLAYED not in first.headers
        assert [is_replay(request(client), first) for client in (one, other)] == [True, True]
        assert contents(one, messages) == ["x"] * (resource == "message")


def test_one_of_a_hundred_concurrent_repeats_is_executed(apis: tuple[Api, Api]) -> None:
    user, header = new_user(), idempotency_header()
    with (
        unlimited_client(apis[0], user) as one,
        unlimited_client(apis[1], user) as other,
        ThreadPoolExecutor(20) as threads,
    ):
        messages = new_chat(one)

        def send(number: int) -> httpx.Response:
            return (one, other)[number % 2].post(messages, json={"content": "x"}, headers=header)

        responses = list(threads.map(send, range(100)))
        [first] = [
            response for response in responses if response.status_code == 201 and REPLAYED not in response.headers
        ]
        for response in responses:
            if response is not first and not is_replay(response, first):
                expect_error(response, 409)
        assert [is_replay(send(number), first) for number in range(2)] == [True, True]
        assert contents(one, messages) == ["x"]


def test_request_without_response_from_a_killed_process_is_executed_once(
    apis: tuple[Api, Api], postgres: Postgres, database: str
) -> None:
    user, header = new_user(), idempotency_header()
    killed_api, other_api = apis
    with (
        unlimited_client(killed_api, user) as client,
        unlimited_client(other_api, user) as other,
        ThreadPoolExecutor() as threads,
    ):
        messages = new_chat(client)

        def send(client: httpx.Client) -> httpx.Response:
            return client.post(messages, json={"content": "x"}, headers=header)

        with lock_rows(postgres.url(database)) as count_waiting:
            first_request = threads.submit(send, client)
            wait_until(lambda: count_waiting() == 1)
            killed_api.kill()
            assert isinstance(first_request.exception(), httpx.TransportError)
            killed_api.start()
            expect_error(send(client), 409)  # PostgreSQL does not know that the client of the first request is gone
        wait_until(lambda: send(client).status_code == 201)
        responses = [send(client), send(other)]
        assert [is_replay(response, responses[0]) for response in responses] == [True, True]
        assert contents(client, messages) == ["x"]
