"""squawk checks every migration with .squawk.toml: statements that would block requests are reported.

A deliberate exception, such as a drop in a rollback, has a squawk-ignore comment with its reason.
"""

import re
import subprocess
import sysconfig
from pathlib import Path

import pytest

from tests import ROOT
from tests.sql.migration_files import EXAMPLES, MIGRATIONS, is_transactional, numbered_migrations

INDEX = "create index zoo on parley.messages (user_id);"


def squawk(*arguments: str | Path) -> str:
    """Return the findings of squawk, one per line."""
    command = [Path(sysconfig.get_path("scripts")) / "squawk", "--reporter=gcc", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == bool(done.stdout.strip()), done.stderr
    return done.stdout


def lint(*files: Path) -> str:
    """Return the findings of squawk in migrations and rollbacks, transactional or not."""
    outside = [file for file in files if not is_transactional(file)]
    inside = [file for file in files if is_transactional(file)]
    found = squawk(*inside) if inside else ""
    return found + (squawk("--no-assume-in-transaction", *outside) if outside else "")


def test_no_migration_and_no_rollback_blocks_requests() -> None:
    files = list(MIGRATIONS.glob("*.sql"))
    assert len(files) >= 10
    assert not list(MIGRATIONS.glob("[0-9]*.py"))  # squawk reads SQL only
    assert lint(*files) == ""


def test_no_example_blocks_requests() -> None:
    files = list(EXAMPLES.glob("*.sql"))
    assert {is_transactional(file) for file in files} == {True, False}
    assert lint(*files) == ""


def test_example_in_the_readme_blocks_no_requests(tmp_path: Path) -> None:
    readme = (ROOT / "sql" / "README.md").read_text()
    (example,) = re.findall(r"```sql\n(-- depends: .*?)```", readme, flags=re.DOTALL)
    file = tmp_path / "0999_zoo.sql"
    file.write_text(example)
    assert not is_transactional(file)
    assert lint(file) == ""


@pytest.mark.parametrize(
    ("statement", "rule"),
    [
        (INDEX, "require-concurrent-index-creation"),
        ("drop index if exists parley.messages_type;", "require-concurrent-index-deletion"),
    ],
)
def test_blocking_statement_in_a_non_transactional_migration_is_reported(
    tmp_path: Path, statement: str, rule: str
) -> None:
    file = tmp_path / "0999_zoo.sql"
    file.write_text(f"-- depends: {numbered_migrations()[-1]}\n-- transactional: false\n{statement}\n")
    assert f": {rule} " in lint(file)
    robust = "-- squawk-ignore prefer-robust-stmts\n" if statement == INDEX else ""
    file.write_text(file.read_text().replace(statement, robust + statement.replace(" index ", " index concurrently ")))
    assert lint(file) == ""


def test_concurrent_index_in_a_transaction_is_reported(tmp_path: Path) -> None:
    (example,) = EXAMPLES.glob("*_index_message_lengths.sql")
    file = tmp_path / "0999_zoo.sql"
    file.write_text(example.read_text().replace("-- transactional: false\n", ""))
    assert ": ban-concurrent-index-creation-in-transaction " in lint(file)


def test_concurrent_index_that_cannot_be_created_again_is_reported(tmp_path: Path) -> None:
    file = tmp_path / "0999_zoo.sql"
    file.write_text("-- transactional: false\n" + INDEX.replace(" index ", " index concurrently "))
    assert ": prefer-robust-stmts " in lint(file)


@pytest.mark.parametrize(
    ("statement", "rule"),
    [
        (INDEX, "require-concurrent-index-creation"),
        ("drop index parley.messages_type;", "require-concurrent-index-deletion"),
        ("alter table parley.chats add constraint zoo check (seq >= 0);", "constraint-missing-not-valid"),
        ("alter table parley.messages add constraint zoo foreign key (user_id) references next_auth.users (id);",
         "adding-foreign-key-constraint"),
        ("alter table parley.messages add constraint zoo unique (user_id);", "disallowed-unique-constraint"),
        ("alter table parley.chats alter column owner_id set not null;", "adding-not-nullable-field"),
        ("alter table parley.chats add column zoo uuid default gen_random_uuid();", "adding-field-with-default"),
        ("alter table parley.chats alter column title type varchar(200);", "changing-column-type"),
        ("alter table parley.chats rename column title to name;", "renaming-column"),
        ("alter table parley.chats drop column title;", "ban-drop-column"),
        ("drop table parley.message_blocks;", "ban-drop-table"),
    ],
)  # fmt: skip
def test_blocking_statement_in_a_migration_is_reported(tmp_path: Path, statement: str, rule: str) -> None:
    file = tmp_path / "0999_zoo.sql"
    harmless = f"-- depends: {numbered_migrations()[-1]}\nalter table parley.chats add column giraffe text;\n"
    file.write_text(harmless)
    assert lint(file) == ""
    file.write_text(harmless + statement)
    assert f": {rule} " in lint(file)
