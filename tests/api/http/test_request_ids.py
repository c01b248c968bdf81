"""Request ids in PostgreSQL: pg_stat_activity and the server's log show which request a statement belongs to."""

import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from api.dev.postgres import Postgres
from api.routes import ROUTES, Route
from tests.api.route_examples import name_of, new_route_examples
from tests.api.support import locked_chats, post_chat, unlimited_client
from tests.api_process import Api, running
from tests.tokens import new_user
from tests.waiting import wait_until

NAMES = "select application_name from pg_stat_activity where datname = %s and usename = 'app'"


@pytest.fixture(scope="module")
def database(new_database: Callable[[str], str]) -> str:
    return new_database("parley_request_ids")


@pytest.fixture(scope="module")
def api(new_api: Callable[..., Api], database: str) -> Iterator[Api]:
    with running(new_api(database, PUSHER_KEY="key", PUSHER_SECRET="secret")) as api:
        yield api


@pytest.fixture(scope="module")
def find_statements(postgres: Postgres, api: Api, database: str) -> Iterator[Callable[[str], list[str]]]:
    """A function that returns the statements that PostgreSQL has logged with this application name."""
    with psycopg.connect(postgres.url(database), autocommit=True) as dba:
        dba.execute("alter system set log_line_prefix = '%m [%p] <%a> '")
        dba.execute("alter system set log_duration = off")
        dba.execute(f"alter database {database} set log_min_duration_statement = 0")
        dba.execute("select pg_reload_conf()")
        dba.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity where datname = %s and usename = 'app'", [database]
        )

        def logged(name: str) -> list[str]:
            line = rf"<{re.escape(name)}> LOG:  duration: [\d.]+ ms  execute [^:]*: (.*)"
            return re.findall(line, postgres.log.read_text())

        try:
            with unlimited_client(api) as client:
                wait_until(lambda: client.get("/readyz").is_success and logged("parley"))
            yield logged
        finally:
            dba.execute("alter system reset log_line_prefix")
            dba.execute("alter system reset log_duration")
            dba.execute("select pg_reload_conf()")


def test_application_name_shows_the_request_in_progress(postgres: Postgres, api: Api, database: str) -> None:
    request_id = new_user("request")
    with unlimited_client(api, **{"X-Request-Id": request_id}) as client, ThreadPoolExecutor() as threads:
        with locked_chats(postgres.url(database)) as count_waiting, psycopg.connect(postgres.url("postgres")) as dba:
            response = threads.submit(post_chat, client)
            wait_until(lambda: count_waiting() == 1)
            assert (f"parley {request_id}",) in dba.execute(NAMES, [database]).fetchall()
        assert response.result().headers["x-request-id"] == request_id
    with psycopg.connect(postgres.url("postgres")) as dba:
        assert set(dba.execute(NAMES, [database]).fetchall()) == {("parley",)}


@pytest.mark.parametrize("route", ROUTES, ids=name_of)
def test_each_statement_is_logged_under_its_request(
    api: Api, find_statements: Callable[[str], list[str]], route: Route
) -> None:
    with new_route_examples(api) as route_examples:
        response = route_examples.request(route_examples.owner, route)
    assert response.status_code == route.status
    name = f"parley {response.headers['x-request-id']}"
    wait_until(lambda: any(route.function in statement for statement in find_statements(name)))


def test_long_id_is_truncated_and_a_malformed_one_is_replaced(
    api: Api, find_statements: Callable[[str], list[str]]
) -> None:
    def get_id(request_id: str) -> str:
        with unlimited_client(api, **{"X-Request-Id": request_id}) as client:
            response = client.get("/api/chats")
        assert response.status_code == 200
        return str(response.headers["x-request-id"])

    long = new_user("x" * 100)
    assert get_id(long) == long
    wait_until(lambda: find_statements(f"parley {long}"[:63]))
    assert re.fullmatch("[0-9a-f]{32}", get_id("not> well-formed"))


@pytest.mark.usefixtures("find_statements")
def test_statement_that_fails_is_logged_under_its_request(postgres: Postgres, api: Api, database: str) -> None:
    request_id = new_user("request")
    with unlimited_client(api) as client, psycopg.connect(postgres.url(database), autocommit=True) as dba:
        dba.execute("alter table parley.chats add constraint zoo check (title <> 'zoo')")
        try:
            response = client.post("/api/chats", json={"title": "zoo"}, headers={"X-Request-Id": request_id})
        finally:
            dba.execute("alter table parley.chats drop constraint zoo")
    assert response.status_code == 500
    wait_until(lambda: f"<parley {request_id}> ERROR:  new row for relation" in postgres.log.read_text())
