"""Who a statement speaks for, and how users come to be known."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from api.dev.postgres import Postgres
from tests.support import Connection, call, new_user, refused


def users(connection: Connection, *ids: str) -> list[tuple[str | None, ...]]:
    """Their id, name, email and image."""
    return connection.execute(
        "select id, name, email, image from next_auth.users where id = any (%s) order by id", [list(ids)]
    ).fetchall()


def sign_in(connection: Connection, **identity: str) -> None:
    """A statement of a user with this identity."""
    connection.execute("select api.list_chats() from session.begin(%s)", [json.dumps(identity)])


def test_a_first_seen_user_is_known_by_the_token(dba: Connection) -> None:
    user = new_user()
    sign_in(dba, sub=user, name="Ada", email=f"{user}@x.org", picture="https://x.org/a.png")
    assert users(dba, user) == [(user, "Ada", f"{user}@x.org", "https://x.org/a.png")]
    sign_in(dba, sub=user, name="Somebody else")
    assert users(dba, user)[0][1] == "Ada"


def test_two_identities_with_one_address_are_two_users(dba: Connection) -> None:
    first, second = sorted((new_user(), new_user()))
    sign_in(dba, sub=first, email=f"{first}@x.org")
    sign_in(dba, sub=second, name="Second", email=f"{first}@X.ORG")
    assert users(dba, first, second) == [(first, None, f"{first}@x.org", None), (second, "Second", None, None)]


@pytest.mark.parametrize("length", [1, 255])
def test_a_subject_may_be(app: Connection, length: int) -> None:
    assert call(app, "é" * length, "list_chats")["total"] == 0


@pytest.mark.parametrize("identity", [{}, {"sub": ""}, {"sub": " "}, {"sub": "x" * 256}, {"sub": None}, [], "x"])
def test_a_subject_may_not_be(app: Connection, identity: object) -> None:
    with refused(401):
        app.execute("select from session.begin(%s)", [json.dumps(identity)])


def test_the_first_statement_of_a_user_may_write(app: Connection) -> None:
    assert call(app, new_user(), "create_chat", {"title": "x"})["title"] == "x"


def test_a_user_is_created_once_under_concurrency(postgres: Postgres, new_database: Callable[[str], str]) -> None:
    url = postgres.url(new_database("parley_first_seen"), "app", "app")
    ids = [new_user() for _ in range(5)]

    def one(n: int) -> None:
        with psycopg.connect(url) as connection:
            sign_in(connection, sub=ids[n % 5], email=f"{ids[n % 5]}@x.org")

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(one, range(40)))
    with psycopg.connect(postgres.url("parley_first_seen")) as connection:
        assert [row[0] for row in users(connection, *ids)] == sorted(ids)


def test_a_role_that_owns_the_tables_may_not_serve(app: Connection, dba: Connection) -> None:
    assert app.execute("select api.ready()").fetchone() == (True,)
    with refused(503) as refusal, dba.transaction():
        dba.execute("select api.ready()")
    assert "row-level security does not bind the role postgres" in refusal.message
    dba.execute("create role bypasser bypassrls in role parley_api")
    dba.execute("set local role bypasser")
    with refused(503):
        dba.execute("select api.ready()")
