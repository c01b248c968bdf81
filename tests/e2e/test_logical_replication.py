"""Logical replication of all tables: the functions of the API and the listener work, and the copy has the same rows."""

from collections.abc import Iterator

import psycopg
import pytest

from tests.database import Connection, call, new_chat
from tests.servers import new_postgres, open_directory
from tests.sql.version_clients import use_api, use_listener
from tests.sql.versions import THIS, create_database
from tests.waiting import wait_until

SETTINGS = {"fsync": "off", "wal_level": "logical"}
TABLES = """
    select c.oid::regclass::text, (
        select quote_ident(a.attname) from pg_attribute a
        where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped and a.attgenerated = '' and a.attidentity = ''
        limit 1)
    from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where n.nspname !~ '^(pg_|information_schema$)' and c.relkind in ('r', 'p') and not c.relispartition order by 1
"""


@pytest.fixture(scope="module")
def databases() -> Iterator[tuple[Connection, Connection]]:
    """Connections to a database and to its copy, which subscribes to all tables and is empty at first."""
    with open_directory() as root, new_postgres(root / "postgres", **SETTINGS) as server:
        url, copy_url = create_database(server, "parley"), create_database(server, "copy")
        for each in (url, copy_url):
            THIS.yoyo(each, "apply")
        with (
            psycopg.connect(url, autocommit=True) as source,
            psycopg.connect(copy_url, autocommit=True) as copy,
        ):
            copy.execute(f"truncate {', '.join(table for table, _ in read_tables(copy))}")
            source.execute("create publication everything for all tables")
            source.execute("select pg_create_logical_replication_slot('everything', 'pgoutput')")
            # A subscription in the same cluster would wait for its own transaction if it created the slot.
            copy.execute(
                f"create subscription everything connection '{url}' publication everything with (create_slot = false)"
            )
            yield source, copy
            copy.execute("alter subscription everything disable")
            copy.execute("alter subscription everything set (slot_name = none)")
            copy.execute("drop subscription everything")


def read_tables(connection: Connection) -> list[tuple[str, str]]:
    """Return all tables but partitions, with a column of each."""
    return connection.execute(TABLES).fetchall()


def read_rows(connection: Connection) -> dict[str, tuple[int, int]]:
    """Return the number of rows of each table, and a hash of them."""
    query = "select count(*), coalesce(sum(hashtextextended(t::text, 0)), 0) from {} t"
    tables = [table for table, _ in read_tables(connection)]
    return {table: connection.execute(query.format(table)).fetchall()[0] for table in tables}


def test_rows_of_every_table_can_be_updated_and_deleted(databases: tuple[Connection, Connection]) -> None:
    source, _ = databases
    tables = read_tables(source)
    assert len(tables) > 30
    for table, column in tables:
        source.execute(f"update {table} set {column} = {column} where false")
        source.execute(f"delete from {table} where false")
    with source.transaction(force_rollback=True):
        source.execute("create table public.zoo ()")
        with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState, match="does not have a replica identity"):
            source.execute("delete from public.zoo where false")


def test_copy_has_the_rows_of_all_tables(databases: tuple[Connection, Connection]) -> None:
    source, copy = databases
    for _ in range(2):
        chat = new_chat(source, "owner", "member")
        message = call(source, "member", "send_message", chat, {"content": "hello"})
        call(source, "owner", "mark_read", chat, {"messageId": message["id"]})
        source.execute("delete from next_auth.users where id = 'member'")
        source.execute("delete from parley.deleted_users")
        use_api(source)
        use_listener(source)
    assert source.execute("select from parley.rollup_settings").rowcount > 5
    wait_until(lambda: read_rows(copy) == read_rows(source))
    assert sum(rows > 0 for rows, _ in read_rows(copy).values()) > 15
