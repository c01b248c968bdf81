"""The remarks of `parley db check`: properties that a DBA has overridden, and hints for tuning."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from api.admin.catalog import Catalog

# Properties that a DBA may override. sql/README.md documents the first; the second is for tuning.
OVERRIDABLE = re.compile(r"default of parley\.settings\.|option autovacuum_")

INDEX_USAGE = """
    select format('index %%s on %%s', s.indexrelid::regclass, s.relid::regclass), s.idx_scan,
        pg_size_pretty(pg_relation_size(s.indexrelid)), d.stats_reset::date::text, i.indisunique
    from pg_stat_user_indexes s
    join pg_index i on i.indexrelid = s.indexrelid
    join pg_class c on c.oid = s.indexrelid and not c.relispartition
    cross join pg_stat_database d
    where d.datname = current_database() and s.schemaname = any (%(schemas)s)
    order by 1
"""

FOREIGN_KEYS_WITHOUT_INDEX = """
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

SEQUENTIAL_SCANS = """
    select format('table %%s is mostly read by sequential scans: %%s scans, %%s rows; index scans: %%s rows',
        relid::regclass, seq_scan, seq_tup_read, coalesce(idx_tup_fetch, 0))
    from pg_stat_user_tables
    where schemaname = any (%(schemas)s) and n_live_tup > 10000 and seq_tup_read > coalesce(idx_tup_fetch, 0)
    order by 1
"""

LARGE_OBJECT_FUNCTIONS = """
    select format('every login can store large objects; as a superuser: revoke execute on function %%s from public;',
        string_agg(p.oid::regprocedure::text, ', ' order by p.oid::regprocedure::text))
    from pg_proc p
    where p.pronamespace = 'pg_catalog'::regnamespace and p.proname ~ '^(lo_.*|loread|lowrite)$'
      and has_function_privilege('public', p.oid, 'execute')
    having count(*) > 0
"""


@dataclass(frozen=True)
class IndexUsage:
    """The statistics of an index since they were reset."""

    scans: int
    size: str
    reset_on: str | None
    is_unique: bool


def get_schemas(catalog: Catalog) -> dict[str, list[str]]:
    """Return the parameter of the queries above: the names of the expected schemas."""
    return {"schemas": [key.removeprefix("schema ") for key in catalog.create if key.startswith("schema ")]}


def read_index_usage(cursor: Any, expected: Catalog) -> dict[str, IndexUsage]:
    """Return the usage of each index by its key in the catalog."""
    cursor.execute(INDEX_USAGE, get_schemas(expected))
    return {key: IndexUsage(*rest) for key, *rest in cursor.fetchall()}


def find_remarks(cursor: Any, expected: Catalog, live: Catalog, usage: dict[str, IndexUsage]) -> list[str]:
    """Return all remarks."""
    remarks = [*find_dba_overrides(expected, live), *find_unused_indexes(expected, usage)]
    cursor.execute(FOREIGN_KEYS_WITHOUT_INDEX, get_schemas(expected))
    remarks += [f"no index for {key}: {fix}" for key, fix in cursor.fetchall() if key not in expected.create]
    for query in (SEQUENTIAL_SCANS, LARGE_OBJECT_FUNCTIONS):
        cursor.execute(query, get_schemas(expected))
        remarks += [remark for (remark,) in cursor.fetchall()]
    return remarks


def find_dba_overrides(expected: Catalog, live: Catalog) -> Iterator[str]:
    """Yield the properties that a DBA has overridden, and those that cannot be compared."""
    if expected.major != live.major:
        yield f"bodies of views are not compared: the snapshot is PostgreSQL {expected.major}'s"
    for key in dict.fromkeys((*expected.create, *live.create)):
        if OVERRIDABLE.match(key) and expected.create.get(key) != live.create.get(key):
            yield f"{key} is overridden: {live.create.get(key, 'none')}"


def find_unused_indexes(expected: Catalog, usage: dict[str, IndexUsage]) -> Iterator[str]:
    """Yield the expected indexes that no query has used, except unique ones."""
    for key, index in usage.items():
        if key in expected.create and not index.scans and not index.is_unique:
            yield f"{key} ({index.size}) has not been used since {index.reset_on or 'statistics began'}"
