"""`python -m listener`: publishes the outbox to Pusher, against the services that the environment names."""

import asyncio
import logging
import random
import signal
import sys

import asyncpg
import uvloop

from api.shared import logs, traces
from api.shared.settings import SettingsError
from listener.health import serving
from listener.housekeeping import keep_house
from listener.metrics import LEADS
from listener.outbox import AWAY, Outbox
from listener.pusher import Pusher
from listener.relay import POLL_SECONDS, Relay
from listener.settings import Settings
from listener.traces import TRACES

logger = logging.getLogger("parley.listener")

RECONNECT_SECONDS = 1
POOLER = "leads to a pooler, but the listener must connect to PostgreSQL directly"


async def check_database(settings: Settings) -> None:
    """Raises SettingsError, with one line on why this database can't be listened to."""
    try:
        async with Outbox.connect(settings) as outbox:
            await outbox.ack_and_fetch_events([])
            is_direct = await outbox.is_direct()
    except (asyncpg.InvalidSchemaNameError, asyncpg.UndefinedFunctionError, asyncpg.InsufficientPrivilegeError):
        problem = "no Parley database for this role: run `yoyo apply --batch` and grant it parley_listener"
        raise SettingsError(f"DATABASE_URL: {problem}") from None
    except (*AWAY, ValueError) as error:
        is_refused = "startup parameter" in str(error)  # PgBouncer refuses those of a session of one's own
        problem = POOLER if is_refused else f"no connection to PostgreSQL: {type(error).__name__}"
        raise SettingsError(f"DATABASE_URL: {problem}") from None
    if not is_direct:
        raise SettingsError(f"DATABASE_URL: {POOLER}")


async def relay_events(settings: Settings, stopping: asyncio.Event) -> None:
    """Publishes whenever this listener leads, over all outages, until it is told to stop."""
    async with Pusher(settings) as pusher, serving(settings, relay := Relay(pusher)):
        stopped = asyncio.create_task(stopping.wait())
        stopped.add_done_callback(lambda _: relay.interrupt())
        while not stopping.is_set():
            try:
                async with Outbox.connect(settings) as outbox:
                    await lead(outbox, stopping)
                    await relay.run(outbox, stopping)
            except AWAY as error:
                logger.warning("The database is away or refuses, which is tried again: %r", error)  # without its DETAIL
                LEADS.set(0)
                await sleep(RECONNECT_SECONDS * random.uniform(0.2, 1), stopping)  # noqa: S311 (jitter, no secret)


async def lead(outbox: Outbox, stopping: asyncio.Event) -> None:
    """Returns when this listener is the one that publishes, or is told to stop."""
    is_second = False
    while not stopping.is_set() and not await outbox.lead():
        if not is_second:
            logger.info("Another listener publishes; this one waits to take over")
            is_second = True
        await sleep(POLL_SECONDS, stopping)
    if not stopping.is_set():
        LEADS.set(1)
        logger.info("This listener publishes")


async def sleep(seconds: float, stopping: asyncio.Event) -> None:
    """Sleeps so long, or until it is told to stop."""
    try:
        async with asyncio.timeout(seconds):
            await stopping.wait()
    except TimeoutError:
        pass


async def run(settings: Settings) -> None:
    """Listens until SIGTERM or SIGINT, and then until what is under way has ended."""
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    await check_database(settings)
    housekeeping = asyncio.create_task(keep_house(settings))
    try:
        await relay_events(settings, stopping)
    finally:
        housekeeping.cancel()
        await asyncio.wait([housekeeping])


def main() -> None:
    """Checks the environment and the database, then listens until it is told to stop."""
    try:
        settings = Settings.load()
        logs.configure_logging(settings.log_format)
        if error := traces.find_configuration_error():
            raise SettingsError(error)  # noqa: TRY301 (as run() does)
        with TRACES.sent(), asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(run(settings))
    except SettingsError as error:
        sys.exit(f"parley-listener: {error}")


if __name__ == "__main__":
    main()
