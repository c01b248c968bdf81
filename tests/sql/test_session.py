"""Who a statement speaks for, and how users come to be known."""

import hashlib
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from api.dev.postgres import Postgres
from tests.database import Connection, add_session, call, expect_error
from tests.tokens import new_user
from tests.waiting import wait_until


def users(connection: Connection, *ids: str) -> list[tuple[str | None, ...]]:
    """Their id, name, email and image."""
    return connection.execute(
        "select id, name, email, image from next_auth.users where id = any (%s) order by id", [list(ids)]
    ).fetchall()


def sign_in(connection: Connection, **identity: str) -> None:
    """A statement of a user with this identity."""
    connection.execute("select api.list_chats() from session.authenticate(%s)", [json.dumps(identity)])


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


def digest(session_token: str) -> str:
    """What the API looks a database session up by."""
    return hashlib.sha256(session_token.encode()).hexdigest()


def user_of(connection: Connection, *session_tokens: str) -> str:
    """The user of a statement that is made with these tokens."""
    row = connection.execute(
        "select api.get_profile() #>> '{user,id}' from session.authenticate(%s)",
        [json.dumps({"session_digests": [digest(session_token) for session_token in session_tokens]})],
    ).fetchone()
    assert row is not None
    return str(row[0])


@pytest.mark.parametrize(
    "session_token", ["b6b2ff1c-4f0e-4b7e-9c1d-0d6e6f9a1a11", "\\", "\\x41", "\\\\101 \\", "é☃ '\"", "", "a" * 2000]
)
def test_a_database_session_is_its_users(dba: Connection, session_token: str) -> None:
    user = new_user()
    add_session(dba, user, session_token=session_token)
    dba.execute("set local role app")
    assert user_of(dba, session_token) == user
    for other in (session_token + "x", session_token.upper() + "X", digest(session_token)):
        with expect_error(401), dba.transaction():
            user_of(dba, other)


def test_a_database_session_ends(dba: Connection) -> None:
    user = new_user()
    current, old = add_session(dba, user, "1 second"), add_session(dba, user, "0 seconds")
    assert user_of(dba, current) == user
    with expect_error(401), dba.transaction():
        user_of(dba, old)
    dba.execute('delete from next_auth.sessions where "sessionToken" = %s', [current])
    with expect_error(401):
        user_of(dba, current)


def test_of_several_tokens_the_first_with_a_session_counts(dba: Connection) -> None:
    users = [new_user(), new_user()]
    tokens = [add_session(dba, user) for user in users]
    assert user_of(dba, "stale", *tokens) == users[0]
    assert user_of(dba, *reversed(tokens)) == users[1]
    with expect_error(401):
        user_of(dba, "stale", "too")


def test_a_deleted_user_stays_out(dba: Connection) -> None:
    user = new_user()
    sign_in(dba, sub=user, name="Ada", email=f"{user}@x.org")
    session_token = add_session(dba, user)
    assert user_of(dba, session_token) == user
    dba.execute("delete from next_auth.users where id = %s", [user])
    for identity in ({"sub": user}, {"sub": user, "email": f"{user}@x.org"}):
        with expect_error(401), dba.transaction():
            sign_in(dba, **identity)
    with expect_error(401), dba.transaction():
        user_of(dba, session_token)
    sign_in(dba, sub=new_user(), email=f"{user}@x.org")
    with expect_error(401), dba.transaction():
        sign_in(dba, sub=user, email=f"{user}@x.org")  # the address is somebody else's by now
    assert users(dba, user) == []


def test_an_inserted_row_lets_a_deleted_user_back_in_until_they_are_deleted_again(dba: Connection) -> None:
    user = new_user()
    for _ in range(2):
        dba.execute("insert into next_auth.users (id) values (%s)", [user])
        sign_in(dba, sub=user)
        dba.execute("delete from next_auth.users where id = %s", [user])
        with expect_error(401), dba.transaction():
            sign_in(dba, sub=user)


def test_who_is_being_deleted_does_not_come_back(
    postgres: Postgres, shared_database: str, app: Connection, dba: Connection
) -> None:
    user = new_user()
    with ThreadPoolExecutor(1) as thread, psycopg.connect(postgres.url(shared_database)) as deleting:
        deleting.execute("insert into next_auth.users (id) values (%s)", [user])
        deleting.commit()
        deleting.execute("delete from next_auth.users where id = %s", [user])
        signing_in = thread.submit(sign_in, app, sub=user)
        blocked = "select where %s = any (pg_blocking_pids(%s))"
        pids = [deleting.info.backend_pid, app.info.backend_pid]
        wait_until(lambda: dba.execute(blocked, pids).rowcount == 1)
        deleting.commit()
        with expect_error(401):
            signing_in.result()


@pytest.mark.parametrize("length", [1, 255])
def test_a_subject_may_be(app: Connection, length: int) -> None:
    assert call(app, "é" * length, "list_chats")["total"] == 0


@pytest.mark.parametrize("identity", [{}, {"sub": ""}, {"sub": " "}, {"sub": "x" * 256}, {"sub": None}, [], "x"])
def test_a_subject_may_not_be(app: Connection, identity: object) -> None:
    with expect_error(401):
        app.execute("select from session.authenticate(%s)", [json.dumps(identity)])


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
    assert app.execute("select api.check_readiness()").fetchone() == (True,)
    with expect_error(503) as error, dba.transaction():
        dba.execute("select api.check_readiness()")
    assert "row-level security does not bind the role postgres" in error.message
    dba.execute("create role bypasser bypassrls in role parley_api")
    dba.execute("set local role bypasser")
    with expect_error(503):
        dba.execute("select api.check_readiness()")


def test_a_request_id_names_the_transaction_and_is_gone_after_it(postgres: Postgres, shared_database: str) -> None:
    def name() -> str:
        row = connection.execute("select current_setting('application_name')").fetchone()
        assert row is not None
        return str(row[0])

    begin, identity = "select session.authenticate(%s, %s)", json.dumps({"sub": new_user()})
    url = f"{postgres.url(shared_database, 'app', 'app')}?application_name=mine"
    notices: list[str | None] = []
    with psycopg.connect(url, autocommit=True) as connection:
        connection.add_notice_handler(lambda notice: notices.append(notice.message_primary))
        for given, named in (("a-1", "parley a-1"), ("x" * 200, f"parley {'x' * 56}"), (None, "mine")):
            with connection.transaction():
                connection.execute(begin, [identity, given])
                assert name() == named
            assert name() == "mine"
    assert notices == []  # it is cut before PostgreSQL says that it must be
