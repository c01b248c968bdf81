"""`parley db check` after each way in which sql/README.md restores a database: no findings, and all functions work.

PostgreSQL stores expressions parsed, and deparses them for a dump. Some forms are deparsed in another way after they
were restored, such as a comparison of rows of three columns. No object of Parley may have one.
"""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import psycopg2
import pytest

from api.admin.catalog import Catalog
from api.dev.account import build_user_options, find_account
from api.dev.postgres import Postgres
from tests.servers import new_postgres, new_replica, open_directory
from tests.sql.version_clients import use_all
from tests.sql.versions import THIS, create_database

# The programs of older PostgreSQLs. Debian installs each version in a folder of its own.
OLDER = [Path(path) for path in os.environ.get("PARLEY_TEST_OLDER_POSTGRES", "/usr/lib/postgresql/15/bin").split(":")]
ORIGINAL, COPY = "parley_restore", "parley_restored"
FIRST_WITH_CHECKSUMS = 18  # of the major versions: initdb enables them by default


@dataclass
class Source:
    """A server with a database to restore, and its catalog."""

    server: Postgres
    catalog: Catalog = field(init=False)

    def __post_init__(self) -> None:
        url = create_database(self.server, ORIGINAL)
        THIS.yoyo(url, "apply")
        use_all(url)
        self.catalog = read_catalog(url)


@pytest.fixture(scope="module")
def source() -> Iterator[Source]:
    """A server of the tested version."""
    with open_directory() as root, new_postgres(root / "postgres", fsync="off") as server:
        yield Source(server)


def read_catalog(url: str) -> Catalog:
    """Return the catalog of a database."""
    with psycopg2.connect(url) as connection:
        catalog = Catalog.from_database(connection.cursor())
    connection.close()
    return catalog


def assert_restored(source: Source, url: str) -> None:
    """Assert that a copy has no findings, the catalog of the original, and functions that work."""
    THIS.assert_no_drift(url)
    catalog = read_catalog(url)
    if catalog.major == source.catalog.major:
        assert catalog.create == source.catalog.create
    use_all(url)


def run(server: Postgres, program: str, *arguments: str | Path, **options: Any) -> None:
    """Run a program of a PostgreSQL; fail with its messages."""
    command = [str(server.get_program(program)), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, **options)
    assert done.returncode == 0, done.stdout + done.stderr


def test_custom_dump_restored_by_pg_restore(source: Source, tmp_path: Path) -> None:
    for origin, name in ((ORIGINAL, COPY), (COPY, f"{COPY}_again")):
        url = create_database(source.server, name)
        run(source.server, "pg_dump", "-Fc", "-f", tmp_path / "dump", source.server.url(origin))
        run(source.server, "pg_restore", "-e", "-d", url, tmp_path / "dump")
        assert_restored(source, url)


def test_plain_dump_restored_by_psql(source: Source, tmp_path: Path) -> None:
    url = create_database(source.server, COPY)
    run(source.server, "pg_dump", "-f", tmp_path / "dump", source.server.url(ORIGINAL))
    run(source.server, "psql", "-Xq", "-v", "ON_ERROR_STOP=1", "-d", url, "-f", tmp_path / "dump")
    assert_restored(source, url)


def test_dump_of_the_cluster_restored_by_psql(source: Source, tmp_path: Path) -> None:
    environment = os.environ | {"PGPASSWORD": source.server.password}
    dump_all = ("--no-role-passwords", "-f", tmp_path / "dump", "-d", source.server.url("postgres"))
    run(source.server, "pg_dumpall", *dump_all, env=environment)
    with open_directory() as root, new_postgres(root / "postgres", fsync="off") as server:
        run(server, "psql", "-Xq", "-d", server.url("postgres"), "-f", tmp_path / "dump")
        assert_restored(source, server.url(ORIGINAL))


@contextmanager
def base_backup(source: Source) -> Iterator[Postgres]:
    """A base backup of the server, which is a replica when it starts."""
    replica = new_replica(source.server.directory.parent / "copy", source.server, fsync="off")
    try:
        yield replica
    finally:
        replica.stop()


def test_base_backup_after_its_recovery(source: Source) -> None:
    with base_backup(source) as copy:
        (copy.data / "standby.signal").unlink()
        copy.start()
        with psycopg.connect(copy.url(ORIGINAL), autocommit=True) as dba:
            assert dba.execute("select pg_is_in_recovery()").fetchone() == (False,)
            dba.execute("select parley.start_new_epoch()")
        assert_restored(source, copy.url(ORIGINAL))


def test_replica_before_and_after_its_promotion(source: Source) -> None:
    with base_backup(source) as replica:
        replica.start()
        THIS.assert_no_drift(replica.url(ORIGINAL))
        with psycopg.connect(replica.url(ORIGINAL), autocommit=True) as dba:
            assert dba.execute("select pg_is_in_recovery()").fetchone() == (True,)
            assert dba.execute("select pg_promote()").fetchone() == (True,)
            dba.execute("select parley.start_new_epoch()")
        assert_restored(source, replica.url(ORIGINAL))


def read_major(programs: Path) -> int:
    """Return the major version of the PostgreSQL with these programs, 0 if they are missing."""
    server = programs / "postgres"
    if not server.exists():
        return 0
    version = subprocess.run([str(server), "--version"], capture_output=True, text=True, check=True).stdout
    return int(version.split()[2].split(".")[0])


@contextmanager
def older_server(source: Source, programs: Path) -> Iterator[Source]:
    """A server of an older version, with a database to restore. Skips the test if the version is not older."""
    major = read_major(programs)
    if not 0 < major < source.server.major:
        pytest.skip(f"{programs} has no PostgreSQL older than {source.server.major}: set PARLEY_TEST_OLDER_POSTGRES")
    with open_directory() as root, Postgres(root / "older", bin_dir=programs, settings={"fsync": "off"}) as server:
        yield Source(server)


@pytest.mark.parametrize("programs", OLDER, ids=str)
def test_dump_of_an_older_version(source: Source, programs: Path, tmp_path: Path) -> None:
    with older_server(source, programs) as older:
        run(source.server, "pg_dump", "-Fc", "-f", tmp_path / "dump", older.server.url(ORIGINAL))
        url = create_database(source.server, COPY)
        run(source.server, "pg_restore", "-e", "-d", url, tmp_path / "dump")
        assert_restored(source, url)


@pytest.mark.parametrize("programs", OLDER, ids=str)
def test_cluster_of_an_older_version_after_pg_upgrade(source: Source, programs: Path) -> None:
    if not (programs / "pg_resetwal").exists():
        pytest.skip(f"{programs} lacks programs that pg_upgrade requires")
    with older_server(source, programs) as older, open_directory() as root:
        older.server.stop()
        newer = new_postgres(root / "newer", fsync="off")
        with newer, psycopg.connect(newer.url("postgres"), autocommit=True) as dba:
            dba.execute(f"alter role postgres password '{older.server.password}'")
        (newer.directory / "password").write_text(older.server.password)
        run_pg_upgrade(older.server, newer, programs)
        with newer:
            assert_restored(source, newer.url(ORIGINAL))


def run_pg_upgrade(older: Postgres, newer: Postgres, programs: Path) -> None:
    """Upgrade the cluster of a stopped server to one of another stopped server, as the account that runs both."""
    account = find_account()
    directory = newer.directory / "upgrade"
    directory.mkdir()
    if account:
        os.chown(directory, account.pw_uid, account.pw_gid)
    options = {"cwd": directory, "env": os.environ | {"PGPASSWORD": older.password}, **build_user_options(account)}
    if newer.major >= FIRST_WITH_CHECKSUMS > older.major:
        run(older, "pg_checksums", "--enable", "-D", older.data, **options)
    folders: list[str | Path] = [
        "-b",
        programs,
        "-B",
        newer.get_program("postgres").parent,
        "-d",
        older.data,
        "-D",
        newer.data,
    ]
    run(newer, "pg_upgrade", "-U", "postgres", "-s", directory, "--no-sync", *folders, **options)
