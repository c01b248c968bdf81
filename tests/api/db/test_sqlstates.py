"""Every SQLSTATE as a response: raised by the statement of a request, and by real outages, which end without a restart.

sql/README.md has the table of responses.
"""

import os
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import psycopg
import pytest

from api.dev.account import find_account
from api.dev.postgres import Postgres
from tests import ROOT
from tests.api.support import expect_error, locked_chats, post_chat, unlimited_client, wait_for_status
from tests.api_process import Api, running
from tests.servers import open_directory
from tests.test_docs import parse_table
from tests.waiting import wait_until

DATABASE = "parley_outages"
# Of every condition that PostgreSQL documents, but for completion without an error: success, warning, no data.
ERRORS: list[Any] = [error for error in vars(asyncpg.exceptions).values() if isinstance(error, type)]
SQLSTATES = sorted({error.sqlstate for error in ERRORS if issubclass(error, asyncpg.PostgresError) and error.sqlstate})
COMPLETIONS = ("00", "01", "02")
UNKNOWN_SQLSTATES = ["ABCDE", "ZZ000", "42ZZZ", "P0123"]


@pytest.fixture(scope="module")
def database(new_database: Callable[[str], str]) -> str:
    return new_database(DATABASE)


@pytest.fixture(scope="module")
def api(new_api: Callable[..., Api], database: str) -> Iterator[Api]:
    with running(new_api(database, DATABASE_POOL_SIZE="2")) as api:
        yield api


@pytest.fixture
def client(api: Api) -> Iterator[httpx.Client]:
    """A client of a registered user, for whom the API is available now."""
    with unlimited_client(api) as client:
        wait_until(lambda: client.get("/api/chats").status_code == 200)
        wait_for_status(client, "/readyz", 200)
        yield client


@pytest.fixture
def dba(postgres: Postgres) -> Iterator[psycopg.Connection]:
    with psycopg.connect(postgres.url("postgres"), autocommit=True) as dba:
        yield dba


def end_sessions(dba: psycopg.Connection) -> None:
    """End the sessions of the API, so that it opens new ones."""
    dba.execute("select pg_terminate_backend(pid, 5000) from pg_stat_activity where usename = 'app'")


def test_every_sqlstate_has_the_documented_status(
    api: Api, client: httpx.Client, postgres: Postgres, database: str
) -> None:
    table = parse_table((ROOT / "sql" / "README.md").read_text(), "SQLSTATE or class")
    documented = {state.strip("`"): int(status) for state, status, _ in table}
    others = documented.pop("all others")
    states = [state for state in SQLSTATES if not state.startswith(COMPLETIONS)] + UNKNOWN_SQLSTATES
    classes = {state[:2] for state in states}
    assert len(classes) > 35
    assert {state[:2] for state in documented} <= classes
    with psycopg.connect(postgres.url(database), autocommit=True) as dba:
        dba.execute(
            "create table public.next_error (state text); insert into public.next_error values ('');"
            "create function public.fail() returns trigger language plpgsql security definer as $$ begin"
            " raise exception using errcode = (select state from public.next_error), message = 'the cause'; end $$;"
            "create trigger fail before insert on parley.chats for each statement execute function public.fail()"
        )
        try:
            found = {}
            for state in states:
                dba.execute("update public.next_error set state = %s", [state])
                response = post_chat(client)
                expect_error(response, response.status_code)
                found[state] = response.status_code
                assert "the cause" not in response.text
        finally:
            dba.execute("drop trigger fail on parley.chats; drop function public.fail; drop table public.next_error")
    assert found == {state: documented.get(state, documented.get(state[:2], others)) for state in states}
    assert api.log.read_text().count("found a service unavailable: ") >= list(found.values()).count(503)
    assert post_chat(client).status_code == 201


OUTAGES = {
    "the database was made read-only": (
        f"alter database {DATABASE} set default_transaction_read_only = on",
        f"alter database {DATABASE} reset default_transaction_read_only",
        "ReadOnlySQLTransactionError",
    ),
    "the login was disabled": ("alter role app nologin", "alter role app login", "InvalidAuthorizationSpecification"),
    "the password was changed": (
        "alter role app password 'other'",
        "alter role app password 'app'",
        "InvalidPasswordError",
    ),
    "the login has no connections left": (
        "alter role app connection limit 0",
        "alter role app connection limit -1",
        "TooManyConnectionsError",
    ),
    "the database accepts no connections": (
        f"alter database {DATABASE} allow_connections false",
        f"alter database {DATABASE} allow_connections true",
        "ObjectNotInPrerequisiteStateError",
    ),
    "the database may not be connected to": (
        f"revoke connect on database {DATABASE} from public",
        f"grant connect on database {DATABASE} to public",
        "InsufficientPrivilegeError",
    ),
    "the role was revoked": (
        "revoke parley_api from app",
        "grant parley_api to app",
        "InsufficientPrivilegeError",
    ),
}


@pytest.mark.parametrize("outage", OUTAGES)
def test_outage_is_a_503_and_ends_without_a_restart(
    api: Api, client: httpx.Client, dba: psycopg.Connection, outage: str
) -> None:
    begin, end, cause = OUTAGES[outage]
    log = len(api.log.read_text())
    end_sessions(dba)
    dba.execute(begin)
    try:
        end_sessions(dba)
        wait_until(lambda: cause in api.log.read_text()[log:] or post_chat(client).status_code not in {201, 503})
        response = post_chat(client)
        assert expect_error(response, 503)["message"] == "The service is not available just now."
        expect_error(wait_for_status(client, "/readyz", 503), 503)
        assert client.get("/healthz").status_code == 200
    finally:
        dba.execute(end)
    wait_until(lambda: post_chat(client).status_code == 201)
    wait_for_status(client, "/readyz", 200)
    assert [post_chat(client).status_code for _ in range(4)] == [201] * 4  # on each connection of the pool
    assert "Traceback" not in api.log.read_text()[log:]


def test_readiness_alone_finds_that_the_database_is_writable_again(
    client: httpx.Client, dba: psycopg.Connection
) -> None:
    """A load balancer sends no requests until /readyz succeeds, on sessions that were opened while it was read-only."""
    dba.execute(f"alter database {DATABASE} set default_transaction_read_only = on")
    end_sessions(dba)
    wait_for_status(client, "/readyz", 503)
    dba.execute(f"alter database {DATABASE} reset default_transaction_read_only")
    wait_for_status(client, "/readyz", 200)


def test_open_sessions_follow_a_server_that_becomes_read_only(client: httpx.Client, dba: psycopg.Connection) -> None:
    assert post_chat(client).status_code == 201
    dba.execute("alter system set default_transaction_read_only = on")
    dba.execute("select pg_reload_conf()")
    try:
        wait_until(lambda: post_chat(client).status_code == 503)
        expect_error(wait_for_status(client, "/readyz", 503), 503)
        assert client.get("/api/chats").status_code == 200  # reads are served
    finally:
        dba.execute("set default_transaction_read_only = off")
        dba.execute("alter system reset default_transaction_read_only")
        dba.execute("select pg_reload_conf()")
    wait_until(lambda: post_chat(client).status_code == 201)
    wait_for_status(client, "/readyz", 200)


@pytest.mark.parametrize("timeout", ["statement_timeout", "lock_timeout"])
def test_timeout_of_the_server_is_a_503(
    client: httpx.Client, dba: psycopg.Connection, postgres: Postgres, timeout: str
) -> None:
    dba.execute(f"alter role app set {timeout} = '100ms'")
    end_sessions(dba)
    wait_until(lambda: client.get("/api/chats").status_code == 200)
    try:
        with locked_chats(postgres.url(DATABASE)), ThreadPoolExecutor(1) as thread:
            expect_error(thread.submit(post_chat, client).result(), 503)
    finally:
        dba.execute(f"alter role app reset {timeout}")
        end_sessions(dba)
    wait_until(lambda: post_chat(client).status_code == 201)


def test_sessions_that_the_server_ends_by_a_timeout_are_replaced(
    client: httpx.Client, dba: psycopg.Connection, postgres: Postgres
) -> None:
    if dba.info.server_version < 17_00_00:
        pytest.skip("transaction_timeout exists since PostgreSQL 17")
    dba.execute("alter role app set transaction_timeout = '200ms'")
    end_sessions(dba)
    wait_until(lambda: client.get("/api/chats").status_code == 200)
    try:
        for _ in range(3):  # more than the pool has connections
            with locked_chats(postgres.url(DATABASE)), ThreadPoolExecutor(1) as thread:
                expect_error(thread.submit(post_chat, client).result(), 503)
    finally:
        dba.execute("alter role app reset transaction_timeout")
    wait_until(lambda: post_chat(client).status_code == 201)
    end_sessions(dba)
    wait_until(lambda: post_chat(client).status_code == 201)


@contextmanager
def small_file_system() -> Iterator[Path]:
    """A directory on a file system of 16 MB; skips the test without the privilege to mount one."""
    with open_directory() as path:
        mount = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=16m", "none", path], capture_output=True, check=False
        )
        if mount.returncode:
            pytest.skip("mounting a file system requires privileges")
        account = find_account()
        assert account
        (path / "tablespace").mkdir()
        os.chown(path / "tablespace", account.pw_uid, account.pw_gid)
        path.chmod(0o755)
        try:
            yield path / "tablespace"
        finally:
            subprocess.run(["umount", "--lazy", path], check=True)


def test_full_disk_is_a_503(client: httpx.Client, dba: psycopg.Connection, postgres: Postgres, database: str) -> None:
    with small_file_system() as path, psycopg.connect(postgres.url(database), autocommit=True) as owner:
        dba.execute(f"create tablespace small location '{path}'")
        owner.execute("create table public.filler (n int, t text) tablespace small")
        owner.execute("alter table public.filler alter t set storage plain")
        owner.execute("alter table parley.messages set tablespace small")
        messages = f"/api/chats/{post_chat(client).json()['id']}/messages"
        message = {"content": "x" * 2000}
        assert client.post(messages, json=message).status_code == 201
        try:
            with pytest.raises(psycopg.errors.DiskFull):
                owner.execute("insert into public.filler select n, repeat('x', 7000) from generate_series(1, 10000) n")

            def is_full() -> bool:
                return client.post(messages, json=message).status_code == 503

            wait_until(is_full)
            assert client.get(messages).status_code == 200
        finally:
            owner.execute("drop table public.filler")
        wait_until(lambda: client.post(messages, json=message).status_code == 201)
        owner.execute("alter table parley.messages set tablespace pg_default")
        owner.execute("checkpoint")
        dba.execute("drop tablespace small")
