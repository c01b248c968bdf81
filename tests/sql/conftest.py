"""A database of a test's own, for what must be committed and seen by others."""

import itertools
from collections.abc import Callable, Iterator

import psycopg
import pytest

from api.dev.postgres import Postgres
from tests.support import Connection

_numbers = itertools.count(1)


@pytest.fixture
def own_url(postgres: Postgres, new_database: Callable[[str], str]) -> str:
    """Its URL, for a DBA."""
    return postgres.url(new_database(f"parley_own_{next(_numbers)}"))


@pytest.fixture
def own(own_url: str) -> Iterator[Connection]:
    """A DBA's connection to it, on which each statement commits."""
    with psycopg.connect(own_url, autocommit=True) as connection:
        yield connection
