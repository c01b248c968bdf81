"""`python -m api`: the HTTP API, against the services that the environment names."""

import asyncio
import logging
import sys
from functools import partial

import asyncpg
from sanic import Sanic
from sanic.worker.loader import AppLoader

from api.app import create_app
from api.database import Database
from api.settings import Settings, SettingsError


async def check_database(settings: Settings) -> str | None:
    """One line on why this database can't be served, or None."""
    try:
        database = await Database.connect(settings)
    except (OSError, TimeoutError, ValueError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        return f"DATABASE_URL: no connection to PostgreSQL: {type(error).__name__}"
    try:
        await database.call("select api.ready()")
    except (asyncpg.InvalidSchemaNameError, asyncpg.UndefinedFunctionError, asyncpg.InsufficientPrivilegeError):
        return "DATABASE_URL: no Parley database for this role: run `yoyo apply --batch` and grant it parley_api"
    except asyncpg.PostgresError as error:
        return f"DATABASE_URL: {error.args[0]}"
    finally:
        await database.close()
    return None


def main() -> None:
    """Checks the environment and the database, then serves until it is told to stop."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("sanic").setLevel(logging.WARNING)
    try:
        settings = Settings.load()
    except SettingsError as error:
        sys.exit(f"parley: {error}")
    if problem := asyncio.run(check_database(settings)):
        sys.exit(f"parley: {problem}")
    loader = AppLoader(factory=partial(create_app, settings))
    app = loader.load()
    single = settings.workers == 1
    app.prepare(settings.host, settings.port, workers=settings.workers, single_process=single, motd=False)
    if single:
        Sanic.serve_single(primary=app)
    else:
        Sanic.serve(primary=app, app_loader=loader)


if __name__ == "__main__":
    main()
