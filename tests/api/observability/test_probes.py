"""Requests without a rate limit: any number of them costs the database and the storage little."""

import asyncio
import socket
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from functools import partial

import psycopg
import pytest

from api.dev.postgres import Postgres
from api.dev.process import find_free_port
from api.images.storage import Storage
from tests.api.support import expect_error, locked_chats, patch_api, post_chat, request_head, unlimited_client
from tests.api_process import Api, read_log, running, scrape
from tests.tokens import new_user
from tests.waiting import wait_until

NEVER_EXPIRES = "health.PROBE_MAX_AGE_SECONDS = 1_000_000"
FUNCTIONS = {"/readyz": "check_readiness", "/openapi.json": "get_field_schemas", "/docs/events": "get_field_schemas"}
LOCK = 7  # key of the advisory lock


class CountingDatabase:
    """A database that counts the calls of the functions for requests without a rate limit, and can block them."""

    def __init__(self, postgres: Postgres, name: str) -> None:
        self.url, self.name = postgres.url(name), name
        with psycopg.connect(self.url, autocommit=True) as dba:
            for function, result in {"check_readiness": "boolean", "get_field_schemas": "json"}.items():
                dba.execute(f"""
                    alter function api.{function} rename to original_{function};
                    create sequence public.{function};
                    grant usage on sequence public.{function} to app;
                    create function api.{function}() returns {result} language plpgsql as $$
                    begin
                        perform nextval('public.{function}'), pg_advisory_xact_lock_shared({LOCK});
                        return api.original_{function}();
                    end $$;
                    grant execute on function api.{function} to app""")

    def count_calls(self, function: str) -> int:
        with psycopg.connect(self.url) as dba:
            row = dba.execute(f"select last_value - (not is_called)::int from public.{function}").fetchone()
            assert row
            return int(row[0])

    @contextmanager
    def blocked(self) -> Iterator[Callable[[], int]]:
        """Block calls; yield a function that returns the number of blocked ones."""
        with psycopg.connect(self.url, autocommit=True) as dba:
            dba.execute(f"select pg_advisory_lock({LOCK})")

            def count_blocked() -> int:
                row = dba.execute(
                    "select count(*) from pg_stat_activity where datname = %s and wait_event = 'advisory'", [self.name]
                ).fetchone()
                assert row
                return int(row[0])

            yield count_blocked


@pytest.fixture
def counting_database(postgres: Postgres, new_database: Callable[[str], str]) -> CountingDatabase:
    return CountingDatabase(postgres, new_database(f"parley_{new_user().replace('-', '_')}"))


@pytest.mark.parametrize("path", FUNCTIONS)
def test_one_call_serves_all_requests_until_its_result_expires(
    new_api: Callable[..., Api], counting_database: CountingDatabase, path: str
) -> None:
    with (
        running(patch_api(new_api(counting_database.name), NEVER_EXPIRES)) as api,
        unlimited_client(api, "") as client,
        ThreadPoolExecutor(20) as threads,
    ):
        client.get(path)
        calls = counting_database.count_calls(FUNCTIONS[path])
        assert calls > 0
        assert {response.status_code for response in threads.map(client.get, [path] * 200)} == {200}
        assert {client.head(path).status_code for _ in range(20)} == {200}
        expect_error(client.post(path), 405)
        expect_error(client.options(path), 405)
        assert counting_database.count_calls(FUNCTIONS[path]) == calls


def test_expired_result_is_fetched_again(new_api: Callable[..., Api], counting_database: CountingDatabase) -> None:
    with (
        running(patch_api(new_api(counting_database.name), "health.PROBE_MAX_AGE_SECONDS = 0")) as api,
        unlimited_client(api, "") as client,
    ):
        calls = counting_database.count_calls("check_readiness")
        assert {client.get("/readyz").status_code for _ in range(5)} == {200}
        assert counting_database.count_calls("check_readiness") == calls + 5


@pytest.mark.parametrize("path", FUNCTIONS)
def test_only_one_of_many_requests_waits_for_a_blocked_database(
    new_api: Callable[..., Api], counting_database: CountingDatabase, path: str
) -> None:
    with (
        running(new_api(counting_database.name)) as api,
        unlimited_client(api, "") as client,
        ThreadPoolExecutor(50) as threads,
    ):
        if path == "/readyz":  # Its first result must be cached before the database is blocked.
            wait_until(lambda: client.get(path).status_code == 200)
        with counting_database.blocked() as count_blocked:
            counts = []

            def is_unavailable() -> bool:
                responses = [threads.submit(client.get, path) for _ in range(50)]
                counts.append(count_blocked())
                return {response.result().status_code for response in responses} == {503}

            wait_until(is_unavailable)
            assert set(counts) <= {0, 1}
            response = client.get(path)
            assert expect_error(response, 503)["message"] == "The service is not available just now."
            assert response.headers["retry-after"] == "1"
        wait_until(lambda: client.get(path).status_code == 200)


def test_probes_occupy_one_place_in_the_queue_for_connections(
    new_api: Callable[..., Api], counting_database: CountingDatabase, postgres: Postgres
) -> None:
    port = find_free_port()
    api = new_api(counting_database.name, DATABASE_POOL_SIZE="1", METRICS_PORT=str(port))

    def count_waiting() -> float:
        return scrape(port, "parley_database_connections", server="primary", state="waiting")

    with running(api), unlimited_client(api) as client, ThreadPoolExecutor(30) as threads:
        assert client.get("/api/chats").status_code == 200
        with locked_chats(postgres.url(counting_database.name)) as count_lock_waiters:
            held = threads.submit(post_chat, client)
            wait_until(lambda: count_lock_waiters() == 1)
            wait_until(lambda: client.get("/readyz").status_code == 503)
            paths = ["/readyz", "/openapi.json", "/docs/events"]
            counts = []

            def is_unavailable() -> bool:
                responses = [threads.submit(client.get, path) for path in paths * 9]
                counts.append(count_waiting())
                return {response.result().status_code for response in responses} == {503}

            wait_until(is_unavailable)
            assert max(counts) <= 2  # one probe and one fetch of the document
            wait_until(lambda: count_waiting() == 0)
        assert held.result().status_code == 201


def test_client_that_disconnects_does_not_cancel_the_shared_fetch(
    new_api: Callable[..., Api], counting_database: CountingDatabase
) -> None:
    port = find_free_port()
    api = patch_api(new_api(counting_database.name, METRICS_PORT=str(port)), "document.FETCH_TIMEOUT_SECONDS = 60")

    def count_disconnected() -> float:
        return scrape(port, "parley_requests_total", route="/openapi.json", status="499")

    with running(api), unlimited_client(api, "") as client, ThreadPoolExecutor(1) as threads:
        with counting_database.blocked() as count_blocked:
            with socket.create_connection(("127.0.0.1", api.port), timeout=10) as first:
                first.sendall(request_head("GET /openapi.json HTTP/1.1", {}))
                wait_until(lambda: count_blocked() == 1)
                other = threads.submit(client.get, "/openapi.json")
            wait_until(lambda: count_disconnected() == 1)
        assert other.result().status_code == 200
        assert counting_database.count_calls("get_field_schemas") == 1


def test_document_is_served_from_cache_while_the_database_is_blocked(
    new_api: Callable[..., Api], counting_database: CountingDatabase
) -> None:
    with (
        running(patch_api(new_api(counting_database.name), "document.MAX_AGE_SECONDS = 0")) as api,
        unlimited_client(api, "") as client,
    ):
        document = client.get("/openapi.json")
        with counting_database.blocked():
            assert client.get("/openapi.json").content == document.content
        wait_until(
            lambda: client.get("/openapi.json").content and counting_database.count_calls("get_field_schemas") > 2
        )


@pytest.mark.parametrize(("seconds", "logged_failures"), [("1_000_000", 1), ("0", 5)])
def test_failures_without_a_rate_limit_do_not_fill_the_log(
    new_api: Callable[..., Api], counting_database: CountingDatabase, seconds: str, logged_failures: int
) -> None:
    api = patch_api(
        new_api(counting_database.name),
        f"request.FAILURE_LOG_INTERVAL_SECONDS = {seconds}",
        "health.PROBE_MAX_AGE_SECONDS = 0",
    )
    with running(api), unlimited_client(api) as client, psycopg.connect(counting_database.url, autocommit=True) as dba:
        for function in ("check_readiness", "list_chats"):
            dba.execute(f"alter function api.{function} rename to {function}_away")
        for path in ("/readyz", "/api/chats"):
            for _ in range(5):
                expect_error(client.get(path), 500)
        events = Counter((line["event"], line.get("route")) for line in read_log(api.log))
    assert events == {
        ("GET /readyz failed", None): logged_failures,
        ("Request completed", "/readyz"): logged_failures,
        ("GET /api/chats failed", None): 5,
        ("Request completed", "/api/chats"): 5,
    }


# The storage


@contextmanager
def silent_bucket() -> Iterator[tuple[str, Callable[[], int]]]:
    """A server that accepts connections and never responds; yield its URL and a function that counts them."""
    accepted = []
    with socket.create_server(("127.0.0.1", 0), backlog=100) as server, ExitStack() as stack:
        server.setblocking(False)

        def count() -> int:
            with suppress(BlockingIOError):
                while True:
                    accepted.append(stack.enter_context(server.accept()[0]))
            return len(accepted)

        yield f"http://127.0.0.1:{server.getsockname()[1]}", count


def configure_bucket(url: str) -> dict[str, str]:
    """Return the settings for a bucket at this URL."""
    return {
        "STORAGE_URL": "s3://pictures", "AWS_ENDPOINT_URL": url, "AWS_REGION": "none",
        "AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret",
    }  # fmt: skip


def test_concurrent_reads_of_images_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.images.storage.MAX_CONCURRENT_READS", 3)

    def has_accepted(number: int) -> bool:
        return count_connections() == number

    async def read() -> None:
        storage = Storage.open("s3://pictures")
        reads = [asyncio.create_task(storage.get(f"{number}.png")) for number in range(12)]
        for done in range(0, 12, 3):
            await asyncio.to_thread(wait_until, partial(has_accepted, done + 3))
            for read in reads[done : done + 3]:
                read.cancel()
        await asyncio.gather(*reads, return_exceptions=True)

    with silent_bucket() as (url, count_connections):
        for name, value in configure_bucket(url).items():
            monkeypatch.setenv(name, value)
        asyncio.run(read())


def test_request_that_waits_too_long_for_the_storage_gets_503(
    new_api: Callable[..., Api], shared_database: str
) -> None:
    with silent_bucket() as (url, _):
        api = patch_api(
            new_api(shared_database, **configure_bucket(url)),
            "storage.MAX_CONCURRENT_READS = 1",
            "storage.TIMEOUT_SECONDS = 0.5",
        )
        with running(api), unlimited_client(api, "") as client, ThreadPoolExecutor(8) as threads:
            paths = [f"/images/{number:064x}.png" for number in range(8)]
            for response in threads.map(client.get, paths):
                expect_error(response, 503)


def test_invalid_image_name_does_not_reach_the_storage(new_api: Callable[..., Api], shared_database: str) -> None:
    with silent_bucket() as (url, count_connections):
        with running(new_api(shared_database, **configure_bucket(url))) as api, unlimited_client(api, "") as client:
            for name in ("", "x.png", f"{'A' * 64}.png", "a" * 64, f"{'a' * 64}.svg", f"{'a' * 64}.png/x"):
                for method in ("GET", "HEAD"):
                    assert client.request(method, f"/images/{name}").status_code == 404
            for method in ("POST", "OPTIONS", "DELETE"):
                expect_error(client.request(method, f"/images/{'a' * 64}.png"), 405)
        assert count_connections() == 0
