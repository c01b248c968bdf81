"""squawk reads every migration, by the settings in .squawk.toml: one that would hold requests up does not get in.

A statement of an old one that does is ignored beside it, with the reason; so is, in a rollback, that it drops.
Of a migration in Python it reads the statements that are there as text.
"""

import ast
import re
import subprocess
import sysconfig
import tomllib
from pathlib import Path

import pytest

from tests.sql.support import MIGRATIONS, numbered
from tests.support import ROOT

SQL = r"\s*(?:alter|comment|create|delete|drop|insert|select|update|with)\s"


def squawk(*arguments: str | Path) -> str:
    """What squawk finds, a line each."""
    command = [Path(sysconfig.get_path("scripts")) / "squawk", "--reporter=gcc", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == bool(done.stdout.strip()), done.stderr
    return done.stdout


def statements(module: str) -> str:
    """The SQL in the text of a migration in Python, in which a parameter is null."""
    texts = [node.value for node in ast.walk(ast.parse(module)) if isinstance(node, ast.Constant)]
    sql = [text for text in texts if isinstance(text, str) and re.match(SQL, text)]
    return "".join(re.sub(r"%\(\w+\)s", "null", text) + ";\n" for text in sql)


def lint_module(directory: Path, module: str) -> str:
    """What squawk finds in a migration in Python. Such a one runs outside of a transaction, and may be done again."""
    file = directory / "statements.sql"
    file.write_text(statements(module))
    excluded = ["prefer-robust-stmts", *tomllib.loads((ROOT / ".squawk.toml").read_text())["excluded_rules"]]
    return squawk("--no-assume-in-transaction", f"--exclude={','.join(excluded)}", file)


def test_no_migration_and_no_rollback_holds_requests_up() -> None:
    files = list(MIGRATIONS.glob("*.sql"))
    assert len(files) >= 10
    assert squawk(*files) == ""


def test_no_migration_in_python_holds_requests_up(tmp_path: Path) -> None:
    modules = {file.stem: file.read_text() for file in MIGRATIONS.glob("[0-9]*.py")}
    assert len(modules) >= 2
    for module in modules.values():
        assert re.search(r"(create index concurrently|update) ", statements(module))
        assert "__transactional__ = False" in module
        assert lint_module(tmp_path, module) == ""


@pytest.mark.parametrize(
    ("statement", "rule"),
    [
        ("create index zoo on parley.messages (user_id)", "require-concurrent-index-creation"),
        ("drop index parley.messages_type", "require-concurrent-index-deletion"),
    ],
)
def test_a_new_migration_in_python_that_does_is_reported(tmp_path: Path, statement: str, rule: str) -> None:
    module = f'ZOO = "{statement}"\nstep(lambda connection: run(connection, ZOO))\n'
    assert f": {rule} " in lint_module(tmp_path, module)
    assert lint_module(tmp_path, module.replace(" index ", " index concurrently ")) == ""


@pytest.mark.parametrize(
    ("statement", "rule"),
    [
        ("create index zoo on parley.messages (user_id);", "require-concurrent-index-creation"),
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
def test_a_new_migration_that_does_is_reported(tmp_path: Path, statement: str, rule: str) -> None:
    file = tmp_path / "0999_zoo.sql"
    harmless = f"-- depends: {numbered()[-1]}\nalter table parley.chats add column giraffe text;\n"
    file.write_text(harmless)
    assert squawk(file) == ""
    file.write_text(harmless + statement)
    assert f": {rule} " in squawk(file)
