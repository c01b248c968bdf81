"""A Pusher server for the tests of each file, and connections to it."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from api.dev.pusher_process import PusherProcess
from tests.e2e.pusher_server.clients import Api, Socket, open_socket


@pytest.fixture(scope="module")
def pusher(directory: Path) -> Iterator[PusherProcess]:
    """A Pusher server, which logs nothing."""
    with PusherProcess(directory / "pusher-server") as server:
        yield server
        assert not server.log.read_text()


@pytest.fixture(scope="module")
def http_client() -> Iterator[httpx.Client]:
    with httpx.Client(timeout=10) as client:
        yield client


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture(scope="module")
def api(pusher: PusherProcess, http_client: httpx.Client) -> Api:
    return Api(pusher, http_client)


@pytest.fixture
def socket(pusher: PusherProcess, stack: ExitStack) -> Socket:
    return stack.enter_context(open_socket(pusher))


@pytest.fixture
def other_socket(pusher: PusherProcess, stack: ExitStack) -> Socket:
    return stack.enter_context(open_socket(pusher))
