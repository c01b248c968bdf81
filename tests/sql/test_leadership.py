"""Leadership of the listeners: one session at a time, regardless of the advisory locks of other logins."""

import os
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import psycopg
import pytest

from api.dev.postgres import Postgres
from tests.database import Connection
from tests.waiting import wait_until

TRY_LEAD = "select listener.try_lead()"
LEADER_KEY = 4242108500  # parley.leader_lock_key(), which other logins may not call
LOCKS = """
    select classid::bigint << 32 | objid::bigint from pg_locks
    where locktype = 'advisory' and objsubid = 1 and granted and pid <> pg_backend_pid()
      and database = (select oid from pg_database where datname = current_database())"""
NEW_LOGINS = ("stranger", "watching_analyst")
STRANGERS = (*NEW_LOGINS, "app")
CANDIDATES, ATTEMPTS = 12, 15


@pytest.fixture(scope="module")
def database(postgres: Postgres, new_database: Callable[[str], str]) -> Iterator[str]:
    """A database, with logins without a role of Parley, with the API's and with an analyst's."""
    name = new_database("parley_leadership")
    with psycopg.connect(postgres.url(name), autocommit=True) as dba:
        for login in NEW_LOGINS:
            dba.execute(f"create role {login} login password '{login}'")
        dba.execute("grant parley_analyst to watching_analyst")
        yield name
        for login in NEW_LOGINS:
            dba.execute(f"drop role {login}")


@pytest.fixture
def connect(postgres: Postgres, database: str) -> Iterator[Callable[[str], Connection]]:
    """A function that connects a login; all connections are closed after the test."""
    connections: list[Connection] = []

    def connect_as(login: str) -> Connection:
        connections.append(psycopg.connect(postgres.url(database, login, login), autocommit=True))
        return connections[-1]

    yield connect_as
    for connection in connections:
        connection.close()


def try_lead(connection: Connection) -> bool:
    row = connection.execute(TRY_LEAD).fetchone()
    assert row is not None
    return bool(row[0])


def abort(connection: Connection) -> None:
    """End a connection without the protocol's message Terminate, as a crash does."""
    with socket.socket(fileno=os.dup(connection.fileno())) as connected:
        connected.shutdown(socket.SHUT_RDWR)


def lock_all(connection: Connection, function: str = "pg_try_advisory_lock") -> int:
    """Acquire the leader's key and every advisory lock that is visible; return how many were acquired."""
    keys = {LEADER_KEY, *(key for (key,) in connection.execute(LOCKS))}
    return sum(connection.execute(f"select {function}(%s)", [key]).fetchone() == (True,) for key in keys)


def test_leader_leads_until_its_session_ends(connect: Callable[[str], Connection]) -> None:
    first, second = connect("events"), connect("events")
    assert (try_lead(first), try_lead(second)) == (True, False)
    assert (try_lead(first), try_lead(second)) == (True, False)
    first.close()
    wait_until(lambda: try_lead(second))


@pytest.mark.parametrize("function", ["pg_try_advisory_lock", "pg_try_advisory_lock_shared"])
@pytest.mark.parametrize("login", STRANGERS)
def test_locks_of_other_logins_keep_no_listener_from_leading(
    connect: Callable[[str], Connection], login: str, function: str
) -> None:
    stranger = connect(login)
    assert lock_all(stranger, function) == 1
    for _ in range(3):
        first, second = connect("events"), connect("events")
        assert (try_lead(first), try_lead(second)) == (True, False)
        lock_all(stranger, function)
        assert try_lead(second) is False
        first.close()
        wait_until(partial(try_lead, second))
        second.close()


def test_lock_of_a_prepared_transaction_keeps_no_listener_from_leading(
    postgres: Postgres, database: str, connect: Callable[[str], Connection]
) -> None:
    with psycopg.connect(postgres.url(database), autocommit=True) as dba:
        dba.execute(f"begin; select pg_advisory_xact_lock({LEADER_KEY}); prepare transaction 'stranger'")
        try:
            assert try_lead(connect("events"))
        finally:
            dba.execute("rollback prepared 'stranger'")


def test_lock_of_a_listener_before_an_upgrade_counts(connect: Callable[[str], Connection]) -> None:
    old, new = connect("events"), connect("events")
    assert old.execute(f"select pg_try_advisory_lock({LEADER_KEY})").fetchone() == (True,)
    assert try_lead(new) is False
    old.close()
    wait_until(lambda: try_lead(new))


def test_leader_of_another_database_does_not_count(
    postgres: Postgres, shared_database: str, connect: Callable[[str], Connection]
) -> None:
    with psycopg.connect(postgres.url(shared_database, "events", "events"), autocommit=True) as other:
        assert try_lead(other)
        assert try_lead(connect("events"))


def test_leader_that_connected_during_an_attempt_counts(
    postgres: Postgres, database: str, connect: Callable[[str], Connection]
) -> None:
    stranger, waiting = connect("stranger"), connect("events")
    assert lock_all(stranger) == 1
    with psycopg.connect(postgres.url(database)) as dba, ThreadPoolExecutor(1) as pool:
        dba.execute("lock table parley.outbox_state in share update exclusive mode")
        attempt = pool.submit(try_lead, waiting)
        blocked = "select from pg_locks where pid = %s and not granted"
        wait_until(lambda: dba.execute(blocked, [waiting.info.backend_pid]).rowcount > 0)
        leader = connect("events")  # as if it had acquired the lock before the one that waits
        leader.execute(f"select pg_advisory_lock((7::bigint << 32) | {LEADER_KEY})")
        dba.rollback()
        assert attempt.result() is False


def test_candidates_never_lead_at_the_same_time(postgres: Postgres, database: str) -> None:
    leaders: list[int] = []
    terms: list[int] = []
    guard, stop = threading.Lock(), threading.Event()

    def harass() -> None:
        while not stop.is_set():
            with psycopg.connect(postgres.url(database, "stranger", "stranger"), autocommit=True) as stranger:
                lock_all(stranger)

    def compete(number: int) -> None:
        for _ in range(ATTEMPTS):
            with psycopg.connect(postgres.url(database, "events", "events"), autocommit=True) as candidate:
                if try_lead(candidate):
                    with guard:
                        leaders.append(number)
                        terms.append(number)
                        assert leaders == [number]
                    assert try_lead(candidate)
                    with guard:
                        leaders.remove(number)
                if number % 2:
                    abort(candidate)

    with ThreadPoolExecutor(CANDIDATES + 1) as pool:
        harassment = pool.submit(harass)
        try:
            for competition in [pool.submit(compete, number) for number in range(CANDIDATES)]:
                competition.result()
        finally:
            stop.set()
        harassment.result()
    assert len(set(terms)) > 1


def test_other_logins_cannot_lock_out_candidates(connect: Callable[[str], Connection]) -> None:
    for login in (*STRANGERS, "events"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege), connect(login).transaction() as transaction:
            transaction.connection.execute("lock table parley.outbox_state in share update exclusive mode")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        connect("app").execute(TRY_LEAD)
