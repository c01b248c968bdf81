"""Databases of tests: the shared one, migrated ones of a test's own for commits, and empty ones for migrations."""

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from api.dev.postgres import Postgres
from tests.database import Connection, call, new_chat
from tests.sql.access_matrix import ROLLUPS
from tests.sql.migration_files import copy_sources
from tests.sql.plans import LargeChat, fill_database, log_plans
from tests.tokens import new_user

_numbers = itertools.count(1)


@pytest.fixture
def no_pending_removals(dba: Connection) -> None:
    """Delete the rows of the shared database that other tests have marked as deleted, and no listener has purged."""
    dba.execute("delete from parley.chats where is_being_removed")
    dba.execute("delete from parley.deleted_users where is_being_removed")


@pytest.fixture(scope="module")
def shared_url(postgres: Postgres, shared_database: str) -> str:
    """The shared database, as a superuser."""
    return postgres.url(shared_database)


@pytest.fixture
def own_url(postgres: Postgres, new_database: Callable[[str], str]) -> str:
    """The URL of a migrated database of the test's own, for a DBA."""
    return postgres.url(new_database(f"parley_own_{next(_numbers)}"))


@pytest.fixture
def own_dba(own_url: str) -> Iterator[Connection]:
    """A DBA's connection to the migrated database, on which each statement commits."""
    with psycopg.connect(own_url, autocommit=True) as connection:
        yield connection


@pytest.fixture
def url(postgres: Postgres) -> Iterator[str]:
    """The URL of an empty database."""
    with psycopg.connect(postgres.url("postgres"), autocommit=True) as connection:
        connection.execute("create database parley_migrations")
        yield postgres.url("parley_migrations")
        connection.execute("drop database parley_migrations with (force)")


@pytest.fixture(scope="module")
def module_url(postgres: Postgres, new_database: Callable[[str], str]) -> str:
    """The URL of a migrated database for the tests of a module that commit."""
    return postgres.url(new_database(f"parley_log_{next(_numbers)}"))


@pytest.fixture
def module_dba(module_url: str) -> Iterator[Connection]:
    """A DBA's connection to the migrated database, on which each statement commits."""
    with psycopg.connect(module_url, autocommit=True) as connection:
        yield connection


@pytest.fixture
def own_sources(tmp_path: Path) -> Path:
    """The directory of a copy of sql/ and yoyo.ini that the test may change."""
    return copy_sources(tmp_path)


@pytest.fixture(scope="session")
def large_chat_template(postgres: Postgres, new_database: Callable[[str], str]) -> tuple[str, str, str]:
    """A database with 500 chats of a user, that user, and the largest of the chats."""
    name = new_database("parley_plans")
    with psycopg.connect(postgres.url(name), autocommit=True) as connection:
        return name, *fill_database(connection)


@pytest.fixture(scope="module")
def large_chat(postgres: Postgres, large_chat_template: tuple[str, str, str]) -> Iterator[LargeChat]:
    """A connection to a copy of that database, as the API's role, that logs plans; the user and the chat."""
    template, user, chat = large_chat_template
    name = f"{template}_{next(_numbers)}"
    with psycopg.connect(postgres.url("postgres"), autocommit=True) as dba:
        dba.execute(f"create database {name} template {template}")
        with psycopg.connect(postgres.url(name), autocommit=True) as connection:
            log_plans(connection)
            connection.execute("set session authorization app")
            yield connection, user, chat
        dba.execute(f"drop database {name}")


@pytest.fixture
def listener_connection(large_chat: LargeChat) -> Iterator[Connection]:
    """The connection of `large_chat`, as the listener's role."""
    connection, _, _ = large_chat
    connection.execute("set session authorization events")
    yield connection
    connection.execute("set session authorization app")


@pytest.fixture
def example_ids(dba: Connection) -> dict[str, str]:
    """Users, and a row in each table: a chat of an owner and a member. The values of the names in access_matrix.py."""
    names = {name: new_user(name) for name in ("owner", "member", "stranger", "newcomer", "deleted")}
    chat = new_chat(dba, names["owner"], names["member"])
    other_chat = new_chat(dba, names["stranger"])
    for name in ("newcomer", "deleted"):
        call(dba, names[name], "list_chats")
    dba.execute("delete from next_auth.users where id = %s", [names["deleted"]])
    for author in ("owner", "member"):
        call(dba, names[author], "send_message", chat, {"content": f"a word of the {author}"})
    dba.execute("insert into parley.message_blocks values (%s, %s, %s, 2, '{}')", [chat, chat, chat])
    dba.execute("delete from parley.settings where user_id = %s", [names["newcomer"]])
    dba.execute("insert into parley.image_cleanup (name) values (%s)", [names["owner"]])
    dba.execute("insert into parley.chat_images (name, chat_id, user_id) values ('x', %s, %s)", [chat, names["owner"]])
    response = "insert into parley.idempotency_keys (user_id, key, fingerprint, response) values (%s, 'key', '', '1')"
    dba.execute(response, [names["owner"]])
    dba.execute(
        'insert into next_auth.accounts ("userId", type, provider, "providerAccountId")'
        " values (%s, 'oauth', 'x', %s)",
        [names["owner"], names["owner"]],
    )
    dba.execute(
        'insert into next_auth.sessions ("userId", expires, "sessionToken") values (%s, now(), %s)',
        [names["owner"], names["owner"]],
    )
    dba.execute("insert into next_auth.verification_token values (%s, now(), 'token')", [names["owner"]])
    for table, (_, values, _) in ROLLUPS.items():
        query = sql.SQL(f"insert into parley.{table} values ({values}) on conflict do nothing")
        dba.execute(query.format(chat=sql.Literal(chat)))
    row = dba.execute("select max(id)::text from parley.outbox where chat_id = %s", [chat]).fetchone()
    assert row is not None
    return {**names, "chat": chat, "other_chat": other_chat, "event": row[0]}
