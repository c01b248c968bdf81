"""Listening sockets: addresses that are not available, and IPv6."""

import socket
from contextlib import ExitStack

import pytest

from api.dev.process import find_free_port
from api.server import bind_sockets
from api.settings import Settings
from api.shared.settings import SettingsError

pytestmark = pytest.mark.usefixtures("minimal_environment")


def test_address_that_is_not_available_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        for host in ("127.0.0.1", "203.0.113.1"):
            monkeypatch.setenv("HOST", host)
            monkeypatch.setenv("PORT", port)
            with pytest.raises(SettingsError) as caught:
                bind_sockets(Settings.load())
            assert str(caught.value).startswith(f"HOST or PORT: can't listen on {host}:{port}: ")


def test_port_that_another_process_shares_is_not_available(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0), reuse_port=True) as taken:
        monkeypatch.setenv("PORT", str(taken.getsockname()[1]))
        for workers in ("1", "2"):
            monkeypatch.setenv("WORKERS", workers)
            with pytest.raises(SettingsError, match="HOST or PORT: can't listen on"):
                bind_sockets(Settings.load())


@pytest.mark.parametrize("workers", ["1", "2"])
def test_ipv6_sockets_accept_ipv4_too(monkeypatch: pytest.MonkeyPatch, workers: str) -> None:
    monkeypatch.setenv("HOST", "::")
    monkeypatch.setenv("PORT", str(find_free_port()))
    monkeypatch.setenv("WORKERS", workers)
    with ExitStack() as stack:
        servers = [stack.enter_context(server) for server in bind_sockets(Settings.load())]
        assert len(servers) == int(workers)
        for host in ("127.0.0.1", "::1"):
            client = stack.enter_context(socket.create_connection((host, servers[0].getsockname()[1]), timeout=5))
            assert client.getpeername()[0] == host
