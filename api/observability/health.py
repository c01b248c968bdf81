"""Health probes: /healthz reports that the process is alive, /readyz that its database is fit for use."""

from time import monotonic
from typing import Any

from sanic import HTTPResponse, Request, Sanic

from api.admission.single_flight import SingleFlight
from api.db.pool import Database
from api.observability.clocks import DATABASE_CLOCK

PROBE_TIMEOUT_SECONDS = 1
PROBE_MAX_AGE_SECONDS = 1  # All requests within this time share the outcome of one probe.

# The function in FROM is evaluated first, and raises if the API must not serve.
PROBE = "select extract(epoch from clock_timestamp())::float8 from api.check_readiness()"
OK = '{"status": "ok"}'
JSON = "application/json"


def create_readiness_probe(database: Database) -> SingleFlight[Any]:
    """Return a probe that runs api.check_readiness(), which raises unless the API can serve, and reads the clock."""

    async def check_readiness() -> None:
        sent_at = monotonic()
        database_time = await database.fetch_value(PROBE)
        DATABASE_CLOCK.observe(database_time, sent_at, monotonic())

    return SingleFlight(check_readiness, PROBE_TIMEOUT_SECONDS)


def add_health(app: Sanic[Any, Any]) -> None:
    """Add the routes of the probes to the app."""
    app.add_route(healthz, "/healthz", ["GET", "HEAD"])
    app.add_route(readyz, "/readyz", ["GET", "HEAD"])


async def healthz(_: Request) -> HTTPResponse:
    """Respond 200 while the process lives."""
    return HTTPResponse(OK, content_type=JSON)


async def readyz(request: Request) -> HTTPResponse:
    """Respond 200 if the database can serve requests, which api.check_readiness() decides; otherwise 503."""
    await request.app.ctx.readiness.fetch(PROBE_MAX_AGE_SECONDS)
    return HTTPResponse(OK, content_type=JSON)
