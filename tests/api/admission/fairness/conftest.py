"""For each test file, an API with a database of its own."""

from collections.abc import Callable, Iterator

import pytest

from api.dev.process import find_free_port
from tests.api_process import Api, running
from tests.tokens import new_user


@pytest.fixture(scope="module")
def database(new_database: Callable[[str], str]) -> str:
    """A database for one test file."""
    return new_database(f"parley_{new_user().replace('-', '_')}")


@pytest.fixture(scope="module")
def api(new_api: Callable[..., Api], database: str) -> Iterator[Api]:
    """An API with a pool of the default size, in a database of its own."""
    with running(new_api(database, METRICS_PORT=str(find_free_port()))) as api:
        yield api
