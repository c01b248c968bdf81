"""The listener as a process."""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from api.dev.process import ChildProcess
from api.dev.pusher_process import PusherProcess
from tests import ROOT

LEADER_LOG = "This listener is the leader"


class Listener:
    """`python -m listener` as a process; `options` are further environment variables."""

    def __init__(self, directory: Path, database_url: str, pusher: PusherProcess, **options: str) -> None:
        self.log = directory / f"listener-{id(self)}.log"
        self.environment = {
            "PATH": os.environ["PATH"],
            "DATABASE_URL": database_url,
            **pusher.environment,
            **options,
        }
        self.spawn_child: Callable[..., ChildProcess] = ChildProcess
        self.child: ChildProcess | None = None

    def start(self) -> Self:
        """Start it; return when it leads."""
        self.spawn().wait_for_log(LEADER_LOG)
        return self

    def spawn(self) -> Self:
        """Start it; return at once."""
        command = [sys.executable, "-W", "error", "-m", "listener"]
        self.log.write_bytes(b"")  # The process may create it after a test first reads it.
        self.child = self.spawn_child("listener", command, log=self.log, cwd=ROOT, env=self.environment)
        return self

    def wait_for_log(self, text: str, seconds: float = 20) -> None:
        """Wait until the log contains this text."""
        assert self.child is not None
        self.child.wait_until_ready(lambda: text in self.log.read_text(), seconds=seconds)

    def stop(self) -> int | None:
        """End it by SIGTERM; return its exit code."""
        return self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it by SIGKILL."""
        self._end()

    def pause(self) -> None:
        """Suspend it by SIGSTOP."""
        assert self.child is not None
        os.kill(self.child.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Resume it by SIGCONT."""
        assert self.child is not None
        os.kill(self.child.pid, signal.SIGCONT)

    def _end(self, *signals: signal.Signals) -> int | None:
        if self.child is None:
            return None
        self.child.stop(*signals)
        code, self.child = self.child.exit_code, None
        return code


@contextmanager
def running_listener(listener: Listener) -> Iterator[Listener]:
    """Start a listener for the block."""
    try:
        yield listener.start()
    finally:
        listener.stop()
