"""The restore drill as a DBA runs it: intact copies are identical, also while others write, and damage is detected."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread
from typing import Any

import psutil
import psycopg
import pytest

from api.dev.postgres import Postgres
from tests import ROOT
from tests.database import add_session, call, new_chat
from tests.servers import migrate, new_postgres, open_directory

CHECKS = (
    "schema", "row-level security", "policies", "roles", "memberships", "grants", "rows", "sequences", "who sees what",
)  # fmt: skip
COUNT_MESSAGES = "select count(*) from parley.messages, set_config('parley.user_id', '{}', false)"

# The findings of each check in the copy of the dump, in their order.
DAMAGE = """
drop index parley.messages_type;
alter table parley.settings disable row level security;
drop policy messages_select on parley.messages;
alter role app connection limit 5;
revoke parley_listener from events;
grant select on parley.outbox to parley_api;
update parley.outbox set payload = '"other"' where id = 1;
select setval('parley.outbox_id_seq', 1);
"""

# Columns that were dropped with their grants, added, or are in another order than that of the partitioned table.
CHANGED_TABLES = r'''
create schema "DBA's";
create table "DBA's"."Odd ""names""" ("a b" integer, dropped text, "C" text default 'x');
grant select (dropped, "C") on "DBA's"."Odd ""names""" to parley_analyst;
insert into "DBA's"."Odd ""names""" values (1, 'dropped', E'\t\\.');
alter table "DBA's"."Odd ""names""" drop column dropped;
alter table "DBA's"."Odd ""names""" add column dropped integer default 7;
create table "DBA's".parts (id integer, part text) partition by list (part);
create table "DBA's"."part 1" (gone integer, part text, id integer);
alter table "DBA's"."part 1" drop column gone;
alter table "DBA's".parts attach partition "DBA's"."part 1" for values in ('1');
insert into "DBA's".parts values (1, '1');
alter table parley.limits add column zoo integer;
grant select (zoo) on parley.limits to parley_listener;
alter table parley.limits drop column zoo;
'''


@dataclass
class Drill:
    """A server with data, directories for the script and its copies, and wrappers of PostgreSQL's programs."""

    server: Postgres
    root: Path
    chat: str
    count: int = 0

    def new_directory(self) -> Path:
        """Create an empty directory owned by the user that runs the script."""
        self.count += 1
        directory = self.root / f"drill-{self.count}"
        directory.mkdir(mode=0o700)
        owner = self.server.data.stat()
        os.chown(directory, owner.st_uid, owner.st_gid)
        return directory

    def wrap(self, program: str, *, before: str = "", after: str = "") -> None:
        """Run a shell command before or after each call of a program of PostgreSQL."""
        wrapper = self.root / "wrappers" / program
        wrapper.parent.mkdir(exist_ok=True)
        wrapper.write_text(f'#!/bin/bash\nset -e\n{before}\n"{self.server.get_program(program)}" "$@"\n{after}\n')
        wrapper.chmod(0o755)

    def unwrap(self) -> None:
        """Remove all wrappers."""
        shutil.rmtree(self.root / "wrappers", ignore_errors=True)

    def run(self, *arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run the script as PostgreSQL's user."""
        owner = self.server.data.stat()
        identity: dict[str, Any] = {}
        if os.geteuid() == 0:
            identity = {"user": owner.st_uid, "group": owner.st_gid, "extra_groups": []}
        programs = self.server.get_program("psql").parent
        return subprocess.run(
            ["bash", str(self.root / "restore_drill.sh"), *map(str, arguments)],
            env={
                "PATH": f"{self.root / 'wrappers'}:{programs}:{os.environ['PATH']}",
                "DATABASE_URL": f"postgresql://postgres@127.0.0.1:{self.server.port}/parley",
                "PGPASSWORD": self.server.password,
                **environment,
            },
            cwd="/",
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            **identity,
        )


@pytest.fixture(scope="module")
def drill() -> Iterator[Drill]:
    with open_directory() as root, new_postgres(root / "postgres", fsync="off") as server:
        root.chmod(0o755)
        migrate(server)
        with psycopg.connect(server.url("parley"), autocommit=True) as dba:
            chat = new_chat(dba, "alice", "bob")
            other = new_chat(dba, "carol", title="Ça va? “上海”")
            for n in range(20):
                sent = call(dba, "bob", "send_message", chat, {"content": f"message {n}\n\t\\. 上海"})
            call(dba, "bob", "delete_message", chat, sent["id"])
            call(dba, "carol", "send_message", other, {"content": "f()", "type": "code"})
            call(dba, "alice", "update_settings", {"settings": {"theme": "dark"}})
            add_session(dba, "alice")
            dba.execute("insert into parley.image_cleanup (name) values ('x')")
            dba.execute("delete from next_auth.users where id = 'carol'")
            dba.execute("alter role events set statement_timeout = '1min'")
            dba.execute("alter database parley set idle_in_transaction_session_timeout = '300ms'")  # as for requests
            dba.execute(CHANGED_TABLES)
            dba.execute("create role a_dba login noinherit in role parley_api")  # does not inherit the privileges
        for file in ("restore_drill.sh", "restore_drill.sql"):
            shutil.copy(ROOT / "sql" / file, root)
        yield Drill(server, root, chat)


@pytest.fixture(autouse=True)
def remove_wrappers(drill: Drill) -> Iterator[None]:
    yield
    drill.unwrap()


def find_servers(directory: Path) -> list[int]:
    """Return the processes of PostgreSQL with a cluster in the directory."""
    return [
        process.pid
        for process in psutil.process_iter(["cmdline"])
        if any(str(directory) in word for word in process.info["cmdline"] or ())
    ]


def parse_report(report: str) -> dict[tuple[str, str], str]:
    """Return the findings of each check of each copy; a difference continues on the next lines."""
    found = {}
    for line in report.splitlines():
        if line[:6].strip() in {"backup", "dump"}:
            found[line[:6].strip(), line[8:26].strip()] = line[28:]
    return found


def test_intact_copies_are_identical_and_subject_to_row_level_security_while_others_write(drill: Drill) -> None:
    directory = drill.new_directory()
    psql = f'psql -XAtq -h "{directory}" -p 5432 -U app -d parley -c'
    count_messages = "; ".join(
        f'{psql} "{COUNT_MESSAGES.format(user)}" >>"{directory}/seen"' for user in ("nobody else", "bob")
    )
    drill.wrap("pg_ctl", before=f"[[ $1 != stop ]] || {{ {count_messages}; }}")
    stop, sent = Event(), 0

    def write() -> None:
        nonlocal sent
        url, options = drill.server.url("parley", "app", "app"), "-c idle_in_transaction_session_timeout=0"
        with psycopg.connect(url, autocommit=True, options=options) as app:
            while not stop.is_set():
                message = call(app, "bob", "send_message", drill.chat, {"content": "busy"})["id"]
                call(app, "bob", "update_message", drill.chat, message, {"content": "still busy"})
                call(app, "alice", "update_settings", {"settings": {"context": f"{sent}"}})
                sent += 1

    writer = Thread(target=write)
    writer.start()
    try:
        done = drill.run(directory)
    finally:
        stop.set()
        writer.join()
    assert (done.stderr, done.returncode) == ("", 0), done.stdout
    found = parse_report(done.stdout)
    assert list(found) == [
        ("backup", "files"), *(("backup", check) for check in CHECKS), *(("dump", check) for check in CHECKS)
    ]  # fmt: skip
    assert all(result.startswith("identical") for result in found.values())
    assert sent > 20
    unseen, members, *others = map(int, (directory / "seen").read_text().split())
    assert unseen == 0
    assert 19 <= members < 19 + sent
    assert others == [unseen, members]  # both copies have the same snapshot
    assert find_servers(directory) == []
    assert not list(directory.glob("**/PG_VERSION"))
    with psycopg.connect(drill.server.url("parley")) as dba:
        assert dba.execute("select from pg_replication_slots").rowcount == 0


def test_each_check_detects_its_damage(drill: Drill) -> None:
    directory = drill.new_directory()
    with psycopg.connect(drill.server.url("parley")) as dba:
        row = dba.execute("select pg_relation_filepath('parley.messages')").fetchone()
    assert row is not None
    drill.wrap(
        "pg_basebackup",
        after=f"printf X | dd of={directory}/backup/{row[0]} bs=1 seek=8000 conv=notrunc status=none",
    )
    damage = drill.root / "damage.sql"
    damage.write_text(DAMAGE)
    drill.wrap("pg_restore", after=f'psql -Xq -h "$PGHOST" -d parley -f {damage} >/dev/null')
    done = drill.run(directory)
    assert done.returncode == 1
    found = parse_report(done.stdout)
    assert list(found) == [("backup", "files"), *(("dump", check) for check in CHECKS)]
    assert "checksum mismatch" in found["backup", "files"]
    for (_, check), word in zip(
        list(found)[1:],
        ("messages_type", "parley.settings", "messages_select", "app", "events", "parley.outbox", "parley.outbox",
         "parley.outbox_id_seq is 1, not from", "a member sees 1 chats with 0 messages"),
        strict=True,
    ):  # fmt: skip
        assert word in done.stdout.partition(f"  {check:18}  ")[2].partition("dump ")[0], check
    assert find_servers(directory) == []


@pytest.mark.parametrize(
    ("program", "error"),
    [("pg_restore", "dump    restore"), ("pg_basebackup", "restore_drill: "), ("pg_dump", "")],
)
def test_failed_program_fails_the_drill(drill: Drill, program: str, error: str) -> None:
    directory = drill.new_directory()
    drill.wrap(program, before="echo broken >&2; exit 3")
    done = drill.run(directory)
    assert done.returncode != 0
    assert error in done.stdout + done.stderr
    assert "broken" in done.stdout + done.stderr
    assert find_servers(directory) == []


def test_interrupted_drill_leaves_no_server(drill: Drill) -> None:
    directory = drill.new_directory()
    drill.wrap("pg_restore", before='pg_ctl status -D dump && touch was-up; kill -TERM "$PPID"')
    done = drill.run(directory)
    assert done.returncode == 1
    assert (directory / "was-up").exists()
    assert find_servers(directory) == []
    assert not list(directory.glob("**/PG_VERSION"))


@pytest.mark.parametrize(
    ("arguments", "environment", "error"),
    [
        ([], {}, "takes one argument"),
        (["/proc/none"], {}, "/proc/none is not to be had"),
        (["/usr"], {}, "/usr is not to be had"),
        (["new"], {"DATABASE_URL": ""}, "DATABASE_URL is not set"),
        (["new"], {"DATABASE_URL": "postgresql://nobody@127.0.0.1:1/x"}, "connection"),
        (["new", "new"], {}, "takes one argument"),
    ],
)
def test_invalid_arguments_and_settings_are_reported(
    drill: Drill, arguments: list[str], environment: dict[str, str], error: str
) -> None:
    directory = str(drill.new_directory())
    done = drill.run(*(directory if argument == "new" else argument for argument in arguments), **environment)
    assert done.returncode != 0
    assert error in done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="is not root")
def test_drill_does_not_run_as_root(drill: Drill) -> None:
    command = ["bash", str(drill.root / "restore_drill.sh"), str(drill.root / "x")]
    done = subprocess.run(command, env={"DATABASE_URL": "x"}, capture_output=True, text=True, check=False)
    assert (done.returncode, "can't run as root" in done.stderr) == (1, True)
