"""Child processes that do not outlive their parent.

`Child` is one of them, `Server` one that listens on a port, run() one that is to end.

A child gets a session of its own: Ctrl-C in a terminal reaches only the parent, which stops its
children in order. On Linux the kernel also signals a child whose parent died without stopping it.
That is tied to the thread that started the child, so start children from the main thread.
"""

import contextlib
import ctypes
import functools
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

_LIBC = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None
_PR_SET_PDEATHSIG = 1
# None that systems give to outgoing connections (32768 and above), which may come before a child listens.
_ports = random.sample(range(15_000, 32_000), 17_000)


class ChildError(Exception):
    """A child process could not do its work; the message is for people and ends with its log."""


def wait_for(condition: Callable[[], bool], seconds: float, every: float = 0.02) -> bool:
    """Poll until the condition holds; False when the seconds have run out.

    A program that must not be interrupted just anywhere blocks STOP_SIGNALS; a blocked one that
    is pending raises KeyboardInterrupt here, and only here.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        if signal.sigpending() & STOP_SIGNALS:
            raise KeyboardInterrupt
        if time.monotonic() > deadline:
            return False
        time.sleep(every)
    return True


def open_private(path: Path, mode: str) -> IO[bytes]:
    """Open a binary file that, if it is created, only its owner can read."""
    return open(path, mode, opener=functools.partial(os.open, mode=0o600))


def files_of_wheel(name: str) -> list[Path]:
    """All files of an installed wheel. Raises ImportError if it is not installed."""
    return [Path(str(file.locate())) for file in importlib.metadata.files(name) or ()]


class Child:
    """A running child process. Its output is appended to `log`, or goes where the parent's goes.

    `stdin` is all that it can read there, `death_signal` what it gets when the parent dies, and
    `options` go to subprocess.Popen. Raises OSError if the command cannot be executed.
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
            self._process = subprocess.Popen(  # noqa: S603 (commands of ours, no shell)
                command,
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT if output else None,
                start_new_session=True,
                # After the change of user, which would clear the death signal.
                preexec_fn=functools.partial(  # noqa: PLW1509 (it takes no lock)
                    _tie_to_parent, os.getpid(), death_signal
                ),
                **options,
            )
        if pipe := self._process.stdin:
            with contextlib.suppress(BrokenPipeError), pipe:
                pipe.write(stdin)

    @property
    def pid(self) -> int:
        """Of the process, and of its session and group."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs; negative if a signal ended it."""
        return self._process.poll()

    def wait_until(self, ready: Callable[[], bool], seconds: float) -> None:
        """Raise ChildError if it ends before it is ready, or is not ready in time."""
        in_time = wait_for(lambda: self.exit_code is not None or ready(), seconds)
        if self.exit_code is not None:
            raise ChildError(self.last_words() + self._log_tail())
        if not in_time:
            raise ChildError(f"{self.name} was not ready within {seconds:g} s" + self._log_tail())

    def stop(self, *signals: signal.Signals, seconds: float = 10) -> None:
        """End it and wait for that: each signal gets so many seconds, the last one is SIGKILL."""
        for number in signals:
            if self.exit_code is None:
                self._process.send_signal(number)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self._process.wait(seconds)
        # To the group: a leader that died by itself may have left workers behind. Where all are
        # gone, macOS answers EPERM.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait(seconds)

    def last_words(self) -> str:
        """Say in one line how it ended and where its log is."""
        return f"{self.name} ended, exit code {self.exit_code}; see {self._log or 'its output'}"

    def _log_tail(self, size: int = 2000) -> str:
        if self._log is None:
            return ""
        with self._log.open("rb") as log:
            log.seek(max(self._log_start, self._log.stat().st_size - size))
            return "\n" + log.read().decode(errors="replace").strip()


def run(name: str, command: Sequence[str | Path], *, seconds: float, **options: Any) -> None:
    """Run a command to its end. Raises ChildError if it fails or takes longer than `seconds`."""
    child = Child(name, command, **options)
    try:
        if not wait_for(lambda: child.exit_code is not None, seconds):
            raise ChildError(f"{name} took more than {seconds:g} s")
        if child.exit_code != 0:
            raise ChildError(child.last_words() + child._log_tail())
    finally:
        child.stop(signal.SIGTERM)


class Server(ABC):
    """A server on a loopback port, started and stopped by `with` or by hand, any number of times.

    The port is a free one, chosen at the first start and kept from then on; 0 before that.
    """

    name: ClassVar[str]
    stop_signals: ClassVar[tuple[signal.Signals, ...]] = (signal.SIGTERM,)
    attempts: ClassVar[int] = 3

    def __init__(self, directory: Path, port: int = 0) -> None:
        self.directory = directory.resolve()
        self.log = self.directory / "log"
        self.port = port
        self.child: Child | None = None

    def start(self) -> None:
        """Return when it answers. Raises ChildError, with the end of the log, if it does not."""
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            self._start()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Shut down in good order, by force if it takes too long. Harmless if it does not run."""
        self._end(*self.stop_signals)

    def kill(self) -> None:
        """End it as a crash would, with SIGKILL."""
        self._end()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @abstractmethod
    def _spawn(self) -> Child: ...

    @abstractmethod
    def _answers(self) -> bool: ...

    def _predecessor_lingers(self) -> bool:
        return False

    def _start(self) -> None:
        # What ends a server at once may pass: another process took the port in between, or what
        # is left of a killed predecessor still holds its memory.
        deadline = time.monotonic() + 15
        kept_port = self.port
        for attempt in itertools.count(1):
            self.port = kept_port or free_port()
            self.child = self._spawn()
            try:
                self.child.wait_until(self._answers, seconds=60)
                break
            except ChildError:
                hopeless = attempt >= self.attempts and not self._predecessor_lingers()
                if self.child.exit_code is None or hopeless or time.monotonic() > deadline:
                    raise
            wait_for(lambda: False, seconds=0.1)

    def _end(self, *signals: signal.Signals) -> None:
        if self.child:
            self.child.stop(*signals)
            self.child = None


def free_port() -> int:
    """Find a loopback port that nothing listens on just now, and that this process was not told before."""
    while not is_free(port := _ports.pop()):
        pass
    return port


def reserve(port: int) -> None:
    """Keep free_port() from finding a port that a server of ours is to listen on later."""
    with contextlib.suppress(ValueError):  # it would not find it anyway
        _ports.remove(port)


def is_free(port: int) -> bool:
    """Whether a loopback port can be listened on just now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _tie_to_parent(parent: int, death_signal: signal.Signals) -> None:
    """Run in the child, between fork and exec."""
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    if _LIBC:
        if _LIBC.prctl(_PR_SET_PDEATHSIG, death_signal) != 0:
            raise OSError(ctypes.get_errno(), "prctl")
        if os.getppid() != parent:  # it died before prctl
            os._exit(1)
