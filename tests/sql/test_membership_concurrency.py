"""Concurrent changes of members and owners: the limit of members holds, and late changes are rejected."""

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import psycopg
import pytest

from api.dev.postgres import Postgres
from tests.database import Connection, call, expect_error, new_chat
from tests.sql.sessions import connected, in_parallel, is_waiting
from tests.tokens import new_user
from tests.waiting import wait_until


@pytest.fixture(scope="module")
def url(postgres: Postgres, new_database: Callable[[str], str]) -> str:
    """A database whose transactions commit, as the API's role."""
    return postgres.url(new_database("parley_membership_concurrency"), "app", "app")


def test_of_two_who_add_the_same_member_one_is_told(url: str) -> None:
    owner, member = new_user(), new_user()
    with connected(url) as connection:
        chat = new_chat(connection, owner)
        call(connection, member, "list_chats")
    states: list[str | None] = []

    def work(connection: Connection, _: int) -> None:
        try:
            call(connection, owner, "add_member", chat, {"userId": member})
            states.append(None)
        except psycopg.Error as error:
            states.append(error.sqlstate)

    in_parallel(url, work, 10)
    assert sorted(states, key=str) == [None] + ["PT409"] * 9


@contextmanager
def full_but_for_one(url: str) -> Iterator[tuple[Connection, Connection, str]]:
    """Two sessions of a DBA, and a chat of owner and member with room for one more of those who are known."""
    with connected(url) as first, connected(url) as second:
        chat = new_chat(first, "owner", "member")
        first.execute("update parley.limits set members_per_chat = 3")
        first.execute("insert into next_auth.users (id) select 'user-' || n from generate_series(0, 19) n")
        yield first, second, chat


ADD = "insert into parley.members (chat_id, user_id) values (%s, %s)"


def test_of_many_who_add_the_last_member_one_is_not_refused(own_url: str) -> None:
    with full_but_for_one(own_url) as (first, _, chat):
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

        in_parallel(own_url, work, 20)
        assert sorted(states, key=str) == [None] + ["PT409"] * 19
        assert first.execute("select count(*) from parley.members").fetchone() == (3,)


@pytest.mark.parametrize(
    ("isolation", "state"), [("read committed", "PT409"), ("repeatable read", "40001"), ("serializable", "40001")]
)
def test_who_waits_to_add_counts_whom_another_added(own_url: str, isolation: str, state: str) -> None:
    with full_but_for_one(own_url) as (first, second, chat), ThreadPoolExecutor(1) as thread:
        second.execute(f"set default_transaction_isolation = '{isolation}'")
        with first.transaction():
            first.execute(ADD, [chat, "user-1"])
            adding = thread.submit(second.execute, ADD, [chat, "user-2"])
            wait_until(lambda: is_waiting(first, second))
        error = adding.exception()
        assert isinstance(error, psycopg.Error)
        assert error.sqlstate == state
        assert first.execute("select count(*) from parley.members").fetchone() == (3,)


@pytest.mark.parametrize("is_undone", [False, True])
def test_who_waits_for_a_removal_to_add_finds_its_place_free(own_url: str, is_undone: bool) -> None:
    with full_but_for_one(own_url) as (first, second, chat), ThreadPoolExecutor(1) as thread:
        first.execute(ADD, [chat, "user-0"])
        with first.transaction(force_rollback=is_undone):
            call(first, "member", "remove_member", chat, "member")
            adding = thread.submit(call, second, "owner", "add_member", chat, {"userId": "user-1"})
            wait_until(lambda: is_waiting(first, second))
        error = adding.exception()
        assert (getattr(error, "sqlstate", None) == "PT409") == is_undone
        assert first.execute("select count(*) from parley.members").fetchone() == (3,)


def test_an_owner_whose_chat_goes_meanwhile_is_told_that(url: str) -> None:
    owner, member = new_user(), new_user()
    with psycopg.connect(url) as asking, connected(url) as other:
        chat = new_chat(other, owner, member)
        for user, status in ((member, 403), (owner, 404)):
            asking.execute(
                "select parley.select_chat(%s) from session.authenticate(%s)", [chat, json.dumps({"sub": user})]
            )
            if user == owner:
                call(other, owner, "delete_chat", chat)
            with expect_error(status):
                asking.execute("select parley.assert_owner(%s)", [chat])
            asking.rollback()


@pytest.mark.parametrize("function", ["update_chat", "delete_chat"])
def test_who_stops_being_the_owner_meanwhile_is_told_that(postgres: Postgres, url: str, function: str) -> None:
    owner, other = new_user(), new_user()
    with (
        connected(url) as connection,
        connected(postgres.url("parley_membership_concurrency")) as dba,
        ThreadPoolExecutor(1) as thread,
    ):
        chat = new_chat(connection, owner, other, title="Theirs")
        with dba.transaction():
            dba.execute("update parley.chats set owner_id = %s where id = %s", [other, chat])
            body = [{"title": "Mine"}] if function == "update_chat" else []
            changing = thread.submit(call, connection, owner, function, chat, *body)
            wait_until(lambda: is_waiting(dba, connection))
        error = changing.exception()
        assert isinstance(error, psycopg.Error)
        assert error.sqlstate == "PT403"
        assert call(connection, other, "get_chat", chat)["title"] == "Theirs"


def test_a_member_added_to_a_chat_being_deleted_is_told_so(url: str) -> None:
    owner, member = new_user(), new_user()
    with connected(url) as first, connected(url) as second, ThreadPoolExecutor(1) as thread:
        chat = new_chat(first, owner)
        call(first, member, "list_chats")
        with first.transaction():
            call(first, owner, "delete_chat", chat)
            adding = thread.submit(call, second, owner, "add_member", chat, {"userId": member})
            wait_until(lambda: is_waiting(first, second))
        error = adding.exception()
        assert isinstance(error, psycopg.Error)
        assert error.sqlstate == "PT404"
