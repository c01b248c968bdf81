"""PgBouncer as a child process: the one in PATH, or Debian's package, unpacked in a temporary directory."""

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from configparser import ConfigParser
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import psycopg
import pytest

from api.dev.account import build_user_options, find_account
from api.dev.postgres import Postgres
from api.dev.process import ChildProcess, Server, is_port_free
from tests.api_process import Api
from tests.e2e.readme import README

PACKAGES = ("pgbouncer", "libc-ares2", "libevent-2.1-7")
DOWNLOAD_SECONDS = 60
SECRETS = "select rolname, rolpassword from pg_authid where rolname = any(%s)"
SERVER_CONNECTIONS = 3  # of PgBouncer to PostgreSQL, at most
CLIENT_CONNECTIONS = 8  # of an API to PgBouncer, at most
FIRST_WITH_PREPARED_STATEMENTS = (1, 21)

NewBouncer = Callable[..., "PgBouncer"]


@dataclass(frozen=True, slots=True)
class Program:
    """A program, and the environment that it needs."""

    path: Path
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def supports_prepared_statements(self) -> bool:
        """Whether this version of PgBouncer has the setting `max_prepared_statements`."""
        command: list[str | Path] = [self.path, "--version"]
        environment = {**os.environ, **self.environment}
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
        match = re.search(r"PgBouncer (\d+)\.(\d+)", done.stdout)
        assert match
        return (int(match[1]), int(match[2])) >= FIRST_WITH_PREPARED_STATEMENTS


def read_pgbouncer_ini() -> str:
    """Return the README's pgbouncer.ini."""
    match = re.search(r"```ini\n(.*?)```", README, flags=re.DOTALL)
    assert match
    return match[1]


def new_pooled_api(bouncer: "PgBouncer", new_api: Callable[..., Api], database: str, **options: str) -> Api:
    """Return an API whose DATABASE_URL leads to PgBouncer, not yet started."""
    url, size = bouncer.url(database, "app", "app"), str(CLIENT_CONNECTIONS)
    keys = {"PUSHER_KEY": "key", "PUSHER_SECRET": "secret"}
    return new_api(database, DATABASE_URL=url, DATABASE_POOL_SIZE=size, **keys, **options)


@contextmanager
def pgbouncer_program() -> Iterator[Program]:
    """Find or unpack PgBouncer; skip the test where it cannot be installed."""
    if found := shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin"):
        yield Program(Path(found))
        return
    if not (shutil.which("apt-get") and shutil.which("dpkg")):
        pytest.skip("there is no pgbouncer, nor apt-get and dpkg to unpack one")
    with tempfile.TemporaryDirectory(prefix="parley-pgbouncer-") as name:
        directory = Path(name)
        directory.chmod(0o755)  # it does not run as root
        try:
            _run(directory, "apt-get", "download", "--quiet", *PACKAGES)
            for package in directory.glob("*.deb"):
                _run(directory, "dpkg", "-x", str(package), str(directory))
        except (OSError, subprocess.SubprocessError) as error:
            stderr = getattr(error, "stderr", None) or ""
            pytest.skip(f"{', '.join(PACKAGES)} could not be unpacked: {error} {stderr[:300]!s}")
        libraries = ":".join(str(path) for path in (directory / "usr/lib").glob("*-linux-gnu*"))
        yield Program(directory / "usr/sbin/pgbouncer", {"LD_LIBRARY_PATH": libraries})


def _run(directory: Path, *command: str) -> None:
    subprocess.run(command, cwd=directory, capture_output=True, text=True, check=True, timeout=DOWNLOAD_SECONDS)


class PgBouncer(Server):
    """PgBouncer in front of a PostgreSQL, for some of its logins.

    `configuration` is the text of a pgbouncer.ini, in which addresses and paths are replaced; `options` are further
    settings.
    """

    name: ClassVar[str] = "PgBouncer"

    def __init__(
        self, directory: Path, program: Program, server: Postgres, logins: list[str], configuration: str, **options: str
    ) -> None:
        super().__init__(directory)
        self._program, self._server, self._logins, self._options = program, server, logins, options
        self._configuration = configuration

    @property
    def supports_prepared_statements(self) -> bool:
        """Whether this version has the setting `max_prepared_statements`."""
        return self._program.supports_prepared_statements

    def url(self, database: str, user: str, password: str) -> str:
        """Return a `postgresql://` URL that leads through it."""
        return f"postgresql://{user}:{password}@127.0.0.1:{self.port}/{database}"

    def _spawn(self) -> ChildProcess:
        account = find_account()
        users, file = self.directory / "userlist.txt", self.directory / "pgbouncer.ini"
        with psycopg.connect(self._server.url("postgres")) as dba:
            users.write_text("".join(f'"{name}" "{secret}"\n' for name, secret in dba.execute(SECRETS, [self._logins])))
        parser = ConfigParser(interpolation=None)
        parser.read_string(self._configuration)
        parser["databases"] = {"*": f"host=127.0.0.1 port={self._server.port}"}
        addresses = {"listen_port": str(self.port), "auth_file": str(users), "unix_socket_dir": ""}
        parser["pgbouncer"].update(addresses | self._options)
        if not self.supports_prepared_statements:
            parser.remove_option("pgbouncer", "max_prepared_statements")
        with file.open("w") as text:
            parser.write(text)
        if account:
            for path in (self.directory, users, file):
                os.chown(path, account.pw_uid, account.pw_gid)
        command: list[str | Path] = [self._program.path, file]
        return ChildProcess(
            self.name, command, log=self.log, env=self._program.environment, **build_user_options(account)
        )

    def _is_ready(self) -> bool:
        return not is_port_free(self.port)
