"""`python -m api`: the HTTP API, against the services that the environment names."""

import asyncio
import gc
import os
import resource
import signal
import socket
import sys
from contextlib import suppress
from multiprocessing import get_context

import asyncpg
from sanic import Sanic

from api.app import create_app
from api.db.pool import Database
from api.http.protocol import Protocol
from api.images.storage import Storage
from api.observability import logs
from api.settings import Settings
from api.shared import traces
from api.shared.settings import SettingsError

LAST_PORT = 65_535
MACOS_FILES = 10_240  # that a process may open where it says that there is no limit (OPEN_MAX)
BACKLOG = 4096  # connections that may wait to be taken; Linux lets those beyond it try again a second later


async def check_database(settings: Settings) -> None:
    """Raises SettingsError, with one line on why this database can't be served."""
    try:
        database = await Database.connect(settings)
    except (OSError, TimeoutError, ValueError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise SettingsError(f"DATABASE_URL: no connection to PostgreSQL: {type(error).__name__}") from None
    try:
        await database.call("select api.check_readiness()")
    except (asyncpg.InvalidSchemaNameError, asyncpg.UndefinedFunctionError, asyncpg.InsufficientPrivilegeError):
        problem = "no Parley database for this role: run `yoyo apply --batch` and grant it parley_api"
        raise SettingsError(f"DATABASE_URL: {problem}") from None
    except asyncpg.PostgresError as error:
        raise SettingsError(f"DATABASE_URL: {error.args[0]}") from None
    finally:
        await database.close()


def check_storage(settings: Settings) -> None:
    """Raises SettingsError when there is no such directory to write to. A bucket may be away for a while."""
    try:
        Storage.open(settings.storage_url)
    except OSError as error:
        raise SettingsError(f"STORAGE_URL: can't write to {error.filename}: {error.strerror}") from None


def new_server(host: str, port: int, *, is_shared: bool = False) -> socket.socket:
    """A socket that listens there, alone or with others; raises OSError when there can't be one."""
    family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    dualstack = family == socket.AF_INET6 and socket.has_dualstack_ipv6()
    return socket.create_server(address[:2], family=family, dualstack_ipv6=dualstack, reuse_port=is_shared)


def listen(settings: Settings) -> list[socket.socket]:
    """The socket of each worker, that listens; raises SettingsError when there can't be one.

    Linux deals connections out to sockets of one port by chance. From one socket that all have, the worker that is the
    first to wake takes most of what comes at once: of 64 connections often all. Elsewhere there is no such dealer.
    """
    try:
        server = new_server(settings.host, settings.port)  # what else listens there, for sharing or not, refuses this
        if settings.workers == 1 or sys.platform != "linux":
            return [server] * settings.workers
        server.close()
        return [new_server(settings.host, settings.port, is_shared=True) for _ in range(settings.workers)]
    except OSError as error:
        place = f"{settings.host}:{settings.port}"
        raise SettingsError(f"HOST or PORT: can't listen on {place}: {error.strerror}") from None


def check_metrics(settings: Settings) -> None:
    """Raises SettingsError when a worker can't listen for Prometheus."""
    if settings.metrics_port is None:
        return
    for port in range(settings.metrics_port, settings.metrics_port + settings.workers):
        if port == settings.port or port > LAST_PORT:
            what = "PORT" if port == settings.port else "no port"
            raise SettingsError(f"METRICS_PORT: {port}, which a worker needs, is {what}")
        try:
            new_server(settings.metrics_host, port).close()
        except OSError as error:
            problem = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror
            place = f"{settings.metrics_host}:{port}"
            raise SettingsError(f"METRICS_HOST or METRICS_PORT: can't listen on {place}: {problem}") from None


def allow_connections() -> None:
    """Lets this process have as many files open as it may: each connection is one, and the usual limit is 1,024."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = MACOS_FILES if hard == resource.RLIM_INFINITY else hard
    with suppress(ValueError, OSError):  # it is then as many as before
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def serve(settings: Settings, server: socket.socket, worker: int = 0) -> None:
    """Serves until SIGTERM or SIGINT, and then until what is in flight is answered."""
    app = create_app(settings, worker)
    app.prepare(sock=server, backlog=BACKLOG, protocol=Protocol, single_process=True, motd=False)
    # What there is by now stays; the garbage collector would hold up requests to look at it ever and again.
    gc.collect()
    gc.freeze()
    Sanic.serve_single(primary=app)


def serve_in_workers(settings: Settings, servers: list[socket.socket]) -> None:
    """Serves in processes, one for each socket. They end together: when told to, or when one of them ends."""
    ends = {signal.SIGTERM, signal.SIGINT, signal.SIGCHLD}
    signal.signal(signal.SIGCHLD, lambda *_: None)  # for what is ignored can't be waited for
    signal.pthread_sigmask(signal.SIG_BLOCK, ends)

    def work(worker: int) -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, {signal.SIGINT})  # Ctrl-C reaches all, but is the parent's to tell
        for server in servers:
            if server is not servers[worker]:  # which would take connections for as long as anybody has it
                server.close()
        serve(settings, servers[worker], worker)

    workers = [get_context("fork").Process(target=work, args=[worker]) for worker in range(settings.workers)]
    for worker in workers:
        worker.start()
    for server in servers:
        server.close()
    end = signal.sigwait(ends)
    for worker in workers:
        worker.terminate()
    for worker in workers:
        worker.join()
    if end == signal.SIGCHLD:
        sys.exit("parley: a worker ended by itself, so all did")


def main() -> None:
    """Checks the environment and the database, then serves until it is told to stop."""
    try:
        settings = Settings.load()
        logs.configure_logging(settings.log_format)
        if error := traces.find_configuration_error():
            raise SettingsError(error)  # noqa: TRY301 (as what the checks below raise)
        asyncio.run(check_database(settings))
        check_storage(settings)
        check_metrics(settings)
        servers = listen(settings)
    except SettingsError as error:
        sys.exit(f"parley: {error}")
    allow_connections()
    if settings.workers == 1:
        serve(settings, servers[0])
    else:
        serve_in_workers(settings, servers)


if __name__ == "__main__":
    main()
