"""Create and migrate the stack's database, and its logins."""

import asyncio
import contextlib
import os
import secrets
import sys
from pathlib import Path

import asyncpg
import psycopg2

from api.admin import logins
from api.dev.postgres import Postgres
from api.dev.process import run
from api.shared.postgres import connect

ROOT = Path(__file__).parents[2]
DATABASE = "parley"
API_USER = "parley_app"
LISTENER_USER = "parley_events"
WEB_USER = "parley_signin"
ROLES = {API_USER: "parley_api", LISTENER_USER: "parley_listener", WEB_USER: "parley_web"}
MIGRATION_TIMEOUT_SECONDS = 300

# A killed migration leaves yoyo's lock behind. No other migration can run on this stack's database at the same time.
_UNLOCK = """
do $$ begin
    if to_regclass('yoyo_lock') is not null then delete from yoyo_lock; end if;
end $$
"""


def migrate(postgres: Postgres, directory: Path) -> dict[str, str]:
    """Create or upgrade the database; return new passwords of its logins. Raises ProcessFailedError."""
    url = postgres.url(DATABASE)
    with contextlib.suppress(asyncpg.DuplicateDatabaseError):
        asyncio.run(_execute(postgres.url("postgres"), f"create database {DATABASE}"))
    asyncio.run(_execute(url, _UNLOCK))
    run(
        "the migration",
        [sys.executable, "-m", "yoyo", "apply", "--batch"],
        seconds=MIGRATION_TIMEOUT_SECONDS,
        log=directory / "migration.log",
        cwd=ROOT,
        env={**os.environ, "DATABASE_URL": url},
    )
    passwords = {name: secrets.token_urlsafe(24) for name in ROLES}
    with contextlib.closing(psycopg2.connect(url)) as connection, connection:
        for name, role in ROLES.items():
            logins.ensure_login(connection, name, role, passwords[name])
    asyncio.run(_execute(url, f"alter role {WEB_USER} set search_path = next_auth"))
    return passwords


async def _execute(url: str, sql: str) -> None:
    connection = await connect(url)
    try:
        await connection.execute(sql)
    finally:
        await connection.close()
