"""Health probes: /healthz reports that the process is alive, /readyz that its database is fit for use."""

from functools import partial
from typing import Any

from sanic import HTTPResponse, Request, Sanic

from api.admission.single_flight import SingleFlight
from api.db.pool import Database

PROBE_TIMEOUT_SECONDS = 1
PROBE_MAX_AGE_SECONDS = 1  # All requests within this time share the outcome of one probe.

OK = '{"status": "ok"}'
JSON = "application/json"


def create_readiness_probe(database: Database) -> SingleFlight[Any]:
    """Return a probe that runs api.check_readiness(), which raises if the API must not serve with this role."""
    return SingleFlight(partial(database.fetch_value, "select api.check_readiness()"), PROBE_TIMEOUT_SECONDS)


def add_health(app: Sanic[Any, Any]) -> None:
    """Add the routes of the probes to the app."""
    app.add_route(healthz, "/healthz", ["GET", "HEAD"])
    app.add_route(readyz, "/readyz", ["GET", "HEAD"])


async def healthz(_: Request) -> HTTPResponse:
    """Respond 200 while the process lives."""
    return HTTPResponse(OK, content_type=JSON)


async def readyz(request: Request) -> HTTPResponse:
    """Respond 200 if the database responds and row-level security applies to the role; otherwise 503."""
    await request.app.ctx.readiness.fetch(PROBE_MAX_AGE_SECONDS)
    return HTTPResponse(OK, content_type=JSON)
