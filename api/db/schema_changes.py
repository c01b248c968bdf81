"""Retrying a statement that a schema change interrupted."""

from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg

# SQLSTATEs of a statement that a schema change interrupted. A function that is running keeps its body, but the
# functions, columns and tables that it refers to by name may have been replaced (undefined function, column or table;
# datatype mismatch) or dropped between lookup and use (internal error).
SCHEMA_CHANGE_SQLSTATES = {"42883", "42703", "42P01", "42804", "XX000"}


async def retry_after_schema_change(fetch: Callable[..., Awaitable[Any]], *statement: Any) -> Any:
    """Run a statement, and run it once more if a schema change made it fail; a failed statement has no effect."""
    try:
        return await fetch(*statement)
    except asyncpg.PostgresError as error:
        if error.sqlstate not in SCHEMA_CHANGE_SQLSTATES:
            raise
    return await fetch(*statement)
