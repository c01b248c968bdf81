"""`parley db check`: pending migrations, exit status and errors."""

import os
import subprocess
import sys

import psycopg
import pytest

from api.dev.postgres import Postgres
from tests import ROOT
from tests.database import Connection
from tests.servers import yoyo
from tests.sql.drift.support import Check, Fix, assert_found_and_fixed
from tests.sql.migration_files import numbered_migrations


def test_new_database_has_no_findings(check: Check, postgres: Postgres) -> None:
    checked = check()
    assert (checked.status, checked.findings, checked.fixes) == (0, [], [])
    other_major = ["bodies of views are not compared: the snapshot is PostgreSQL 18's"]
    assert checked.remarks == ([] if postgres.major == 18 else other_major)
    assert checked.output.splitlines()[-1].startswith("findings: 0, ")


def test_schema_is_not_compared_while_migrations_are_pending(
    check: Check, dba: Connection, dba_url: str, fix: Fix
) -> None:
    last = numbered_migrations()[-1]
    yoyo(dba_url, "unmark", "--batch", "--revision", last)
    dba.execute("drop index parley.members_user")
    checked = check()
    assert (checked.status, checked.findings, checked.fixes) == (1, [f"pending: {last}"], ["$ yoyo apply --batch"])
    assert checked.remarks == ["the schema is compared when no migration is pending"]
    yoyo(dba_url, "mark", "--batch", "--revision", last)
    fix(check())
    checked = check()
    assert checked.findings == ["missing: index parley.members_user on parley.members"]
    fix(checked)
    assert check().status == 0


def test_changed_repeatable_migration_is_pending(check: Check, dba: Connection, fix: Fix) -> None:
    changed = (
        "insert into parley.repeatable_migrations values ('views', '') on conflict (name) do update set checksum = ''"
    )
    assert_found_and_fixed(check, dba, fix, changed, ["pending: views, grants.sql"])


def test_database_of_a_newer_checkout_is_not_compared(check: Check, dba: Connection) -> None:
    dba.execute("insert into _yoyo_migration values ('zoo', '0999_zoo', now())")
    checked = check()
    assert (checked.status, checked.findings, checked.fixes) == (
        1, ["applied by a newer checkout, with which to check: 0999_zoo"], [],
    )  # fmt: skip
    dba.execute("delete from _yoyo_migration where migration_id = '0999_zoo'")


def run_command(url: str | None) -> subprocess.CompletedProcess[str]:
    """Run `parley db check` as a process."""
    environment = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"}
    arguments = [sys.executable, "-m", "api.cli", "db", "check"]
    setting = {} if url is None else {"DATABASE_URL": url}
    return subprocess.run(arguments, cwd=ROOT, env=environment | setting, capture_output=True, text=True, check=False)


def test_all_migrations_of_an_empty_database_are_pending_and_it_stays_empty(url: str) -> None:
    checked = run_command(url)
    assert (checked.returncode, checked.stderr) == (1, "")
    assert checked.stdout.startswith(f"pending: {', '.join(numbered_migrations())}\n    $ yoyo apply --batch\n")
    with psycopg.connect(url) as connection:
        assert connection.execute("select from pg_class where relname ~ 'yoyo'").rowcount == 0


def test_read_only_database_can_be_checked(dba_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGOPTIONS", "-c default_transaction_read_only=on")
    assert run_command(dba_url).returncode == 0


@pytest.mark.parametrize(
    ("url", "message"),
    [
        (None, "DATABASE_URL is not set"),
        ("not a url", "DATABASE_URL is malformed"),
        ("postgresql://nobody:secret@127.0.0.1:1/x", "DATABASE_URL: no connection"),
    ],
)
def test_failed_check_prints_one_line(url: str | None, message: str) -> None:
    checked = run_command(url)
    assert (checked.returncode, checked.stdout) == (2, "")
    assert checked.stderr.startswith(f"parley db check: {message}")
    assert checked.stderr.count("\n") == 1
    assert "secret" not in checked.stderr


def test_check_without_privileges_prints_one_line(postgres: Postgres, database: str) -> None:
    checked = run_command(postgres.url(database, "app", "app"))
    assert (checked.returncode, checked.stdout) == (2, "")
    assert checked.stderr == "parley db check: permission denied for table _yoyo_migration\n"
