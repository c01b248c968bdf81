"""Fixtures that several test files of the API share."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from api.admission import controller as admission
from api.settings import Settings
from tests.api.http.http1 import Attack
from tests.api.route_examples import RouteExamples, new_route_examples
from tests.api.support import unlimited_client
from tests.api_process import Api
from tests.browser import Browser, running_browser
from tests.tokens import SECRET, new_user


@pytest.fixture
def attack(api: Api) -> Iterator[Attack]:
    user = new_user()
    with unlimited_client(api, user) as client:
        yield Attack(api, client, user)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium, started once for each test file; skips the test where none is installed."""
    with running_browser() as browser:
        yield browser


@pytest.fixture
def route_examples(api: Api) -> Iterator[RouteExamples]:
    """A chat with its users, which a test may change."""
    with new_route_examples(api) as route_examples:
        yield route_examples


@pytest.fixture
def minimal_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set only the environment variables that the API requires."""
    for name in {*Settings.model_fields, "AUTH_SECRET", "NEXTAUTH_SECRET"}:
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("DATABASE_URL", "postgresql://app:app@127.0.0.1/parley")
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:6379/0")
    monkeypatch.setenv("NEXTAUTH_SECRET", SECRET)


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(60) as pool:
        yield pool


@pytest.fixture(scope="module")
def stopped_clock() -> Iterator[None]:
    """Stop the clock of admission, so that expensive requests cost nothing and no user has to pause."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(admission, "monotonic", lambda: 100.0)
        yield
