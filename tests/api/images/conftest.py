"""Fixtures for the tests of profile images."""

from collections.abc import Callable, Iterator

import httpx
import pytest

from tests.api.support import unlimited_client
from tests.api_process import Api, running
from tests.tokens import new_user


@pytest.fixture
def client(api: Api) -> Iterator[httpx.Client]:
    """A client of a new user."""
    with unlimited_client(api) as client:
        yield client


@pytest.fixture
def isolated_api(new_api: Callable[..., Api], new_database: Callable[[str], str]) -> Iterator[tuple[Api, str]]:
    """An API with its own database and storage, for tests that break or inspect them; and the database's name."""
    database = new_database(f"parley_{new_user('images').replace('-', '_')}")
    with running(new_api(database)) as api:
        yield api, database
