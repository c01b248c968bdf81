"""`python -m listener`: publishes the events of the outbox to Pusher, with the services that the environment names."""

import asyncio
import logging
import random
import signal
import sys

import asyncpg
import uvloop

from api.shared import logs, traces
from api.shared.settings import SettingsError
from listener.health import serve_health
from listener.maintenance import run_maintenance
from listener.metrics import LEADS
from listener.outbox import DATABASE_ERRORS, Outbox
from listener.pusher import Pusher
from listener.relay import POLL_SECONDS, Relay
from listener.settings import Settings
from listener.traces import TRACES

logger = logging.getLogger("parley.listener")

RECONNECT_SECONDS = 1
POOLER = "leads to a pooler, but the listener must connect to PostgreSQL directly"


async def check_database(settings: Settings) -> None:
    """Connect once. Raises SettingsError, in one line, if the database cannot be used."""
    try:
        async with Outbox.connect(settings) as outbox:
            await outbox.ack_and_fetch_events([])
            is_direct = await outbox.is_direct()
    except (asyncpg.InvalidSchemaNameError, asyncpg.UndefinedFunctionError, asyncpg.InsufficientPrivilegeError):
        message = "no Parley database for this role: run `yoyo apply --batch` and grant it parley_listener"
        raise SettingsError(f"DATABASE_URL: {message}") from None
    except (*DATABASE_ERRORS, ValueError) as error:
        is_pooler = "startup parameter" in str(error)  # PgBouncer rejects most settings of a session.
        message = POOLER if is_pooler else f"no connection to PostgreSQL: {type(error).__name__}"
        raise SettingsError(f"DATABASE_URL: {message}") from None
    if not is_direct:
        raise SettingsError(f"DATABASE_URL: {POOLER}")


async def relay_events(settings: Settings, stopping: asyncio.Event) -> None:
    """Publish events while this listener leads, until `stopping` is set. Reconnect after errors of the database."""
    async with Pusher(settings) as pusher, serve_health(settings, relay := Relay(pusher)):
        stopped = asyncio.create_task(stopping.wait())
        stopped.add_done_callback(lambda _: relay.interrupt())
        while not stopping.is_set():
            try:
                async with Outbox.connect(settings) as outbox:
                    await lead(outbox, stopping)
                    await relay.run(outbox, stopping)
            except DATABASE_ERRORS as error:
                # The repr of an error has no DETAIL, which could quote data.
                logger.warning("The database is unavailable, and will be tried again: %r", error)
                LEADS.set(0)
                await wait(RECONNECT_SECONDS * random.uniform(0.2, 1), stopping)  # noqa: S311 (jitter, no secret)


async def lead(outbox: Outbox, stopping: asyncio.Event) -> None:
    """Wait until this listener leads, or `stopping` is set."""
    is_standby = False
    while not stopping.is_set() and not await outbox.try_lead():
        if not is_standby:
            logger.info("This listener is a standby: another one leads")
            is_standby = True
        await wait(POLL_SECONDS, stopping)
    if not stopping.is_set():
        LEADS.set(1)
        logger.info("This listener leads")


async def wait(seconds: float, stopping: asyncio.Event) -> None:
    """Wait for this time, or until `stopping` is set."""
    try:
        async with asyncio.timeout(seconds):
            await stopping.wait()
    except TimeoutError:
        pass


async def run(settings: Settings) -> None:
    """Run until SIGTERM or SIGINT, and then until open requests have ended."""
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    await check_database(settings)
    maintenance = asyncio.create_task(run_maintenance(settings))
    try:
        await relay_events(settings, stopping)
    finally:
        maintenance.cancel()
        await asyncio.wait([maintenance])


def main() -> None:
    """Check the environment and the database, then run."""
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
