"""Checkouts of this and of older versions, from the repository's history, and databases for them."""

import os
import subprocess
import sys
import tarfile
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import psycopg
import pytest

from api.dev.postgres import Postgres
from tests import ROOT
from tests.sql.migration_files import numbered_migrations

# The last commit of each version that databases may have, and its last migration. A release adds its own.
OLDER_VERSIONS = {
    "7e0594b8cf96376c8e52bce7bc6b248a57ac8d2a": "0007_analytics",
    "0bf75198b4fa7c4dc8636662013e363a1a848f74": "0011_messages_image",
}


@dataclass(frozen=True)
class Version:
    """A checkout, and the last migration that it has."""

    directory: Path
    last_migration: str

    def run(self, url: str, *arguments: str) -> str:
        """Run a module of this checkout on a database; return what it prints. Fails if the module fails."""
        environment = os.environ | {"DATABASE_URL": url}
        done = subprocess.run(
            [sys.executable, "-m", *arguments],
            cwd=self.directory, env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    def yoyo(self, url: str, *arguments: str) -> str:
        """Run `yoyo … --batch`; return what it prints."""
        return self.run(url, "yoyo", *arguments, "--batch")

    def assert_no_drift(self, url: str) -> None:
        """Run `parley db check`, and assert that there are no findings."""
        assert "findings: 0," in self.run(url, "api.cli", "db", "check")


THIS = Version(ROOT, numbered_migrations()[-1])


def check_out(commit: str, directory: Path) -> Version:
    """Extract the files of an older version that a DBA uses. Skips the test if the history is missing."""
    command = ["git", "archive", "--format=tar", commit, "sql", "yoyo.ini", "api", "pyproject.toml"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, check=False)
    if done.returncode:
        pytest.skip(f"needs commit {commit[:7]}: git fetch --unshallow")
    with tarfile.open(fileobj=BytesIO(done.stdout)) as archive:
        archive.extractall(directory, filter="data")
    return Version(directory, OLDER_VERSIONS[commit])


def create_database(postgres: Postgres, name: str, template: str = "template0") -> str:
    """Create a database, in place of one of this name; return its URL."""
    with psycopg.connect(postgres.url("postgres"), autocommit=True) as dba:
        dba.execute(f'drop database if exists "{name}" with (force)')
        dba.execute(f'create database "{name}" template "{template}"')
    return postgres.url(name)
