"""squawk reads every migration, by the settings in .squawk.toml: one that would hold requests up does not get in.

A statement of an old one that does is ignored beside it, with the reason; so is, in a rollback, that it drops.
"""

import subprocess
import sysconfig
from pathlib import Path

import pytest

from tests.sql.support import MIGRATIONS, numbered
from tests.support import ROOT


def squawk(*arguments: str | Path) -> str:
    """What squawk finds, a line each."""
    command = [Path(sysconfig.get_path("scripts")) / "squawk", "--reporter=gcc", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == bool(done.stdout.strip()), done.stderr
    return done.stdout


def test_no_migration_and_no_rollback_holds_requests_up() -> None:
    files = list(MIGRATIONS.glob("*.sql"))
    assert len(files) >= 10
    assert squawk(*files) == ""


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
