"""How the listener fares, over HTTP: /metrics for Prometheus, /healthz and /readyz for what supervises it."""

import asyncio
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web
from prometheus_client import generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from api.shared.settings import SettingsError
from listener.metrics import REGISTRY, note_outbox
from listener.outbox import ANSWER_SECONDS, AWAY, Outbox
from listener.relay import Relay
from listener.settings import Settings

LOOK_SECONDS = 2  # less than the idle_session_timeout of the connection
READY_SECONDS = LOOK_SECONDS + ANSWER_SECONDS  # for which an answer of the database counts


class Health:
    """What is known of the database and of Pusher."""

    def __init__(self, relay: Relay) -> None:
        self._relay, self._answered_at = relay, -math.inf

    async def watch(self, settings: Settings) -> None:
        """Asks the database how the outbox fares, over all outages, until it is cancelled."""
        while True:
            try:
                async with Outbox.connect(settings) as outbox:
                    while True:
                        note_outbox(*await outbox.health())
                        self._answered_at = asyncio.get_running_loop().time()
                        await asyncio.sleep(LOOK_SECONDS)
            except AWAY:
                note_outbox()
                await asyncio.sleep(LOOK_SECONDS)

    async def metrics(self, _: web.Request) -> web.Response:
        """What Prometheus asks for."""
        return web.Response(body=generate_latest(REGISTRY), headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def healthz(self, _: web.Request) -> web.Response:
        """The process is alive."""
        return web.json_response({"status": "ok"})

    async def readyz(self, _: web.Request) -> web.Response:
        """The database answers, and Pusher took the last request; one that waits to publish has made none."""
        is_answered = self._answered_at > asyncio.get_running_loop().time() - READY_SECONDS
        found = {"database": is_answered, "pusher": not self._relay.is_failing}
        states = {name: "ok" if is_well else "away" for name, is_well in found.items()}
        is_ready = all(found.values())
        return web.json_response(
            {"status": "ok" if is_ready else "unavailable", **states}, status=200 if is_ready else 503
        )


@asynccontextmanager
async def serving(settings: Settings, relay: Relay) -> AsyncIterator[None]:
    """Answers for as long as the block lasts, if there is a port for it; raises SettingsError if that is taken."""
    if settings.listener_metrics_port is None:
        yield
        return
    health, app = Health(relay), web.Application()
    app.add_routes([web.get(f"/{name}", getattr(health, name)) for name in ("metrics", "healthz", "readyz")])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    place = settings.metrics_host, settings.listener_metrics_port
    try:
        await web.TCPSite(runner, *place).start()
    except OSError as error:
        await runner.cleanup()
        problem = f"can't listen on {place[0]}:{place[1]}: {error.strerror}"
        raise SettingsError(f"METRICS_HOST or LISTENER_METRICS_PORT: {problem}") from None
    watching = asyncio.create_task(health.watch(settings))
    try:
        yield
    finally:
        watching.cancel()
        await asyncio.wait([watching])
        await runner.cleanup()
