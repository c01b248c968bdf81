"""Fixtures that several test files of the API share."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from api.admission import statements as admission
from tests.api.http.http1 import Attack
from tests.api.support import unlimited
from tests.browser import Browser, running_browser
from tests.support import Api, new_user


@pytest.fixture
def attack(api: Api) -> Iterator[Attack]:
    user = new_user()
    with unlimited(api, user) as client:
        yield Attack(api, client, user)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium, started once for each test file; skips the test where none is installed."""
    with running_browser() as browser:
        yield browser


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(60) as pool:
        yield pool


@pytest.fixture(scope="module")
def still_clock() -> Iterator[None]:
    """Stop the clock of admission, so that expensive requests cost nothing and no user has to pause."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(admission, "monotonic", lambda: 100.0)
        yield
