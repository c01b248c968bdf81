"""Error responses have one form: a table of invalid requests, and details of PostgreSQL that are only logged."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import psycopg
import pytest

from api.dev.postgres import Postgres
from api.http.errors import CODES, ApiError, render
from tests.api.support import LIMIT_HEADERS, expect_error, unlimited_client
from tests.api_process import Api
from tests.tokens import new_user
from tests.waiting import wait_until

JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def client(api: Api) -> Iterator[httpx.Client]:
    """A client of a user with one chat."""
    with unlimited_client(api, new_user()) as client:
        yield client


@pytest.fixture(scope="module")
def chat_path(client: httpx.Client) -> str:
    """The path of that chat."""
    return "/api/chats/" + str(client.post("/api/chats", json={"title": "A chat"}).json()["id"])


def json_options(content: bytes | str) -> dict[str, object]:
    return {"content": content, "headers": JSON}


def nest_arrays(depth: int) -> str:
    return "[" * depth + "]" * depth


@pytest.mark.parametrize(
    ("method", "path", "options", "status"),
    [
        ("POST", "/", {}, 405),
        ("GET", "/nope", {}, 404),
        ("GET", "/api", {}, 404),
        ("GET", "/api/nope", {}, 404),
        ("GET", "/api/chats/{chat}/nope", {}, 404),
        ("GET", "/api/chats//messages", {}, 404),
        ("GET", "//api/chats", {}, 404),
        ("GET", "/API/chats", {}, 404),
        ("GET", "/%61pi/chats", {}, 404),
        ("DELETE", "/healthz", {}, 405),
        ("PATCH", "/api/chats", {}, 405),
        ("BREW", "/api/chats", {}, 405),
        ("BREW", "/nope", {}, 404),
        ("GET", "{chat}x", {}, 404),
        ("GET", "/api/chats/1", {}, 404),
        ("GET", "/api/chats/%00", {}, 400),
        ("GET", "/api/chats/%FF%FE", {}, 404),
        ("GET", "/api/chats/%ED%A0%80", {}, 404),
        ("GET", "/api/chats/%zz%", {}, 404),
        ("GET", "/api/chats/" + "x" * 7000, {}, 404),
        ("DELETE", "{chat}/members/%00", {}, 400),
        ("DELETE", "{chat}/members/%FF", {}, 404),
        ("DELETE", "{chat}/members/" + "x" * 7000, {}, 404),
        ("GET", "{chat}/messages/%00", {}, 400),
        *(
            ("GET", f"{path}?{query}", {}, 400)
            for path in ("/api/chats", "{chat}/messages")
            for query in (
                *(f"page={value}" for value in ("0", "-1", "abc", "1e3", "9" * 30, "1.0", "%201", "+1", "%D9%A1")),
                *(f"limit={value}" for value in ("0", "101", "abc", "-1", "%FF", "%00")),
            )
        ),
        *(
            ("GET", f"{{chat}}/messages?{field}={value}", {}, 400)
            for field in ("startDate", "endDate")
            for value in (
                "2026-02-29",
                "2026-13-01",
                "2026-01-01T24:00:01Z",
                "2026-01-01T10:60Z",
                "2026-01-01T10:00%2B99:00",
                "0000-01-01",
                "-2026-01-01",
                "99999-01-01",
                "now",
                "infinity",
                "yesterday",
                "1795475760000",
                "2026-01-01%00",
            )
        ),
        ("GET", "{chat}/messages?type=video", {}, 400),
        ("GET", "{chat}/messages?type=TEXT", {}, 400),
        ("GET", "{chat}/messages?search=%00", {}, 400),
        ("GET", "{chat}/messages?search=" + "x" * 1001, {}, 400),
        *(
            ("POST", "/api/chats", json_options(content), 400)
            for content in (
                b"",
                b"{",
                b"title",
                b"{'title': 'x'}",
                b'{"title": "x",}',
                b'{"title": "x"} {}',
                b'{"title": "x" /* y */}',
                b'{"title": NaN}',
                b"null",
                b"true",
                b"1",
                b'"title"',
                b"[]",
                b'[{"title": "x"}]',
                b'{"title": null}',
                b'{"title": 1}',
                b'{"title": {"title": "x"}}',
                b'{"title": ""}',
                b'{"title": " \\t\\n"}',
                b'{"title": "x", "title": "y"}',
                b'{"title": "x", "color": "red"}',
                b'{"Title": "x"}',
                b'{"": "x"}',
                b'{"title": "\\u0000"}',
                b'{"title": "a\0b"}',
                b'{"\\u0000": "x"}',
                b'{"title": "\\ud800"}',
                b'{"title": "\\udc00\\ud800"}',
                b'{"title": "\\u12"}',
                b'{"title": "\\x"}',
                b'{"title": "\xff"}',
                b'{"title": "\xed\xa0\x80"}',
                b'{"title": "\xc0\xae"}',
                b'\xef\xbb\xbf{"title": "x"}',
                '{"title": "x"}'.encode("utf-16"),
                b'{"title": 1e400}',
                b'{"title": 1e999999999}',
                b'{"title": -0}',
                b'{"title": ' + b"9" * 200_000 + b"}",
                b'{"title": ' + nest_arrays(100_000).encode() + b"}",
                nest_arrays(500_000).encode(),
                b'{"a":' * 100_000,
                json.dumps({f"field {n}": n for n in range(20_000)}).encode(),
                b'{"title": "' + b"x" * 201 + b'"}',
            )
        ),
        ("POST", "/api/chats", {"content": b'{"title": "x"}', "headers": {}}, 415),
        ("POST", "/api/chats", {"content": b'{"title": "x"}', "headers": {"Content-Type": ""}}, 415),
        ("POST", "/api/chats", {"content": b'{"title": "x"}', "headers": {"Content-Type": "application/jsonx"}}, 415),
        ("POST", "/api/chats", {"content": b'{"title": "x"}', "headers": {"Content-Type": b"\xff"}}, 415),
        ("POST", "/api/chats", {"data": {"title": "x"}}, 415),
        ("POST", "/api/chats", {"files": {"title": b"x"}}, 415),
        ("POST", "{chat}/messages", json_options(b'{"content": "' + b"x" * 32_769 + b'"}'), 400),
        ("POST", "{chat}/messages", json_options(b'{"content": "x", "type": "video"}'), 400),
        ("POST", "{chat}/messages", json_options(b'{"content": "x", "type": null}'), 400),
        ("POST", "{chat}/members", json_options(b'{"userId": "\\u0000"}'), 400),
        ("POST", "{chat}/members", json_options(b'{"userId": "nobody has this id"}'), 400),
        ("POST", "{chat}/members", json_options(b'{"userId": "' + b"x" * 256 + b'"}'), 400),
        ("GET", "/api/chats", {"headers": {"Authorization": b"Bearer \xff\xfe"}}, 401),
        ("GET", "/api/chats", {"headers": {"Authorization": b"\xe2\x98\x83"}}, 401),
        ("GET", "/nope", {"headers": {"X-Request-Id": b"\xff", "X-Forwarded-For": b"\xff"}}, 404),
        ("GET", "/nope", {"headers": {"Host": b"\xff"}}, 400),
    ],
    ids=lambda value: repr(value)[:60],
)
def test_invalid_request_gets_an_error_response(
    client: httpx.Client, chat_path: str, method: str, path: str, options: dict[str, object], status: int
) -> None:
    response = client.request(method, path.replace("{chat}", chat_path), **options)  # type: ignore[arg-type]
    error = expect_error(response, status)
    assert "retry-after" not in response.headers
    assert not any(word in json.dumps(error) for word in ("Traceback", "asyncpg", "sanic", "PL/pgSQL", "SQLSTATE"))


def test_retryable_errors_have_retry_after() -> None:
    retry_after = {status: render(ApiError(status, "No.")).headers.get("Retry-After") for status in CODES}
    assert {status: seconds for status, seconds in retry_after.items() if seconds} == {429: "1", 503: "1"}
    for status in CODES:
        assert render(ApiError(status, "No.", headers={"Retry-After": "7"})).headers["Retry-After"] == "7"


def test_all_invalid_fields_are_named_at_once(client: httpx.Client, chat_path: str) -> None:
    error = expect_error(
        client.post(f"{chat_path}/messages", json={"content": " ", "type": "video", "color": "red"}), 400
    )
    assert error == {
        "code": "validation_error",
        "message": "The request has invalid fields.",
        "details": {
            "fields": {
                "content": "must not be blank",
                "type": "must be one of: text, code, image",
                "color": "is not a known field",
            }
        },
    }


def test_text_is_returned_unchanged(client: httpx.Client, chat_path: str) -> None:
    text = " \\ud800 \\ \"'</script>\r\n\t\u007f\u0085\u2028☃ 𝄞 e\u0301 \ufeff{$1} %s "
    sent = client.post(f"{chat_path}/messages", json={"content": text}).json()
    assert client.get(f"{chat_path}/messages/{sent['id']}").json()["content"] == text


def test_empty_query_parameter_counts_as_absent(client: httpx.Client, chat_path: str) -> None:
    empty = client.get(f"{chat_path}/messages?page=&limit=&type=&search=&startDate=&endDate=&include=")
    assert empty.json() == client.get(f"{chat_path}/messages").json()


def test_only_responses_under_api_have_rate_limit_headers(client: httpx.Client) -> None:
    for path in ("/api", "/api/nope", "/api/chats/"):
        assert client.get(path).headers.keys() >= LIMIT_HEADERS
    for path in ("/", "/nope", "/healthz", "/readyz", "/apis", "/api.json"):
        assert not client.get(path).headers.keys() & LIMIT_HEADERS, path


def test_details_of_an_unexpected_error_are_only_logged(
    api: Api, client: httpx.Client, postgres: Postgres, shared_database: str
) -> None:
    rename = "alter function api.{} rename to {}"
    with psycopg.connect(postgres.url(shared_database), autocommit=True) as dba:
        dba.execute(rename.format("list_chats", "list_no_chats"))
        try:
            response = client.get("/api/chats", headers={"X-Request-Id": "find-me-in-the-log"})
        finally:
            dba.execute(rename.format("list_no_chats", "list_chats"))
    assert expect_error(response, 500) == {"code": "internal_error", "message": "The server made an error."}
    assert response.headers["x-request-id"] == "find-me-in-the-log"
    assert client.get("/api/chats").status_code == 200
    log = api.log.read_text()
    assert "find-me-in-the-log" in log
    assert "UndefinedFunctionError: function api.list_chats" in log


def test_user_deleted_during_a_request_gets_401(api: Api, postgres: Postgres, shared_database: str) -> None:
    user = new_user()
    waiting_transactions = "select from pg_locks where locktype = 'transactionid' and not granted"
    with (
        unlimited_client(api, user) as client,
        psycopg.connect(postgres.url(shared_database), autocommit=True) as dba,
        ThreadPoolExecutor() as threads,
    ):
        assert client.get("/api/chats").status_code == 200
        with dba.transaction():
            dba.execute("delete from next_auth.users where id = %s", [user])
            response = threads.submit(client.post, "/api/chats", json={"title": "x"})
            wait_until(lambda: dba.execute(waiting_transactions).rowcount > 0)
        expect_error(response.result(), 401)
