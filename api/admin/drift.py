"""`parley db check`: where a database is not as this checkout makes it, with the lines that mend it.

It reads in one transaction and changes nothing. A finding is what ought to be mended; a remark is for who tunes the
database.
"""

import itertools
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import psycopg2
from psycopg2.extensions import ISOLATION_LEVEL_REPEATABLE_READ
from yoyo import read_migrations

from api.admin.catalog import SQL, Inventory
from api.admin.migrations import REPEATABLE_HASH, ConnectError, connect, limit
from api.admin.repeatable import repeatable_migrations

LIMITS = {"lock_timeout": "5s", "statement_timeout": "1min"}
APPLY = "$ yoyo apply --batch"
RELOAD_ALL = "$ psql \"$DATABASE_URL\" -c 'delete from parley.repeatable_migrations' && yoyo apply --batch"
# What a DBA may set as they like: sql/README.md says so of the first; the second is tuning.
OWN_CHOICE = re.compile(r"default of parley\.settings\.|option autovacuum_")
# A statement that sets what is there already makes it right.
SET_AGAIN = ("default of ", "option ", "storage of ")
REPLACED = ("function ", "view ")
# What others may be made of, in the order in which it can be dropped.
USED = ("column ", "function ", "table ", "sequence ", "text ", "type ")
# What is made of messages, with the lines of sql/README.md that make it again.
REFILL = {
    "parley.message_words": (
        "insert into parley.message_words (chat_id, id, type, tsv, words)\n"
        "select m.chat_id, m.id, m.type, d.tsv, d.words from parley.messages m, rules.search_document(m.content) d\n"
        "on conflict do nothing;"
    ),
    "parley.message_blocks": "select parley.recount_chat(id) from parley.chats;",
}

FOREIGN_KEYS = """
    select format('constraint %%I on %%s', c.conname, c.conrelid::regclass),
        format('create index concurrently on %%s (%%s);', c.conrelid::regclass, (
            select string_agg(quote_ident(a.attname), ', ' order by k.place)
            from unnest(c.conkey) with ordinality k (attnum, place)
            join pg_attribute a on a.attrelid = c.conrelid and a.attnum = k.attnum))
    from pg_constraint c
    where c.contype = 'f' and c.conparentid = 0 and c.connamespace::regnamespace::text = any (%(schemas)s)
      and not exists (
        select from pg_index i
        where i.indrelid = c.conrelid and i.indisvalid and i.indpred is null
          and (i.indkey::int2[])[0:cardinality(c.conkey) - 1] @> c.conkey)
    order by 1
"""

INDEXES = """
    select format('index %%s on %%s', s.indexrelid::regclass, s.relid::regclass), s.idx_scan,
        pg_size_pretty(pg_relation_size(s.indexrelid)), d.stats_reset::date::text, i.indisunique
    from pg_stat_user_indexes s
    join pg_index i on i.indexrelid = s.indexrelid
    join pg_class c on c.oid = s.indexrelid and not c.relispartition
    cross join pg_stat_database d
    where d.datname = current_database() and s.schemaname = any (%(schemas)s)
    order by 1
"""

TABLES = """
    select format('table %%s is mostly read from end to end: %%s times, %%s rows; by indexes %%s rows',
        relid::regclass, seq_scan, seq_tup_read, coalesce(idx_tup_fetch, 0))
    from pg_stat_user_tables
    where schemaname = any (%(schemas)s) and n_live_tup > 10000 and seq_tup_read > coalesce(idx_tup_fetch, 0)
    order by 1
"""


@dataclass(frozen=True)
class Finding:
    """What is wrong, and the lines that mend it: SQL, or after `$ ` the shell's."""

    what: str
    mend: str


@dataclass(frozen=True)
class Usage:
    """How an index fares."""

    scans: int
    size: str
    since: str | None
    is_unique: bool


def main() -> int:
    """Checks the database at DATABASE_URL: 0 if nothing was found, 1 if something was, 2 if that could not be told."""
    try:
        connection = connect("DATABASE_URL")
        try:
            connection.set_session(isolation_level=ISOLATION_LEVEL_REPEATABLE_READ, readonly=True, autocommit=False)
            limit(connection, LIMITS)
            with connection.cursor() as cursor:
                findings, remarks = check(cursor)
        finally:
            connection.close()
    except (ConnectError, psycopg2.Error, OSError) as error:
        print(f"parley db check: {str(error).splitlines()[0]}", file=sys.stderr)
        return 2
    for mend, group in itertools.groupby(findings, lambda finding: finding.mend):
        print(*(finding.what for finding in group), *(f"    {line}" for line in mend.splitlines()), sep="\n")
    for remark in remarks:
        print(f"remark: {remark}")
    print(f"findings: {len(findings)}, remarks: {len(remarks)}")
    return int(bool(findings))


def check(cursor: Any) -> tuple[list[Finding], list[str]]:
    """Findings, in the order in which to mend them, and remarks. The schema is compared once all is applied."""
    if behind := list(what_to_apply(cursor)):
        return behind, ["the schema is compared when that is done"]
    wanted, live = Inventory.read(), Inventory.of(cursor)
    schemas = {"schemas": [key.removeprefix("schema ") for key in wanted.make if key.startswith("schema ")]}
    cursor.execute(INDEXES, schemas)
    usage = {key: Usage(*rest) for key, *rest in cursor.fetchall()}
    remarks = [*drift_of_choice(wanted, live), *unused(usage, wanted)]
    cursor.execute(FOREIGN_KEYS, schemas)
    remarks += [f"no index for {key}: {mend}" for key, mend in cursor.fetchall() if key not in wanted.make]
    cursor.execute(TABLES, schemas)
    remarks += [what for (what,) in cursor.fetchall()]
    return [with_loss(cursor, finding) for finding in drift(wanted, live, usage)], remarks


def with_loss(cursor: Any, finding: Finding) -> Finding:
    """The finding, which says how much is lost if its lines drop a table with rows or a column with values."""
    drop = re.search(r"^(?:drop table (.+)|alter table (.+) drop column (.+));$", finding.mend, re.MULTILINE)
    if not drop:
        return finding
    cursor.execute("set local row_security = off; savepoint counting")  # rows that are hidden are lost too
    try:
        cursor.execute(f"select count({drop[3] or '*'}) from {drop[1] or drop[2]}")  # noqa: S608 (names are quoted)
        (count,) = cursor.fetchone()
        lost = f"{'values' if drop[3] else 'rows'}: {count}" if count else ""
    except psycopg2.Error as error:
        cursor.execute("rollback to counting")
        lost = f"not counted: {str(error).splitlines()[0]}"
    return replace(finding, what=f"{finding.what} ({lost})") if lost else finding


def what_to_apply(cursor: Any) -> Iterator[Finding]:
    """What `yoyo apply` would do, and what only a newer checkout knows of."""
    applied = set()
    cursor.execute("select to_regclass('_yoyo_migration') is not null")
    if cursor.fetchone() == (True,):
        cursor.execute("select migration_id from _yoyo_migration")
        applied = {migration for (migration,) in cursor.fetchall()}
    known = [m.id for m in read_migrations(str(SQL / "migrations")) if m.hash != REPEATABLE_HASH]
    if pending := [migration for migration in known if migration not in applied]:
        yield Finding(f"pending: {', '.join(pending)}", APPLY)
    elif newer := sorted(applied - set(known)):
        yield Finding(f"applied by a newer checkout, which is the one to check with: {', '.join(newer)}", "")
    elif names := repeatable_migrations(cursor, SQL):
        yield Finding(f"pending: {', '.join(names)}", APPLY)


def drift(wanted: Inventory, live: Inventory, usage: dict[str, Usage]) -> Iterator[Finding]:
    """What is not as it should be: last what is there too much and may be used by what differs."""
    surplus = extra(wanted, live)
    yield from (too_much(key, live, usage) for key in surplus if not key.startswith(USED))
    missing = [key for key in wanted.make if key not in live.make]
    gone = [name_of(key) for key in missing if is_reloaded(key)]
    for key, statement in wanted.make.items():
        if OWN_CHOICE.match(key) or any(is_about(key, name) for name in gone):
            continue  # a reload grants what it makes
        if key not in live.make:
            yield Finding(f"missing: {key}", made(key, statement))
        elif is_other(live.make[key], statement) and not (wanted.major != live.major and key.startswith("view ")):
            yield Finding(f"differs: {key}", changed(key, wanted, live))
    for name, mend in REFILL.items():
        if any(re.fullmatch(rf"table {re.escape(name)}(_\d+)?", key) for key in missing):
            yield Finding(f"to be filled again: {name}", mend)
    for kind in USED:
        yield from (too_much(key, live, usage) for key in surplus if key.startswith(kind))


def extra(wanted: Inventory, live: Inventory) -> list[str]:
    """What is there too much, dependents before what they depend on; not what goes with it."""
    keys = [key for key in reversed(live.make) if key not in wanted.make and not OWN_CHOICE.match(key)]
    keys = [key for key in keys if not is_of_a_partition(key, wanted, live)]
    whole = [name_of(key) for key in keys if key.startswith(("table ", "column ", *REPLACED))]
    return [key for key in keys if not any(is_about(key, name) for name in whole)]


def too_much(key: str, live: Inventory, usage: dict[str, Usage]) -> Finding:
    """That it is there; of an index, how large and used it is."""
    used = f" ({usage[key].size}, {usage[key].scans} scans)" if key in usage else ""
    return Finding(f"extra: {key}{used}", live.remove[key])


def unused(usage: dict[str, Usage], wanted: Inventory) -> Iterator[str]:
    """Indexes of ours that are there for reading, and were not."""
    for key, index in usage.items():
        if key in wanted.make and not index.scans and not index.is_unique:
            yield f"{key} ({index.size}) was not used since {index.since or 'statistics began'}"


def drift_of_choice(wanted: Inventory, live: Inventory) -> Iterator[str]:
    """What differs and is a DBA's to choose, and what can't be compared."""
    if wanted.major != live.major:
        yield f"bodies of views are not compared: the snapshot is PostgreSQL {wanted.major}'s"
    for key in dict.fromkeys((*wanted.make, *live.make)):
        if OWN_CHOICE.match(key) and wanted.make.get(key) != live.make.get(key):
            yield f"{key} is this database's own: {live.make.get(key, 'none')}"


def name_of(key: str) -> str:
    """The object's name in its key."""
    return key.split(" ", 1)[1]


def is_about(key: str, name: str) -> bool:
    """Whether a key is that of a fact about this object, and not its own or a function's that takes its rows."""
    return (
        not key.startswith(REPLACED)
        and name_of(key) != name
        and re.search(rf"(?<![\w.]){re.escape(name)}(?![\w(])", key) is not None
    )


def is_other(statement: str, wanted: str) -> bool:
    """Whether statements make other things. That an index of a partitioned table can't be made concurrently is none."""
    index = "INDEX CONCURRENTLY "
    return statement.replace(index, "INDEX ", 1) != wanted.replace(index, "INDEX ", 1)


def is_of_a_partition(key: str, wanted: Inventory, live: Inventory) -> bool:
    """Whether the key is that of a DBA's own partition of a table of ours, or says that nobody can read it directly."""
    table = "table " + key.removeprefix("table ").removeprefix("alter table ").removesuffix(
        " enable row level security"
    )
    match = re.match(r"create table .+ partition of (.+?) (?:FOR VALUES|DEFAULT)", live.make.get(table, ""))
    return match is not None and f"table {match[1]}" in wanted.make


def is_reloaded(key: str) -> bool:
    """Whether what the key stands for comes from a part that is edited in place, body and all."""
    return key.startswith(REPLACED)


def made(key: str, statement: str) -> str:
    """The lines that make what is missing; a constraint so that nobody waits while rows are looked at."""
    if is_reloaded(key):
        return RELOAD_ALL
    if match := re.fullmatch(
        r"(alter table \S+) add constraint (\S+) (?:CHECK|FOREIGN KEY) .*(?<! NOT VALID);", statement
    ):
        return f"{statement.removesuffix(';')} not valid;\n{match[1]} validate constraint {match[2]};"
    return statement


def changed(key: str, wanted: Inventory, live: Inventory) -> str:
    """The lines that make what is there into what it should be."""
    statement = wanted.make[key]
    if key.startswith("view "):
        return f"$ psql \"$DATABASE_URL\" -c '{live.remove[key]}'\n{RELOAD_ALL}"
    if is_reloaded(key):
        return RELOAD_ALL
    if key.startswith((*SET_AGAIN, "function ")):
        return statement
    if key.startswith("table "):
        return "-- by hand, in a migration"
    if key.startswith("column ") and " generated always as (" not in statement + live.make[key]:
        return re.sub(r" add column if not exists (\S+) (.*);", r" alter column \1 type \2 using \1::\2;", statement)
    lines = [live.remove[key], made(key, statement)]
    if key.startswith("column "):
        lines += [other for about, other in wanted.make.items() if is_about(about, name_of(key))]
    return "\n".join(lines)
