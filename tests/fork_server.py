"""A process that has imported the API and the listener, and forks for each of them that a test starts.

Imports take most of the CPU time of a start. For each line of JSON from its socket the process forks, and the child
runs a module or a program as `python -m` and `python -c` do. The process reports ids and exit codes of its children.
"""

import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from api.dev.process import ChildProcess, tie_to_parent
from tests import ROOT


class ForkServer:
    """The interface of the tests to the process, which runs for a block."""

    def __enter__(self) -> Self:
        self._socket, other = socket.socketpair()
        self._reports = self._socket.makefile("r")
        self._exit_codes: dict[int, int] = {}
        self._pids: list[int] = []
        self._lock = threading.Lock()
        with other:
            command = [sys.executable, "-W", "error", "-m", "tests.fork_server", str(other.fileno())]
            self._child = ChildProcess("fork server", command, cwd=ROOT, pass_fds=[other.fileno()])
        return self

    def __exit__(self, *_: object) -> None:
        self._reports.close()
        self._socket.close()
        self._child.stop(signal.SIGTERM)

    def spawn(
        self, name: str, command: Sequence[str | Path], *, log: Path, cwd: Path, env: Mapping[str, str]
    ) -> "ForkedChild":
        """Run `python … -m MODULE` or `python … -c PROGRAM` in a fork."""
        *_, kind, program = command
        assert not [name for name in env if name.startswith("PYTHON")], "only a new interpreter reads these"
        request = {"kind": kind, "program": program, "log": str(log), "cwd": str(cwd), "environment": dict(env)}
        log.touch(0o600)  # a test may read it before the child has begun
        log_start = log.stat().st_size
        self._socket.sendall(json.dumps(request).encode() + b"\n")
        while not self._pids:
            self.receive(10)
        return ForkedChild(name, Fork(self, self._pids.pop()), log, log_start)

    def exit_code(self, pid: int) -> int | None:
        """Return the exit code of a child, or None while it runs."""
        self.receive(0)
        return self._exit_codes.get(pid)

    def receive(self, seconds: float) -> None:
        """Read the reports that have arrived, or that arrive within a number of seconds."""
        with self._lock:
            while select.select([self._socket], [], [], seconds)[0]:
                report = json.loads(self._reports.readline())
                if "code" in report:
                    self._exit_codes[report["pid"]] = report["code"]
                else:
                    self._pids.append(report["pid"])
                seconds = 0


class Fork:
    """A fork, with the methods of subprocess.Popen that `ChildProcess` uses."""

    def __init__(self, server: ForkServer, pid: int) -> None:
        self.pid = pid
        self._server = server

    def poll(self) -> int | None:
        """Return the exit code, or None while it runs."""
        return self._server.exit_code(self.pid)

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def wait(self, seconds: float) -> int:
        """Wait for the exit code. Raises subprocess.TimeoutExpired."""
        deadline = time.monotonic() + seconds
        while (code := self.poll()) is None:
            if time.monotonic() > deadline:
                raise subprocess.TimeoutExpired("fork", seconds)
            self._server.receive(0.02)
        return code


class ForkedChild(ChildProcess):
    """A child of the fork server, with the interface of a child of this process."""

    def __init__(self, name: str, fork: Fork, log: Path, log_start: int) -> None:
        self.name, self._log, self._log_start = name, log, log_start
        self._process: Any = fork


# In the forking process


def serve(connection: socket.socket) -> dict[str, Any]:
    """Fork for each request. Return the request in the child; the process itself ends with the connection."""
    wakeup, end = socket.socketpair()
    end.setblocking(False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(end.fileno())
    with connection, wakeup, end, connection.makefile("r") as requests:
        while True:
            readable, _, _ = select.select([connection, wakeup], [], [])
            if connection in readable:
                line = requests.readline()
                if not line:
                    sys.exit()
                server, pid = os.getpid(), os.fork()
                if pid == 0:
                    signal.set_wakeup_fd(-1)
                    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                    os.setsid()
                    tie_to_parent(server, signal.SIGTERM)
                    request: dict[str, Any] = json.loads(line)
                    return request
                report(connection, pid=pid)
            if wakeup in readable:
                wakeup.recv(4096)
                report_exit_codes(connection)


def report(connection: socket.socket, **values: int) -> None:
    """Send a report."""
    connection.sendall(json.dumps(values).encode() + b"\n")


def report_exit_codes(connection: socket.socket) -> None:
    """Report the children that have ended."""
    pid = -1
    while pid:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid:
            report(connection, pid=pid, code=os.waitstatus_to_exitcode(status))


def run(request: Mapping[str, Any]) -> None:
    """Run the program of a request in this process."""
    os.chdir(request["cwd"])
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    log = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for output in (1, 2):
        os.dup2(log, output)
    os.environ.clear()
    os.environ.update(request["environment"])
    if request["kind"] == "-m":
        runpy.run_module(request["program"], run_name="__main__", alter_sys=True)
    else:
        exec(compile(request["program"], "<string>", "exec"), {"__name__": "__main__"})  # noqa: S102 (a test's own)


if __name__ == "__main__":
    import api.__main__  # noqa: F401
    import listener.__main__  # noqa: F401
    from api.shared import process_memory

    if os.geteuid() != 0:  # Only root could inspect the open files and connections of these processes.
        process_memory.protect_memory = lambda: None
    del sys.modules["api.__main__"], sys.modules["listener.__main__"]  # so that a child can run them as `__main__`
    run(serve(socket.socket(fileno=int(sys.argv[1]))))
