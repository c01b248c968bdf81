"""Child processes that do not outlive their parent.

`ChildProcess` is any child process, `Server` one that listens on a port, and run() waits for one that exits by itself.

Each child has its own session, so that Ctrl-C in a terminal reaches only the parent, which stops its children in order.
On Linux, the kernel also signals a child when the thread that started it ends without stopping it; start children from
the main thread.
"""

import contextlib
import ctypes
import functools
import http.client
import importlib.metadata
import itertools
import os
import random
import signal
import socket
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any, ClassVar, Self

STOP_SIGNALS = frozenset({signal.SIGINT, signal.SIGTERM, signal.SIGHUP})
START_TIMEOUT_SECONDS = 60
RESTART_SECONDS = 15  # during which a failed start is retried
RETRY_SECONDS = 0.1  # between these attempts

_LIBC = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None
_PR_SET_PDEATHSIG = 1
# Ports from 32768 up may be assigned to outgoing connections before a child listens.
_ports = random.sample(range(15_000, 32_000), 17_000)


class ProcessFailedError(Exception):
    """A child process failed; the message includes the end of its log."""


def poll_until(condition: Callable[[], bool], seconds: float, interval: float = 0.02) -> bool:
    """Poll until the condition holds; return False after `seconds`. `interval` is in seconds.

    Raises KeyboardInterrupt if one of STOP_SIGNALS is blocked and pending: a program that blocks them is interrupted
    only here.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        if signal.sigpending() & STOP_SIGNALS:
            raise KeyboardInterrupt
        if time.monotonic() > deadline:
            return False
        time.sleep(interval)
    return True


def open_private(path: Path, mode: str) -> IO[bytes]:
    """Open a binary file; if this creates it, only its owner can read it."""
    return open(path, mode, opener=functools.partial(os.open, mode=0o600))


def list_wheel_files(name: str) -> list[Path]:
    """Return all files of an installed wheel. Raises ImportError if it is not installed."""
    return [Path(str(file.locate())) for file in importlib.metadata.files(name) or ()]


class ChildProcess:
    """A running child process.

    Its output is appended to `log`, or goes to the parent's output. `stdin` is its whole standard input, `death_signal`
    the signal that it gets when the parent dies, and `options` are arguments of subprocess.Popen. Raises OSError if the
    command cannot be executed.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str | Path],
        *,
        log: Path | None = None,
        stdin: bytes = b"",
        death_signal: signal.Signals = signal.SIGTERM,
        **options: Any,
    ) -> None:
        self.name = name
        self._log = log
        with contextlib.ExitStack() as files:
            output = files.enter_context(open_private(log, "ab")) if log else None
            self._log_start = output.tell() if output else 0
            self._process = subprocess.Popen(  # noqa: S603 (no shell, and no user input)
                command,
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT if output else None,
                start_new_session=True,
                # It runs after the change of user, which would clear the death signal.
                preexec_fn=functools.partial(  # noqa: PLW1509 (it acquires no lock)
                    tie_to_parent, os.getpid(), death_signal
                ),
                **options,
            )
        if pipe := self._process.stdin:
            with contextlib.suppress(BrokenPipeError), pipe:
                pipe.write(stdin)

    @property
    def pid(self) -> int:
        """The ID of the process, its session and its process group."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """The exit code: None while the process runs, negative if a signal killed it."""
        return self._process.poll()

    def wait_until_ready(self, is_ready: Callable[[], bool], seconds: float) -> None:
        """Wait until the process is ready.

        Raises ProcessFailedError if the process exits earlier, or is not ready within `seconds`.
        """
        in_time = poll_until(lambda: self.exit_code is not None or is_ready(), seconds)
        if self.exit_code is not None:
            raise ProcessFailedError(self.describe_exit() + self._read_log_tail())
        if not in_time:
            raise ProcessFailedError(f"{self.name} was not ready within {seconds:g} s" + self._read_log_tail())

    def stop(self, *signals: signal.Signals, seconds: float = 10) -> None:
        """Send each signal and wait up to `seconds` for the exit; then send SIGKILL to the process group."""
        for number in signals:
            if self.exit_code is None:
                self._process.send_signal(number)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self._process.wait(seconds)
        # A group leader that crashed may have left workers behind. If all have exited, macOS returns EPERM.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait(seconds)

    def describe_exit(self) -> str:
        """Return the exit code and the path of the log in one line."""
        return f"{self.name} ended, exit code {self.exit_code}; see {self._log or 'its output'}"

    def _read_log_tail(self, size: int = 2000) -> str:
        if self._log is None:
            return ""
        with self._log.open("rb") as log:
            log.seek(max(self._log_start, self._log.stat().st_size - size))
            return "\n" + log.read().decode(errors="replace").strip()


def run(name: str, command: Sequence[str | Path], *, seconds: float, **options: Any) -> None:
    """Run a command and wait for its exit. Raises ProcessFailedError if it fails or takes longer than `seconds`."""
    child = ChildProcess(name, command, **options)
    try:
        if not poll_until(lambda: child.exit_code is not None, seconds):
            raise ProcessFailedError(f"{name} took more than {seconds:g} s")
        if child.exit_code != 0:
            raise ProcessFailedError(child.describe_exit() + child._read_log_tail())
    finally:
        child.stop(signal.SIGTERM)


class Server(ABC):
    """A server on a port of 127.0.0.1 that can be started and stopped repeatedly, with or without `with`.

    Without a `port`, the first start finds a free one, and later starts reuse it.
    """

    name: ClassVar[str]
    stop_signals: ClassVar[tuple[signal.Signals, ...]] = (signal.SIGTERM,)
    attempts: ClassVar[int] = 3  # to start

    def __init__(self, directory: Path, port: int = 0) -> None:
        self.directory = directory.resolve()
        self.log = self.directory / "log"
        self.port = port
        self.child: ChildProcess | None = None

    def start(self) -> None:
        """Start the server and wait until it is ready. Raises ProcessFailedError, with the end of the log."""
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            self._start()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Shut the server down, by SIGKILL if that takes too long. Does nothing if it does not run."""
        self._end(*self.stop_signals)

    def kill(self) -> None:
        """Kill the server, as a crash would."""
        self._end()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @abstractmethod
    def _spawn(self) -> ChildProcess: ...

    @abstractmethod
    def _is_ready(self) -> bool: ...

    def _has_running_predecessor(self) -> bool:
        """Return whether processes of a killed predecessor still occupy its resources."""
        return False

    def _start(self) -> None:
        # Two causes of a failed start are temporary: another process has taken the port in the meantime, or processes
        # of a killed predecessor still occupy its resources.
        deadline = time.monotonic() + RESTART_SECONDS
        previous_port = self.port
        for attempt in itertools.count(1):
            self.port = previous_port or find_free_port()
            self.child = self._spawn()
            try:
                self.child.wait_until_ready(self._is_ready, seconds=START_TIMEOUT_SECONDS)
                break
            except ProcessFailedError:
                is_final = attempt >= self.attempts and not self._has_running_predecessor()
                if self.child.exit_code is None or is_final or time.monotonic() > deadline:
                    raise
            poll_until(lambda: False, seconds=RETRY_SECONDS)

    def _end(self, *signals: signal.Signals) -> None:
        if self.child:
            self.child.stop(*signals)
            self.child = None


def find_free_port() -> int:
    """Return a port of 127.0.0.1 on which nothing listens, and which was not returned before."""
    while not is_port_free(port := _ports.pop()):
        pass
    return port


def reserve_port(port: int) -> None:
    """Exclude a port, on which a server will listen later, from find_free_port()."""
    with contextlib.suppress(ValueError):  # It is out of range, or was returned before.
        _ports.remove(port)


def is_port_free(port: int) -> bool:
    """Return whether a server could listen on a port of 127.0.0.1 now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def fetch_status(port: int, path: str, seconds: float = 5) -> int | None:
    """Return the status of the response of a server on 127.0.0.1; None if there is none within `seconds`."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=seconds)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def tie_to_parent(parent: int, death_signal: signal.Signals) -> None:
    """Unblock signals, and request the death signal; runs in the child between fork and exec."""
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    if _LIBC:
        if _LIBC.prctl(_PR_SET_PDEATHSIG, death_signal) != 0:
            raise OSError(ctypes.get_errno(), "prctl")
        if os.getppid() != parent:  # The parent died before prctl.
            os._exit(1)
