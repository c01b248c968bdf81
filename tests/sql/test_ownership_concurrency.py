"""A transfer of ownership beside another change: the owner is a member in the end, or the chat has no owner."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import permutations
from typing import Any

import psycopg
import pytest

from api.dev.postgres import Postgres
from tests.database import Connection, call, new_chat
from tests.sql.removal import insert_chats
from tests.sql.sessions import connect_autocommit, is_waiting, run_in_parallel
from tests.tokens import new_user
from tests.waiting import wait_until

OWNER = {"role": "owner"}


@pytest.fixture(scope="module")
def url(postgres: Postgres, new_database: Callable[[str], str]) -> str:
    """The URL of a database of this file, as a superuser."""
    return postgres.url(new_database("parley_ownership"))


@pytest.fixture
def sessions(url: str) -> Iterator[tuple[Connection, Connection]]:
    """Two sessions, each statement of which commits."""
    with connect_autocommit(url) as first, connect_autocommit(url) as second:
        yield first, second


def owner_of(connection: Connection, chat: str) -> str | None:
    """Return the owner of a chat. Fails if the owner is not a member."""
    row = connection.execute(
        "select c.owner_id, m.user_id from parley.chats c"
        " left join parley.members m on m.chat_id = c.id and m.user_id = c.owner_id where c.id = %s",
        [chat],
    ).fetchone()
    assert row is not None
    assert row[0] == row[1]
    return row[0]  # type: ignore[no-any-return]


class Change:
    """A change of a chat of "owner", "member" and "other", whose ids have a suffix."""

    def __init__(self, chat: str, suffix: str) -> None:
        self.chat, self.suffix = chat, suffix

    def run(self, connection: Connection, name: str) -> None:
        """Make a change; raises psycopg.Error if it is rejected."""
        owner, member, other = (f"{user}{self.suffix}" for user in ("owner", "member", "other"))
        calls: dict[str, tuple[Any, ...]] = {
            "transfer": (owner, "update_member", self.chat, member, OWNER),
            "other transfer": (owner, "update_member", self.chat, other, OWNER),
            "removal of the new owner": (owner, "remove_member", self.chat, member),
            "leaving of the new owner": (member, "remove_member", self.chat, member),
            "deletion of the chat": (owner, "delete_chat", self.chat),
        }
        if name in calls:
            call(connection, *calls[name])
            return
        statements = {
            "deletion of the new owner's account": ("delete from next_auth.users where id = %s", [member]),
            "deletion of the owner's account": ("delete from next_auth.users where id = %s", [owner]),
            "removal by a DBA": ("delete from parley.members where chat_id = %s and user_id = %s", [self.chat, member]),
        }
        connection.execute(*statements[name])


@pytest.fixture
def change(sessions: tuple[Connection, Connection]) -> Change:
    suffix = new_user("")
    users = [f"{user}{suffix}" for user in ("owner", "member", "other")]
    return Change(new_chat(sessions[0], *users), suffix)


# For each change that is made first and each that waits for it: the SQLSTATE of the second, and the owner in the end.
OUTCOMES: dict[tuple[str, str], tuple[str | None, str | None]] = {
    ("transfer", "other transfer"): ("PT403", "member"),
    ("transfer", "removal of the new owner"): ("PT403", "member"),
    ("removal of the new owner", "transfer"): ("PT404", "owner"),
    ("transfer", "leaving of the new owner"): ("PT409", "member"),
    ("leaving of the new owner", "transfer"): ("PT404", "owner"),
    ("transfer", "deletion of the chat"): ("PT403", "member"),
    ("deletion of the chat", "transfer"): ("PT404", None),
    ("deletion of the new owner's account", "transfer"): ("PT404", "owner"),
    ("deletion of the owner's account", "transfer"): ("PT404", None),
    ("transfer", "removal by a DBA"): (None, None),
    ("removal by a DBA", "transfer"): ("PT404", "owner"),
}


@pytest.mark.parametrize(("first", "second"), OUTCOMES)
def test_second_change_sees_the_one_that_it_waited_for(
    sessions: tuple[Connection, Connection], change: Change, first: str, second: str
) -> None:
    with ThreadPoolExecutor(1) as thread:
        with sessions[0].transaction():
            change.run(sessions[0], first)
            done = thread.submit(change.run, sessions[1], second)
            wait_until(lambda: is_waiting(*sessions))
        error = done.exception(15)
    state, owner = OUTCOMES[first, second]
    assert (error.sqlstate if isinstance(error, psycopg.Error) else error) == state
    assert owner_of(sessions[0], change.chat) == (f"{owner}{change.suffix}" if owner else None)


@pytest.mark.parametrize("first", sorted({first for first, _ in OUTCOMES}))
def test_second_change_is_made_if_the_first_is_rolled_back(
    sessions: tuple[Connection, Connection], change: Change, first: str
) -> None:
    second = "transfer" if first != "transfer" else "other transfer"
    with ThreadPoolExecutor(1) as thread:
        with sessions[0].transaction(force_rollback=True):
            change.run(sessions[0], first)
            done = thread.submit(change.run, sessions[1], second)
            wait_until(lambda: is_waiting(*sessions))
        assert done.exception(15) is None
    new_owner = "member" if second == "transfer" else "other"
    assert owner_of(sessions[0], change.chat) == f"{new_owner}{change.suffix}"


def test_account_deleted_during_a_transfer_owns_nothing_after_the_purge(
    sessions: tuple[Connection, Connection], change: Change
) -> None:
    """The deletion skips the chat, whose row is locked, and leaves it to the listener."""
    with sessions[0].transaction():
        change.run(sessions[0], "transfer")
        change.run(sessions[1], "deletion of the new owner's account")
    assert owner_of(sessions[0], change.chat) == f"member{change.suffix}"
    sessions[0].execute("select listener.purge_memberships(100)")
    assert owner_of(sessions[0], change.chat) is None


def test_user_with_many_chats_whose_account_is_deleted_cannot_become_an_owner(
    sessions: tuple[Connection, Connection],
) -> None:
    owner, member = new_user(), new_user()
    chats = insert_chats(sessions[0], owner, 150, member)
    sessions[0].execute("delete from next_auth.users where id = %s", [member])
    memberships = "select chat_id::text from parley.members where user_id = %s"
    remaining = [chat for (chat,) in sessions[0].execute(memberships, [member]).fetchall()]
    assert len(remaining) == 50
    assert set(remaining) < set(chats)
    with pytest.raises(psycopg.Error) as caught:
        call(sessions[0], owner, "update_member", remaining[0], member, OWNER)
    assert caught.value.sqlstate == "PT404"
    assert owner_of(sessions[0], remaining[0]) == owner


def test_of_many_concurrent_transfers_each_has_one_event(url: str) -> None:
    users = [new_user() for _ in range(4)]
    with connect_autocommit(url) as connection:
        chat = new_chat(connection, *users)
        changes: list[str] = []
        rejections: list[str | None] = []
        pairs = list(permutations(users, 2))

        def work(session: Connection, n: int) -> None:
            owner, new_owner = pairs[n % len(pairs)]
            try:
                call(session, owner, "update_member", chat, new_owner, OWNER)
                changes.append(new_owner)
            except psycopg.Error as error:
                rejections.append(error.sqlstate)

        run_in_parallel(url, work, 10 * len(pairs))
        assert set(rejections) == {"PT403"}
        query = (
            "select seq, payload ->> 'userId' from parley.outbox"
            " where chat_id = %s and event = 'member:updated' order by seq"
        )
        recorded = connection.execute(query, [chat]).fetchall()
        assert sorted(user for _, user in recorded) == sorted(changes)
        assert [seq for seq, _ in recorded] == list(range(5, 5 + len(changes)))
        assert owner_of(connection, chat) == recorded[-1][1]
