"""The log: JSON lines with the request's ID, and without anything that users wrote."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import psycopg
import pytest

from api.dev.postgres import Postgres
from api.dev.process import find_free_port
from api.dev.valkey import Valkey
from tests.api.support import locked_chats, new_address, post_chat, send_raw, unlimited_client
from tests.api_process import Api, read_log, running
from tests.conftest import QUICK
from tests.servers import migrate, new_postgres
from tests.tokens import new_user, token
from tests.waiting import wait_until

HIDDEN = "hidden-word"


@pytest.fixture(scope="module")
def database(new_database: Callable[[str], str]) -> str:
    return new_database("parley_logs")


@pytest.fixture(scope="module")
def api(new_api: Callable[..., Api], database: str) -> Iterator[Api]:
    """An API that logs each request."""
    with running(new_api(database, LOG_REQUESTS_OVER="0")) as api:
        yield api


def test_request_is_logged_with_its_duration(api: Api) -> None:
    request_id = new_user("request")
    with unlimited_client(api, **{"X-Request-Id": request_id}) as client:
        assert client.post("/api/chats", json={"title": "x"}).status_code == 201
        missing = client.get("/api/chats/01900000-0000-7000-8000-000000000000/messages")
        assert missing.status_code == 404
    created, not_found = [line for line in read_log(api.log) if line.get("request_id") == request_id]
    assert created.pop("timestamp").endswith("Z")
    assert created["duration_ms"] >= sum(created["spans_ms"].values()) - 0.3
    assert created.pop("duration_ms") > 0
    assert created.pop("spans_ms").keys() == {"limit", "pool", "db"}
    assert created == {
        "event": "Request completed", "level": "info", "logger": "parley.requests", "request_id": request_id,
        "method": "POST", "route": "/api/chats", "status": 201,
    }  # fmt: skip
    assert (not_found["route"], not_found["status"]) == ("/api/chats/{chatId}/messages", 404)


def test_failure_is_one_line_with_its_traceback_and_no_user_text(api: Api, postgres: Postgres, database: str) -> None:
    request_id, before = new_user("request"), len(read_log(api.log))
    with unlimited_client(api) as client, psycopg.connect(postgres.url(database), autocommit=True) as dba:
        dba.execute(f"alter table next_auth.users add constraint zoo check (name <> '{HIDDEN}')")
        try:
            headers = {"X-Request-Id": request_id}
            assert client.put("/api/profile", json={"name": HIDDEN}, headers=headers).status_code == 500
        finally:
            dba.execute("alter table next_auth.users drop constraint zoo")
    error, request = read_log(api.log)[before:]
    assert (error["level"], error["event"], error["request_id"]) == ("error", "PUT /api/profile failed", request_id)
    assert error["exception"].startswith("Traceback (most recent call last):\n")
    assert "CheckViolationError: new row for relation" in error["exception"]
    assert (request["request_id"], request["status"]) == (request_id, 500)
    assert HIDDEN not in api.log.read_text()


@pytest.mark.parametrize(
    "failure",
    [
        "select new.title::int into n",
        "select 1 from to_tsquery(new.title || ' & & x') into n",
        "raise exception 'zoo' using hint = new.title",
    ],
)
def test_error_message_that_quotes_user_text_is_redacted(
    api: Api, postgres: Postgres, database: str, failure: str
) -> None:
    before = len(read_log(api.log))
    with unlimited_client(api) as client, psycopg.connect(postgres.url(database), autocommit=True) as dba:
        dba.execute(f"""
            create function parley.zoo() returns trigger language plpgsql as
            $$ declare n int; begin {failure}; return new; end $$;
            create trigger zoo before insert on parley.chats for each row execute function parley.zoo()""")
        try:
            assert client.post("/api/chats", json={"title": HIDDEN}).status_code == 500
        finally:
            dba.execute("drop function parley.zoo cascade")
    error, _ = read_log(api.log)[before:]
    assert error["exception"].startswith("Traceback (most recent call last):\n")
    assert HIDDEN not in api.log.read_text()


def test_log_has_no_token_query_body_or_path(api: Api) -> None:
    session, before = token(HIDDEN), len(read_log(api.log))
    client = httpx.Client(base_url=api.url, headers={"X-Forwarded-For": new_address()})
    with client:
        client.get(f"/api/search?search={HIDDEN}", headers={"Authorization": f"Bearer {session}"})
        client.get("/api/chats", headers={"Cookie": f"authjs.session-token={session}"})
        client.get(f"/api/chats?limit={HIDDEN}", headers={"Authorization": f"Bearer {HIDDEN}"})
        client.get(f"/api/chats/{HIDDEN}")
        client.get(f"/{HIDDEN}")
        client.request(HIDDEN.upper(), "/api/chats")
        client.post("/api/chats", content=HIDDEN, headers={"Authorization": f"Bearer {session}"})
    send_raw(api, f"{HIDDEN}\r\n\r\n".encode())
    wait_until(lambda: len(read_log(api.log)) == before + 8)
    text = api.log.read_text()
    assert HIDDEN not in text.lower()
    assert session not in text
    assert session.split(".")[1] not in text


def test_unavailable_storage_is_one_line_without_the_name_of_an_image(
    new_api: Callable[..., Api], database: str
) -> None:
    storage = {
        "STORAGE_URL": "s3://parley", "AWS_ENDPOINT_URL": f"http://127.0.0.1:{find_free_port()}",
        "AWS_ALLOW_HTTP": "true", "AWS_REGION": "none", "AWS_ACCESS_KEY_ID": HIDDEN, "AWS_SECRET_ACCESS_KEY": HIDDEN,
    }  # fmt: skip
    name = "0123456789abcdef" * 4
    with running(new_api(database, **storage)) as api, unlimited_client(api) as client:
        assert client.get(f"/images/{name}.png").status_code == 503
        away, _ = read_log(api.log)
    assert away["event"].startswith("GET /images/{name} found a service unavailable: GenericError: Generic S3 error: ")
    assert "\n" not in away["event"]
    assert name not in api.log.read_text()
    assert HIDDEN not in api.log.read_text()


def test_line_outside_a_request_has_no_request_id(new_api: Callable[..., Api], database: str) -> None:
    with running(new_api(database, REDIS_URL="redis://127.0.0.1:1")) as api, unlimited_client(api) as client:
        assert client.get("/api/chats").status_code == 200
        (away,) = read_log(api.log)
        assert (
            away["event"]
            == "Redis is unavailable; this process enforces the rate limit by its own counts: ConnectionError"
        )
        assert "request_id" not in away


@pytest.mark.slow
def test_task_that_outlives_its_request_has_no_request_id(directory: Path, valkey: Valkey) -> None:
    end = "select pg_terminate_backend(pid) from pg_stat_activity where usename = 'app' and application_name = 'parley'"
    with new_postgres(directory / new_user("postgres"), **QUICK) as postgres:
        migrate(postgres)
        url = postgres.url("parley")
        api = Api(directory, postgres.url("parley", "app", "app"), valkey.url())
        with (
            running(api),
            unlimited_client(api, **{"X-Request-Id": "finished"}) as client,
            ThreadPoolExecutor() as threads,
        ):
            with locked_chats(url) as count_waiting:
                responses = [threads.submit(post_chat, client) for _ in range(2)]
                wait_until(lambda: count_waiting() == 2)
            assert [response.result().status_code for response in responses] == [201, 201]
            with psycopg.connect(url, autocommit=True) as dba:  # One of the connections was not opened by a request.
                dba.execute(f"{end} order by backend_start limit 1")
            postgres.kill()
            wait_until(lambda: read_log(api.log))  # The pool tries to open a new one.
            assert not [line for line in read_log(api.log) if "request_id" in line]


@pytest.mark.parametrize("seconds", ["60", "inf"])
def test_fast_and_successful_requests_are_not_logged(new_api: Callable[..., Api], database: str, seconds: str) -> None:
    with running(new_api(database, LOG_REQUESTS_OVER=seconds)) as api, unlimited_client(api) as client:
        assert client.get("/api/chats").status_code == 200
        assert client.get("/api/nope").status_code == 404
        assert not api.log.read_text()


def test_log_format_text_writes_plain_lines(new_api: Callable[..., Api], database: str) -> None:
    with running(new_api(database, LOG_FORMAT="text", LOG_REQUESTS_OVER="0")) as api, unlimited_client(api) as client:
        assert client.get("/api/chats", headers={"X-Request-Id": "read-me"}).status_code == 200
        line = api.log.read_text().splitlines()[-1]
        assert "Request completed" in line
        assert "request_id=read-me" in line
        assert "route=/api/chats" in line
