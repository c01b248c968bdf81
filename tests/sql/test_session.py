"""Authentication of statements: by claims of a token or a database session; new and deleted users."""

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


def read_users(connection: Connection, *ids: str) -> list[tuple[str | None, ...]]:
    """Return id, name, e-mail address and image of these users."""
    return connection.execute(
        "select id, name, email, image from next_auth.users where id = any (%s) order by id", [list(ids)]
    ).fetchall()


def authenticate(connection: Connection, **identity: str) -> None:
    """Execute a statement as the user of these claims."""
    connection.execute("select api.list_chats() from session.authenticate(%s)", [json.dumps(identity)])


def test_new_user_is_created_from_the_claims(dba: Connection) -> None:
    user = new_user()
    authenticate(dba, sub=user, name="Ada", email=f"{user}@x.org", picture="https://x.org/a.png")
    assert read_users(dba, user) == [(user, "Ada", f"{user}@x.org", "https://x.org/a.png")]
    authenticate(dba, sub=user, name="Another name")
    assert read_users(dba, user)[0][1] == "Ada"


def test_email_of_another_user_is_not_stored_for_a_new_user(dba: Connection) -> None:
    first, second = sorted((new_user(), new_user()))
    authenticate(dba, sub=first, email=f"{first}@x.org")
    authenticate(dba, sub=second, name="Second", email=f"{first}@X.ORG")
    assert read_users(dba, first, second) == [(first, None, f"{first}@x.org", None), (second, "Second", None, None)]


def digest(session_token: str) -> str:
    """Return the digest by which the API looks up a database session."""
    return hashlib.sha256(session_token.encode()).hexdigest()


def user_of_sessions(connection: Connection, *session_tokens: str) -> str:
    """Execute a statement with these session tokens; return its user."""
    row = connection.execute(
        "select api.get_profile() #>> '{user,id}' from session.authenticate(%s)",
        [json.dumps({"session_digests": [digest(session_token) for session_token in session_tokens]})],
    ).fetchone()
    assert row is not None
    return str(row[0])


@pytest.mark.parametrize(
    "session_token", ["b6b2ff1c-4f0e-4b7e-9c1d-0d6e6f9a1a11", "\\", "\\x41", "\\\\101 \\", "é☃ '\"", "", "a" * 2000]
)
def test_session_token_authenticates_its_user(dba: Connection, session_token: str) -> None:
    user = new_user()
    add_session(dba, user, session_token=session_token)
    dba.execute("set local role app")
    assert user_of_sessions(dba, session_token) == user
    for other in (session_token + "x", session_token.upper() + "X", digest(session_token)):
        with expect_error(401), dba.transaction():
            user_of_sessions(dba, other)


def test_expired_or_deleted_session_is_rejected(dba: Connection) -> None:
    user = new_user()
    current, old = add_session(dba, user, "1 second"), add_session(dba, user, "0 seconds")
    assert user_of_sessions(dba, current) == user
    with expect_error(401), dba.transaction():
        user_of_sessions(dba, old)
    dba.execute('delete from next_auth.sessions where "sessionToken" = %s', [current])
    with expect_error(401):
        user_of_sessions(dba, current)


def test_first_token_with_a_session_authenticates(dba: Connection) -> None:
    users = [new_user(), new_user()]
    tokens = [add_session(dba, user) for user in users]
    assert user_of_sessions(dba, "stale", *tokens) == users[0]
    assert user_of_sessions(dba, *reversed(tokens)) == users[1]
    with expect_error(401):
        user_of_sessions(dba, "stale", "too")


def test_deleted_user_is_rejected(dba: Connection) -> None:
    user = new_user()
    authenticate(dba, sub=user, name="Ada", email=f"{user}@x.org")
    session_token = add_session(dba, user)
    assert user_of_sessions(dba, session_token) == user
    dba.execute("delete from next_auth.users where id = %s", [user])
    for identity in ({"sub": user}, {"sub": user, "email": f"{user}@x.org"}):
        with expect_error(401), dba.transaction():
            authenticate(dba, **identity)
    with expect_error(401), dba.transaction():
        user_of_sessions(dba, session_token)
    authenticate(dba, sub=new_user(), email=f"{user}@x.org")
    with expect_error(401), dba.transaction():
        authenticate(dba, sub=user, email=f"{user}@x.org")  # the address now belongs to another user
    assert read_users(dba, user) == []


def test_deleted_user_is_accepted_again_after_an_insert(dba: Connection) -> None:
    user = new_user()
    for _ in range(2):
        dba.execute("insert into next_auth.users (id) values (%s)", [user])
        authenticate(dba, sub=user)
        dba.execute("delete from next_auth.users where id = %s", [user])
        with expect_error(401), dba.transaction():
            authenticate(dba, sub=user)


def test_user_deleted_by_a_concurrent_transaction_is_rejected(
    postgres: Postgres, shared_database: str, app: Connection, dba: Connection
) -> None:
    user = new_user()
    with ThreadPoolExecutor(1) as thread, psycopg.connect(postgres.url(shared_database)) as deleting:
        deleting.execute("insert into next_auth.users (id) values (%s)", [user])
        deleting.commit()
        deleting.execute("delete from next_auth.users where id = %s", [user])
        authenticating = thread.submit(authenticate, app, sub=user)
        blocked = "select where %s = any (pg_blocking_pids(%s))"
        pids = [deleting.info.backend_pid, app.info.backend_pid]
        wait_until(lambda: dba.execute(blocked, pids).rowcount == 1)
        deleting.commit()
        with expect_error(401):
            authenticating.result()


@pytest.mark.parametrize("length", [1, 255])
def test_valid_subject_is_accepted(app: Connection, length: int) -> None:
    assert call(app, "é" * length, "list_chats")["total"] == 0


@pytest.mark.parametrize("identity", [{}, {"sub": ""}, {"sub": " "}, {"sub": "x" * 256}, {"sub": None}, [], "x"])
def test_invalid_subject_is_rejected(app: Connection, identity: object) -> None:
    with expect_error(401):
        app.execute("select from session.authenticate(%s)", [json.dumps(identity)])


def test_first_statement_of_a_user_can_write(app: Connection) -> None:
    assert call(app, new_user(), "create_chat", {"title": "x"})["title"] == "x"


def test_user_is_created_once_by_concurrent_statements(postgres: Postgres, new_database: Callable[[str], str]) -> None:
    url = postgres.url(new_database("parley_first_seen"), "app", "app")
    ids = [new_user() for _ in range(5)]

    def authenticate_once(n: int) -> None:
        with psycopg.connect(url) as connection:
            authenticate(connection, sub=ids[n % 5], email=f"{ids[n % 5]}@x.org")

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(authenticate_once, range(40)))
    with psycopg.connect(postgres.url("parley_first_seen")) as connection:
        assert [row[0] for row in read_users(connection, *ids)] == sorted(ids)


def test_readiness_rejects_roles_that_row_level_security_does_not_bind(app: Connection, dba: Connection) -> None:
    assert app.execute("select api.check_readiness()").fetchone() == (True,)
    with expect_error(503) as error, dba.transaction():
        dba.execute("select api.check_readiness()")
    assert "row-level security does not bind the role postgres" in error.message
    dba.execute("create role bypasser bypassrls in role parley_api")
    dba.execute("set local role bypasser")
    with expect_error(503):
        dba.execute("select api.check_readiness()")


def test_statements_of_a_request_are_not_compiled(app: Connection) -> None:
    app.execute("set local jit = on")
    with app.transaction(force_rollback=True):
        app.execute("select session.authenticate(%s)", [json.dumps({"sub": new_user()})])
        assert app.execute("show jit").fetchone() == ("off",)
    assert app.execute("show jit").fetchone() == ("on",)


def test_request_id_is_the_application_name_until_the_end_of_the_transaction(
    postgres: Postgres, shared_database: str
) -> None:
    def application_name() -> str:
        row = connection.execute("select current_setting('application_name')").fetchone()
        assert row is not None
        return str(row[0])

    statement, identity = "select session.authenticate(%s, %s)", json.dumps({"sub": new_user()})
    url = f"{postgres.url(shared_database, 'app', 'app')}?application_name=mine"
    notices: list[str | None] = []
    with psycopg.connect(url, autocommit=True) as connection:
        connection.add_notice_handler(lambda notice: notices.append(notice.message_primary))
        for request_id, expected in (("a-1", "parley a-1"), ("x" * 200, f"parley {'x' * 56}"), (None, "mine")):
            with connection.transaction():
                connection.execute(statement, [identity, request_id])
                assert application_name() == expected
            assert application_name() == "mine"
    assert notices == []  # the name is truncated before PostgreSQL would do so with a notice
