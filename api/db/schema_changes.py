"""Retrying a statement that a schema change interrupted, if the failed attempt certainly had no effect."""

import re
from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg

# SQLSTATEs of a statement that a schema change interrupted. A function that is running keeps its body, but the
# functions, columns and tables that it refers to by name may have been replaced: undefined function, column or table;
# datatype mismatch.
SCHEMA_CHANGE_SQLSTATES = {"42883", "42703", "42P01", "42804"}
# They may also have been dropped between lookup and use, which is an internal error. PostgreSQL does not translate its
# message. Other internal errors have other causes; PL/Proxy, for example, raises one for a lost connection.
INTERNAL_ERROR = "XX000"
DROPPED_OBJECT = re.compile(r"cache lookup failed for [a-z ]+ \d+|could not open relation with OID \d+")

# PostgreSQL rolls back the effects of a failed statement, except those outside the database, such as what a foreign
# server has committed. Only code that is neither SQL nor PL/pgSQL can act there. Such code needs a volatile function in
# C: that of dblink, the handler of a foreign-data wrapper or of a procedural language. The functions of the listed
# extensions are known to act in the database only. User-defined objects have OIDs from 16384.
HAS_ONLY_TRANSACTIONAL_CODE = """
select not exists (
    select from pg_catalog.pg_proc p join pg_catalog.pg_language l on l.oid = p.prolang
    where p.oid >= 16384 and p.provolatile = 'v' and l.lanname = 'c' and not exists (
        select from pg_catalog.pg_depend d join pg_catalog.pg_extension e on e.oid = d.refobjid
        where d.classid = 'pg_catalog.pg_proc'::regclass and d.objid = p.oid and d.deptype = 'e'
          and e.extname in ('pg_buffercache', 'pg_stat_statements', 'pgcrypto', 'pgstattuple', 'plpgsql', 'uuid-ossp')))
"""


def is_schema_change(error: asyncpg.PostgresError) -> bool:
    """Return whether an error may have been caused by a schema change during the statement."""
    if error.sqlstate == INTERNAL_ERROR:
        return DROPPED_OBJECT.fullmatch(error.args[0]) is not None
    return error.sqlstate in SCHEMA_CHANGE_SQLSTATES


async def retry_after_schema_change(fetch: Callable[..., Awaitable[Any]], *statement: Any) -> Any:
    """Run a statement, and run it once more if a schema change made it fail.

    A statement is not repeated in a database with code that may have effects outside the transaction.
    """
    try:
        return await fetch(*statement)
    except asyncpg.PostgresError as error:
        if not is_schema_change(error) or not (await fetch(HAS_ONLY_TRANSACTIONAL_CODE))[0]:
            raise
    return await fetch(*statement)
