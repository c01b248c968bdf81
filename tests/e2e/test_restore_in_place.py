"""A dump that is restored into the database that it was made of, whose later changes are lost."""

import subprocess
from pathlib import Path

import psycopg

from tests.database import Connection, call, expect_error, new_chat
from tests.servers import migrate, new_postgres, open_directory


def read_seq(dba: Connection, chat: str) -> int:
    """Return the seq of a chat."""
    row = dba.execute("select seq from parley.chats where id = %s", [chat]).fetchone()
    assert row
    return int(row[0])


def test_restored_database_assigns_no_lost_seq(tmp_path: Path) -> None:
    dump = str(tmp_path / "dump")
    with open_directory() as root, new_postgres(root / "postgres", fsync="off") as server:
        migrate(server)
        url = server.url("parley")
        with psycopg.connect(url, autocommit=True) as dba:
            chat = new_chat(dba, "owner")
            kept = read_seq(dba, chat)
            subprocess.run([server.get_program("pg_dump"), "-Fc", "-f", dump, url], check=True)
            call(dba, "owner", "send_message", chat, {"content": "lost"})
            seen = read_seq(dba, chat)
        # It continues after the indexes of partitions, which the partitioned table's own have dropped already.
        restore: list[str | Path] = [server.get_program("pg_restore"), "--clean", "--if-exists", "-d", url, dump]
        subprocess.run(restore, capture_output=True, check=False)
        with psycopg.connect(url, autocommit=True) as dba:
            assert read_seq(dba, chat) == kept < seen
            for _ in range(2):
                call(dba, "owner", "send_message", chat, {"content": "new"})
            with expect_error(410):
                call(dba, "owner", "list_chat_events", chat, after=str(seen))
            events = call(dba, "owner", "list_chat_events", chat, after=str(kept))["events"]
            assert [event["data"]["content"] for event in events] == ["new", "new"]
