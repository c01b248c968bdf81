"""The server processes: their listening sockets, one worker or several, and their shutdown."""

import gc
import resource
import signal
import socket
import sys
from contextlib import suppress
from multiprocessing import get_context

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


def serve(settings: Settings, server: socket.socket, worker: int = 0) -> None:
    """Serve until SIGTERM or SIGINT, and then until the requests in flight have their responses."""
    app = create_app(settings, worker)
    app.prepare(sock=server, backlog=BACKLOG, protocol=ParleyProtocol, single_process=True, motd=False)
    # Exclude the objects that exist now from garbage collection, which would delay requests to traverse them.
    gc.collect()
    gc.freeze()
    Sanic.serve_single(primary=app)


def serve_in_workers(settings: Settings, servers: list[socket.socket]) -> None:
    """Serve in one process for each socket. All are stopped on SIGTERM or SIGINT, or when one exits."""
    stop_signals = {signal.SIGTERM, signal.SIGINT, signal.SIGCHLD}
    signal.signal(signal.SIGCHLD, lambda *_: None)  # sigwait() does not return for a signal that is ignored
    signal.pthread_sigmask(signal.SIG_BLOCK, stop_signals)

    def run_worker(worker: int) -> None:
        # Ctrl-C reaches all processes; workers ignore it, and the parent sends them SIGTERM.
        signal.pthread_sigmask(signal.SIG_SETMASK, {signal.SIGINT})
        for server in servers:
            if (
                server is not servers[worker]
            ):  # an open copy would keep receiving connections after its worker has exited
                server.close()
        serve(settings, servers[worker], worker)

    workers = [get_context("fork").Process(target=run_worker, args=[worker]) for worker in range(settings.workers)]
    for worker in workers:
        worker.start()
    for server in servers:
        server.close()
    received = signal.sigwait(stop_signals)
    for worker in workers:
        worker.terminate()
    for worker in workers:
        worker.join()
    if received == signal.SIGCHLD:
        sys.exit("parley: a worker exited unexpectedly, so all were stopped")
