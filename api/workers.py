"""The parent of several workers: it starts them, replaces one that ends unexpectedly, and assigns reencode slots."""

import asyncio
import logging
import signal
import socket
import sys
from collections import deque
from multiprocessing import get_context
from time import monotonic
from typing import TYPE_CHECKING

from api.images.reencode_capacity import count_slots
from api.images.reencode_slots import ReencodeSlots
from api.images.shared_slots import serve_slots
from api.server import serve
from api.settings import Settings

if TYPE_CHECKING:
    from multiprocessing.context import ForkProcess

logger = logging.getLogger("parley.api")

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
MAX_REPLACEMENTS = 5  # of workers within REPLACEMENT_SECONDS; at the next unexpected end, all are stopped
REPLACEMENT_SECONDS = 60


class Workers:
    """The workers, each with its listening socket. Other requests are served while a worker is replaced."""

    def __init__(self, settings: Settings, servers: list[socket.socket]) -> None:
        self._settings, self._servers = settings, servers
        self._slots = ReencodeSlots(count_slots(settings.workers))
        self._loop = asyncio.new_event_loop()
        self._signals: asyncio.Queue[signal.Signals] = asyncio.Queue()
        self._workers: dict[int, ForkProcess] = {}  # by number
        self._connections: dict[int, socket.socket] = {}  # this process's end of each worker's connection
        self._slot_tasks: dict[int, asyncio.Task[None]] = {}
        self._replaced_at: deque[float] = deque(maxlen=MAX_REPLACEMENTS)

    def run(self) -> None:
        """Serve until SIGTERM or SIGINT, and then until all workers have ended. Exits with an error if they crash."""
        for number in (*STOP_SIGNALS, signal.SIGCHLD):
            self._loop.add_signal_handler(number, self._signals.put_nowait, number)
        for worker in range(self._settings.workers):
            self._start(worker)
        is_crashing = False
        # Workers are forked between the runs of the loop, so that none inherits a running one.
        while not is_crashing and self._loop.run_until_complete(self._signals.get()) == signal.SIGCHLD:
            is_crashing = not all(self._replace(worker) for worker in self._list_ended())
        self._stop()
        if is_crashing:
            limit = f"{MAX_REPLACEMENTS} workers ended unexpectedly in {REPLACEMENT_SECONDS} s"
            sys.exit(f"parley: more than {limit}, so all were stopped")

    def _start(self, worker: int) -> None:
        self._connections[worker], connection = socket.socketpair()
        process = get_context("fork").Process(target=self._run_worker, args=[worker, connection])
        # A signal that arrives in the fork before it has its own handlers would be reported to this process.
        signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
        process.start()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
        connection.close()
        self._workers[worker] = process
        self._slot_tasks[worker] = self._loop.create_task(serve_slots(self._slots, self._connections[worker]))

    def _run_worker(self, worker: int, connection: socket.socket) -> None:
        """Serve, in a fork of this process."""
        signal.set_wakeup_fd(-1)
        for number in (*STOP_SIGNALS, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        # Ctrl-C reaches all processes; workers ignore it, and the parent sends them SIGTERM.
        signal.pthread_sigmask(signal.SIG_SETMASK, {signal.SIGINT})
        # An open copy would keep connections alive after the end of the process that they belong to.
        for other in (*self._servers, *self._connections.values()):
            if other is not self._servers[worker]:
                other.close()
        serve(self._settings, self._servers[worker], worker, connection)

    def _list_ended(self) -> list[int]:
        return [worker for worker, process in self._workers.items() if not process.is_alive()]

    def _replace(self, worker: int) -> bool:
        """Replace a worker that has ended; return False if too many have. New connections wait for the replacement."""
        now, exit_code = monotonic(), self._workers[worker].exitcode
        if len(self._replaced_at) == MAX_REPLACEMENTS and now - self._replaced_at[0] < REPLACEMENT_SECONDS:
            return False
        self._replaced_at.append(now)
        logger.error("Worker %s ended unexpectedly, exit code %s; it is replaced", worker, exit_code)
        self._start(worker)
        return True

    def _stop(self) -> None:
        for server in self._servers:
            server.close()
        for process in self._workers.values():
            process.terminate()
        while len(self._list_ended()) < len(self._workers):  # Their uploads in progress still need slots.
            self._loop.run_until_complete(self._signals.get())
        self._loop.run_until_complete(asyncio.wait(self._slot_tasks.values()))
        self._loop.close()
