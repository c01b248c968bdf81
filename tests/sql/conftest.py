"""The shared database, and databases of a test's own: a migrated one, for what must be committed, and an empty one."""

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from api.dev.postgres import Postgres
from tests.sql.support import copy_sources
from tests.support import Connection

_numbers = itertools.count(1)


@pytest.fixture
def no_leftovers(dba: Connection) -> None:
    """Hide what other tests deleted in the shared database, and no listener has removed yet."""
    dba.execute("delete from parley.chats where is_being_removed")
    dba.execute("delete from parley.deleted_users where is_being_removed")


@pytest.fixture
def own_url(postgres: Postgres, new_database: Callable[[str], str]) -> str:
    """The URL of a migrated one, for a DBA."""
    return postgres.url(new_database(f"parley_own_{next(_numbers)}"))


@pytest.fixture
def own(own_url: str) -> Iterator[Connection]:
    """A DBA's connection to it, on which each statement commits."""
    with psycopg.connect(own_url, autocommit=True) as connection:
        yield connection


@pytest.fixture
def url(postgres: Postgres) -> Iterator[str]:
    """The URL of an empty one."""
    with psycopg.connect(postgres.url("postgres"), autocommit=True) as connection:
        connection.execute("create database parley_migrations")
        yield postgres.url("parley_migrations")
        connection.execute("drop database parley_migrations with (force)")


@pytest.fixture
def own_sources(tmp_path: Path) -> Path:
    """A copy of sql/ and yoyo.ini that a test may change."""
    return copy_sources(tmp_path)
