"""The listener's state over HTTP: /metrics for Prometheus, /healthz and /readyz for the supervisor."""

import asyncio
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web
from prometheus_client import generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from api.shared.settings import SettingsError
from listener.metrics import REGISTRY, record_outbox_health
from listener.outbox import DATABASE_ERRORS, TIMEOUT_SECONDS, Outbox
from listener.relay import Relay
from listener.settings import Settings

POLL_SECONDS = 2  # less than the idle_session_timeout of the connection
READY_SECONDS = POLL_SECONDS + TIMEOUT_SECONDS  # for which a response of the database counts


class Health:
    """Whether the database and Pusher are available."""

    def __init__(self, relay: Relay) -> None:
        self._relay, self._responded_at = relay, -math.inf

    async def watch(self, settings: Settings) -> None:
        """Poll the state of the outbox until cancelled, reconnecting after each error."""
        while True:
            try:
                async with Outbox.connect(settings) as outbox:
                    while True:
                        record_outbox_health(*await outbox.health())
                        self._responded_at = asyncio.get_running_loop().time()
                        await asyncio.sleep(POLL_SECONDS)
            except DATABASE_ERRORS:
                record_outbox_health()
                await asyncio.sleep(POLL_SECONDS)

    async def metrics(self, _: web.Request) -> web.Response:
        """Respond with all metrics."""
        return web.Response(body=generate_latest(REGISTRY), headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def healthz(self, _: web.Request) -> web.Response:
        """Respond that the process is alive."""
        return web.json_response({"status": "ok"})

    async def readyz(self, _: web.Request) -> web.Response:
        """Respond whether the database responds and Pusher accepted the last request; a standby has sent none."""
        has_response = self._responded_at > asyncio.get_running_loop().time() - READY_SECONDS
        checks = {"database": has_response, "pusher": not self._relay.is_failing}
        states = {name: "ok" if is_available else "away" for name, is_available in checks.items()}
        is_ready = all(checks.values())
        return web.json_response(
            {"status": "ok" if is_ready else "unavailable", **states}, status=200 if is_ready else 503
        )


@asynccontextmanager
async def serve_health(settings: Settings, relay: Relay) -> AsyncIterator[None]:
    """Serve for the length of the block, if a port is set. Raises SettingsError if the port is taken."""
    if settings.listener_metrics_port is None:
        yield
        return
    health, app = Health(relay), web.Application()
    app.add_routes([web.get(f"/{name}", getattr(health, name)) for name in ("metrics", "healthz", "readyz")])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    host, port = settings.metrics_host, settings.listener_metrics_port
    try:
        await web.TCPSite(runner, host, port).start()
    except OSError as error:
        await runner.cleanup()
        message = f"can't listen on {host}:{port}: {error.strerror}"
        raise SettingsError(f"METRICS_HOST or LISTENER_METRICS_PORT: {message}") from None
    watching = asyncio.create_task(health.watch(settings))
    try:
        yield
    finally:
        watching.cancel()
        await asyncio.wait([watching])
        await runner.cleanup()
