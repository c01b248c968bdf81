"""`python -m listener`: runs the listener until SIGTERM or SIGINT, with the settings in environment variables."""

import asyncio
import logging
import random
import signal
import sys

import asyncpg
import uvloop

from api.shared import logs, traces
from api.shared.postgres import describe_connection_error
from api.shared.process_memory import protect_memory
from api.shared.settings import SettingsError
from listener.database import DATABASE_ERRORS, ListenerDatabase
from listener.health import serve_health
from listener.leadership import acquire_leadership
from listener.maintenance import run_maintenance
from listener.pusher import PusherClient
from listener.relay import Relay
from listener.settings import Settings
from listener.traces import TRACES

logger = logging.getLogger("parley.listener")

MAX_RECONNECT_SECONDS = 1
POOLER_ERROR = "leads to a pooler, but the listener must connect to PostgreSQL directly"


async def check_database(settings: Settings) -> None:
    """Check that the listener can use the database. Raises SettingsError otherwise."""
    try:
        async with ListenerDatabase.connect(settings) as database:
            await database.ack_and_fetch_events([])
            is_direct = await database.is_direct()
    except (asyncpg.InvalidSchemaNameError, asyncpg.UndefinedFunctionError, asyncpg.InsufficientPrivilegeError):
        message = "no Parley database for this role: run `yoyo apply --batch` and grant it parley_listener"
        raise SettingsError(f"DATABASE_URL: {message}") from None
    except (*DATABASE_ERRORS, ValueError) as error:
        is_pooler = "startup parameter" in str(error)  # PgBouncer rejects most session settings.
        message = POOLER_ERROR if is_pooler else f"no connection to PostgreSQL: {describe_connection_error(error)}"
        raise SettingsError(f"DATABASE_URL: {message}") from None
    if not is_direct:
        raise SettingsError(f"DATABASE_URL: {POOLER_ERROR}")


async def relay_events(settings: Settings, stop_event: asyncio.Event) -> None:
    """Publish events while this listener is the leader, until `stop_event` is set. Reconnect after DATABASE_ERRORS."""
    async with PusherClient(settings) as pusher, serve_health(settings, relay := Relay(pusher)):
        stopped = asyncio.create_task(stop_event.wait())
        stopped.add_done_callback(lambda _: relay.wake_up())
        while not stop_event.is_set():
            try:
                async with ListenerDatabase.connect(settings) as database, acquire_leadership(database, stop_event):
                    await relay.run(database, stop_event)
            except DATABASE_ERRORS as error:
                # Log the repr of the error: it has no DETAIL, which could quote data.
                logger.warning("The database is unavailable, reconnecting: %r", error)
                jitter = random.uniform(0.2, 1)  # noqa: S311 (no secret)
                await asyncio.wait([stopped], timeout=MAX_RECONNECT_SECONDS * jitter)


async def run(settings: Settings) -> None:
    """Run until SIGTERM or SIGINT, and then until open requests are drained."""
    stop_event = asyncio.Event()
    for signal_number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(signal_number, stop_event.set)
    await check_database(settings)
    maintenance = asyncio.create_task(run_maintenance(settings))
    try:
        await relay_events(settings, stop_event)
    finally:
        maintenance.cancel()
        await asyncio.wait([maintenance])


def main() -> None:
    """Load the settings and run. Exit with an error in one line if a setting or the database is unusable."""
    protect_memory()
    try:
        settings = Settings.load()
        logs.configure_logging(settings.log_format)
        if error := traces.find_configuration_error():
            raise SettingsError(error)  # noqa: TRY301 (as run() does)
        with TRACES.exporting(), asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(run(settings))
    except SettingsError as error:
        sys.exit(f"parley-listener: {error}")


if __name__ == "__main__":
    main()
