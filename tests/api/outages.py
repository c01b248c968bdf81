"""Outages of servers: suspended, so that connections stay open and nothing responds, or killed."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psutil

from api.dev.process import Server


@contextmanager
def suspended(server: Server) -> Iterator[None]:
    """Suspend all processes of a server for the duration of a block."""
    assert server.child is not None
    leader = psutil.Process(server.child.pid)
    leader.suspend()  # first, so that it starts and ends no children meanwhile
    processes = leader.children(recursive=True)
    for process in processes:
        process.suspend()
    try:
        yield
    finally:
        for process in (leader, *processes):
            with suppress(psutil.NoSuchProcess):  # a backend may end as soon as the first processes are resumed
                process.resume()


@contextmanager
def killed(server: Server) -> Iterator[None]:
    """Kill a server, and start it again at the end of a block."""
    server.kill()
    try:
        yield
    finally:
        server.start()
