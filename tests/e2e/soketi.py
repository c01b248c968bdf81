"""soketi, an independent server of the Pusher protocol, as a child process."""

import argparse
import os
import signal
from pathlib import Path
from typing import ClassVar

from api.dev.process import ChildProcess
from api.dev.pusher_process import PusherProcess


class Soketi(PusherProcess):
    """A soketi with one app, from a directory `node_modules`."""

    name = "soketi"
    stop_signals: ClassVar[tuple[signal.Signals, ...]] = ()  # it has no state, and a graceful shutdown takes 3 seconds

    def __init__(self, directory: Path, modules: Path) -> None:
        # It parses a key or secret of digits as a number.
        super().__init__(directory, key="soketi-key", secret="soketi-secret")
        self._modules = modules

    def _spawn(self) -> ChildProcess:
        settings = {
            "HOST": "127.0.0.1",
            "PORT": str(self.port),
            "DEFAULT_APP_ID": self.app_id,
            "DEFAULT_APP_KEY": self.key,
            "DEFAULT_APP_SECRET": self.secret,
            "DEFAULT_APP_USER_AUTHENTICATION": "true",
            "DEFAULT_APP_ENABLE_CLIENT_MESSAGES": "true",
            "EVENT_MAX_SIZE_IN_KB": "10",  # as at Pusher
            "METRICS_ENABLED": "false",
            "METRICS_HOST": "127.0.0.1",  # it listens there even so
            "METRICS_SERVER_PORT": "0",
        }
        own = {"PATH": os.environ["PATH"], "HOME": str(self.directory)}
        environment = own | {f"SOKETI_{name}": value for name, value in settings.items()}
        program = str(self._modules / "@soketi/soketi/bin/server.js")
        return ChildProcess(self.name, ["node", program, "start"], log=self.log, cwd=self.directory, env=environment)


def add_soketi_option(parser: argparse.ArgumentParser) -> None:
    """Add the option with which a command uses soketi."""
    parser.add_argument(
        "--soketi",
        type=Path,
        metavar="DIR",
        help="where soketi is installed, to use it in place of the local Pusher server",
    )
