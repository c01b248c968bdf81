"""Concurrent changes of members and owners: the member limit is exact, and changes see those that they waited for."""

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import psycopg
import pytest

from api.dev.postgres import Postgres
from tests.database import Connection, call, expect_error, new_chat
from tests.sql.sessions import connect_autocommit, is_waiting, run_in_parallel
from tests.tokens import new_user
from tests.waiting import wait_until


@pytest.fixture(scope="module")
def url(postgres: Postgres, new_database: Callable[[str], str]) -> str:
    """The URL of a database of this file, as the API's role."""
    return postgres.url(new_database("parley_membership_concurrency"), "app", "app")


def test_member_added_concurrently_is_added_once(url: str) -> None:
    owner, member = new_user(), new_user()
    with connect_autocommit(url) as connection:
        chat = new_chat(connection, owner)
        call(connection, member, "list_chats")
    states: list[str | None] = []

    def work(connection: Connection, _: int) -> None:
        try:
            call(connection, owner, "add_member", chat, {"userId": member})
            states.append(None)
        except psycopg.Error as error:
            states.append(error.sqlstate)

    run_in_parallel(url, work, 10)
    assert sorted(states, key=str) == [None] + ["PT409"] * 9


@contextmanager
def chat_with_one_free_place(url: str) -> Iterator[tuple[Connection, Connection, str]]:
    """Two sessions of a DBA, and a chat of an owner and a member that can have one more; there are 20 other users."""
    with connect_autocommit(url) as first, connect_autocommit(url) as second:
        chat = new_chat(first, "owner", "member")
        first.execute("update parley.limits set members_per_chat = 3")
        first.execute("insert into next_auth.users (id) select 'user-' || n from generate_series(0, 19) n")
        yield first, second, chat


ADD = "insert into parley.members (chat_id, user_id) values (%s, %s)"


def test_one_of_many_concurrent_additions_gets_the_last_place(own_url: str) -> None:
    with chat_with_one_free_place(own_url) as (first, _, chat):
        states: list[str | None] = []

        def work(connection: Connection, n: int) -> None:
            try:
                if n % 2:
                    call(connection, "owner", "add_member", chat, {"userId": f"user-{n}"})
                else:
                    connection.execute(ADD, [chat, f"user-{n}"])
                states.append(None)
            except psycopg.Error as error:
                states.append(error.sqlstate)

        run_in_parallel(own_url, work, 20)
        assert sorted(states, key=str) == [None] + ["PT409"] * 19
        assert first.execute("select count(*) from parley.members").fetchone() == (3,)


@pytest.mark.parametrize(
    ("isolation", "state"), [("read committed", "PT409"), ("repeatable read", "40001"), ("serializable", "40001")]
)
def test_addition_counts_the_member_that_it_waited_for(own_url: str, isolation: str, state: str) -> None:
    with chat_with_one_free_place(own_url) as (first, second, chat), ThreadPoolExecutor(1) as thread:
        second.execute(f"set default_transaction_isolation = '{isolation}'")
        with first.transaction():
            first.execute(ADD, [chat, "user-1"])
            adding = thread.submit(second.execute, ADD, [chat, "user-2"])
            wait_until(lambda: is_waiting(first, second))
        error = adding.exception()
        assert isinstance(error, psycopg.Error)
        assert error.sqlstate == state
        assert first.execute("select count(*) from parley.members").fetchone() == (3,)


@pytest.mark.parametrize("is_rolled_back", [False, True])
def test_addition_gets_the_place_of_the_removal_that_it_waited_for(own_url: str, is_rolled_back: bool) -> None:
    with chat_with_one_free_place(own_url) as (first, second, chat), ThreadPoolExecutor(1) as thread:
        first.execute(ADD, [chat, "user-0"])
        with first.transaction(force_rollback=is_rolled_back):
            call(first, "member", "remove_member", chat, "member")
            adding = thread.submit(call, second, "owner", "add_member", chat, {"userId": "user-1"})
            wait_until(lambda: is_waiting(first, second))
        error = adding.exception()
        assert (getattr(error, "sqlstate", None) == "PT409") == is_rolled_back
        assert first.execute("select count(*) from parley.members").fetchone() == (3,)


def test_assert_owner_raises_not_found_for_a_chat_deleted_meanwhile(url: str) -> None:
    owner, member = new_user(), new_user()
    with psycopg.connect(url) as connection, connect_autocommit(url) as other:
        chat = new_chat(other, owner, member)
        for user, status in ((member, 403), (owner, 404)):
            connection.execute(
                "select parley.select_chat(%s) from session.authenticate(%s)", [chat, json.dumps({"sub": user})]
            )
            if user == owner:
                call(other, owner, "delete_chat", chat)
            with expect_error(status):
                connection.execute("select parley.assert_owner(%s)", [chat])
            connection.rollback()


@pytest.mark.parametrize("function", ["update_chat", "delete_chat"])
def test_change_that_waited_for_a_new_owner_is_forbidden(postgres: Postgres, url: str, function: str) -> None:
    owner, other = new_user(), new_user()
    with (
        connect_autocommit(url) as connection,
        connect_autocommit(postgres.url("parley_membership_concurrency")) as dba,
        ThreadPoolExecutor(1) as thread,
    ):
        chat = new_chat(connection, owner, other, title="Before")
        with dba.transaction():
            dba.execute("update parley.chats set owner_id = %s where id = %s", [other, chat])
            body = [{"title": "After"}] if function == "update_chat" else []
            changing = thread.submit(call, connection, owner, function, chat, *body)
            wait_until(lambda: is_waiting(dba, connection))
        error = changing.exception()
        assert isinstance(error, psycopg.Error)
        assert error.sqlstate == "PT403"
        assert call(connection, other, "get_chat", chat)["title"] == "Before"


def test_addition_that_waited_for_the_deletion_of_its_chat_raises_not_found(url: str) -> None:
    owner, member = new_user(), new_user()
    with connect_autocommit(url) as first, connect_autocommit(url) as second, ThreadPoolExecutor(1) as thread:
        chat = new_chat(first, owner)
        call(first, member, "list_chats")
        with first.transaction():
            call(first, owner, "delete_chat", chat)
            adding = thread.submit(call, second, owner, "add_member", chat, {"userId": member})
            wait_until(lambda: is_waiting(first, second))
        error = adding.exception()
        assert isinstance(error, psycopg.Error)
        assert error.sqlstate == "PT404"
