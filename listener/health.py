"""The listener's state over HTTP: /metrics for Prometheus, /healthz and /readyz for the supervisor."""

import asyncio
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web
from prometheus_client import generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from api.shared.settings import SettingsError
from listener.database import DATABASE_ERRORS, TIMEOUT_SECONDS, ListenerDatabase
from listener.lag import LagMeter
from listener.metrics import REGISTRY, record_outbox_health
from listener.relay import Relay
from listener.settings import Settings

POLL_SECONDS = 2  # less than IDLE_SESSION_TIMEOUT_SECONDS
RESPONSE_TTL_SECONDS = POLL_SECONDS + TIMEOUT_SECONDS  # how long the database counts as available after a response


class Health:
    """Whether the database and Pusher are available."""

    def __init__(self, relay: Relay) -> None:
        self._relay, self._responded_at = relay, -math.inf
        self._lag_meter = LagMeter()

    async def poll_database(self, settings: Settings) -> None:
        """Poll the state of the outbox until cancelled. Reconnect after DATABASE_ERRORS."""
        while True:
            try:
                async with ListenerDatabase.connect(settings) as database:
                    while True:
                        health = await database.fetch_outbox_health()
                        self._responded_at = asyncio.get_running_loop().time()
                        lag = self._lag_meter.measure(health, self._responded_at)
                        record_outbox_health(health.waiting_events, lag, health.dead_letter_events)
                        await asyncio.sleep(POLL_SECONDS)
            except DATABASE_ERRORS:
                record_outbox_health()
                await asyncio.sleep(POLL_SECONDS)

    async def get_metrics(self, _: web.Request) -> web.Response:
        """Return all metrics."""
        return web.Response(body=generate_latest(REGISTRY), headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def get_healthz(self, _: web.Request) -> web.Response:
        """Return 200 while the process runs."""
        return web.json_response({"status": "ok"})

    async def get_readyz(self, _: web.Request) -> web.Response:
        """Return 200 while the database responds and Pusher accepts events, else 503. A standby sends no events."""
        is_database_available = self._responded_at > asyncio.get_running_loop().time() - RESPONSE_TTL_SECONDS
        checks = {"database": is_database_available, "pusher": self._relay.is_pusher_available}
        states = {name: "ok" if is_available else "unavailable" for name, is_available in checks.items()}
        is_ready = all(checks.values())
        return web.json_response(
            {"status": "ok" if is_ready else "unavailable", **states}, status=200 if is_ready else 503
        )


@asynccontextmanager
async def serve_health(settings: Settings, relay: Relay) -> AsyncIterator[None]:
    """Serve for the length of the block, if a port is set. Raises SettingsError if the port is in use."""
    if settings.listener_metrics_port is None:
        yield
        return
    health, app = Health(relay), web.Application()
    app.router.add_get("/metrics", health.get_metrics)
    app.router.add_get("/healthz", health.get_healthz)
    app.router.add_get("/readyz", health.get_readyz)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    host, port = settings.metrics_host, settings.listener_metrics_port
    try:
        await web.TCPSite(runner, host, port).start()
    except OSError as error:
        await runner.cleanup()
        message = f"can't listen on {host}:{port}: {error.strerror}"
        raise SettingsError(f"METRICS_HOST or LISTENER_METRICS_PORT: {message}") from None
    polling = asyncio.create_task(health.poll_database(settings))
    try:
        yield
    finally:
        polling.cancel()
        await asyncio.wait([polling])
        await runner.cleanup()
