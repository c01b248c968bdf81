"""Fixtures that several test files of the API share."""

from collections.abc import Iterator

import pytest

from tests.api.http1 import Attack
from tests.api.support import unlimited
from tests.support import Api, new_user


@pytest.fixture
def attack(api: Api) -> Iterator[Attack]:
    user = new_user()
    with unlimited(api, user) as client:
        yield Attack(api, client, user)
