"""A server process: its listening socket, its limits, and its shutdown."""

import gc
import resource
import socket
import sys
from contextlib import suppress

from sanic import Sanic

from api.app import create_app
from api.http.protocol import ParleyProtocol
from api.settings import Settings
from api.shared.settings import SettingsError

MACOS_OPEN_MAX = 10_240  # the most files that a process may open on macOS, even if the hard limit is infinite
BACKLOG = 4096  # connections that may wait to be accepted; with a full backlog, clients retry after a second


def bind_socket(host: str, port: int, *, reuse_port: bool = False) -> socket.socket:
    """Return a listening socket; with `reuse_port`, several may listen on one port. Raises OSError."""
    family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    dualstack = family == socket.AF_INET6 and socket.has_dualstack_ipv6()
    return socket.create_server(address[:2], family=family, dualstack_ipv6=dualstack, reuse_port=reuse_port)


def bind_sockets(settings: Settings) -> list[socket.socket]:
    """Return the listening socket of each worker. Raises SettingsError if HOST or PORT is not available.

    On Linux each worker has a socket of its own, and the kernel distributes connections at random. If workers share one
    socket, the first to wake accepts most of what arrives at once: of 64 connections often all. Other systems do not
    distribute, so workers share the socket there.
    """
    try:
        server = bind_socket(settings.host, settings.port)  # fails if another process listens, even one that shares
        if settings.workers == 1 or sys.platform != "linux":
            return [server] * settings.workers
        server.close()
        return [bind_socket(settings.host, settings.port, reuse_port=True) for _ in range(settings.workers)]
    except OSError as error:
        address = f"{settings.host}:{settings.port}"
        raise SettingsError(f"HOST or PORT: can't listen on {address}: {error.strerror}") from None


def raise_open_files_limit() -> None:
    """Raise the limit of open files to the hard limit: each connection is one, and the usual limit is 1,024."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = MACOS_OPEN_MAX if hard == resource.RLIM_INFINITY else hard
    with suppress(ValueError, OSError):  # keep the current limit
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))


def serve(
    settings: Settings, server: socket.socket, worker: int = 0, slots_connection: socket.socket | None = None
) -> None:
    """Serve until SIGTERM or SIGINT, and then until the requests in flight have their responses.

    One of several workers has a number and a connection to the parent, which assigns reencode slots.
    """
    app = create_app(settings, worker, slots_connection)
    app.prepare(sock=server, backlog=BACKLOG, protocol=ParleyProtocol, single_process=True, motd=False)
    # Exclude the objects that exist now from garbage collection, which would delay requests to traverse them.
    gc.collect()
    gc.freeze()
    Sanic.serve_single(primary=app)
