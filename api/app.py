"""The Sanic app: its configuration, the components in `app.ctx` that handlers use, and its routes.

The path of a request is: middleware (CORS preflight, rate limit) → handler (token, arguments) → admission → statement →
response → middleware (headers, observers).
"""

import asyncio
import socket
from contextlib import suppress
from typing import Any

import asyncpg
from sanic import Sanic
from sanic.config import Config

from api.admission.controller import AdmissionController
from api.auth.cookies import get_session_cookies
from api.auth.pusher import PusherAuthenticator
from api.auth.tokens import Tokens
from api.db.pool import Database
from api.db.replica import Replica
from api.handlers import MAX_BODY, add_routes
from api.http.cors import CorsPolicy
from api.http.errors import UNAVAILABLE_ERRORS, ErrorRenderer
from api.http.middleware import add_middleware
from api.http.request import ParleyRequest
from api.images.handler import add_images
from api.images.image_store import ImageStore
from api.images.reencode_capacity import count_slots
from api.images.reencode_slots import ReencodeSlots
from api.images.shared_slots import SharedSlots
from api.images.storage import Storage
from api.observability.clocks import DATABASE_CLOCK
from api.observability.health import add_health, create_readiness_probe
from api.observability.logs import RequestLog
from api.observability.metrics import Metrics
from api.observability.traces import Traces
from api.openapi import pages
from api.openapi.document import OpenApiDocument
from api.ratelimit.limiter import RateLimiter
from api.settings import Settings
from api.shared import traces

TIMEOUTS = {  # in seconds
    "KEEP_ALIVE_TIMEOUT": 75,
    "REQUEST_TIMEOUT": 30,  # until the whole head of a request has been received
    "RESPONSE_TIMEOUT": 180,  # until the response, with the body in between: an upload may take 120, then decoding
}


def create_app(settings: Settings, worker: int = 0, slots_connection: socket.socket | None = None) -> Sanic[Any, Any]:
    """Return the API as a Sanic app.

    `worker` is the number of its process, from 0. One of several workers has a connection to the parent, which assigns
    reencode slots.
    """
    config = Config({"FALLBACK_ERROR_FORMAT": "json", "REQUEST_MAX_SIZE": MAX_BODY, **TIMEOUTS}, env_prefix=None)
    app: Sanic[Any, Any] = Sanic(
        "parley",
        config=config,
        error_handler=ErrorRenderer(),
        request_class=ParleyRequest,
        configure_logging=False,
    )
    app.ctx.tokens = Tokens(settings.secrets, get_session_cookies(settings.public_url))
    app.ctx.cors = CorsPolicy(settings.allowed_origins)
    app.ctx.pusher = PusherAuthenticator(settings)
    app.ctx.public_url = settings.public_url
    app.ctx.admission = AdmissionController(settings.database_pool_size)
    # Each is called with the request, its response, its timings, and the time when it ended.
    app.ctx.observers = [RequestLog(settings.log_requests_over).observe]
    add_connections(app, settings, slots_connection)
    add_observers(app, settings, worker)
    add_middleware(app, settings.trusted_proxies)
    add_routes(app)
    add_images(app)
    add_health(app)
    pages.add_pages(app, settings.web_url)
    return app


def add_connections(app: Sanic[Any, Any], settings: Settings, slots_connection: socket.socket | None) -> None:
    """Open connections before the server starts, and close them after its last response."""

    @app.before_server_start
    async def open_connections(app: Sanic[Any, Any]) -> None:
        ctx = app.ctx
        ctx.database = await Database.connect(settings)
        url = settings.database_replica_url
        ctx.replica = Replica.start(settings, url.get_secret_value(), ctx.database) if url else None
        ctx.readiness = create_readiness_probe(ctx.database)
        with suppress(asyncpg.PostgresError, *UNAVAILABLE_ERRORS):  # an outage since the checks before the start
            await ctx.readiness.fetch(0)
        DATABASE_CLOCK.warn_about_skew("the database")
        ctx.openapi = OpenApiDocument(settings, ctx.database)
        ctx.limiter = await RateLimiter.connect(settings)
        shared_slots = await SharedSlots.connect(slots_connection) if slots_connection else None
        ctx.slots = shared_slots or ReencodeSlots(count_slots(settings.workers))
        storage = Storage.open(settings.storage_url)
        ctx.images = ImageStore(ctx.database, ctx.admission, storage, ctx.slots, settings.public_url)
        ctx.image_cleanup = asyncio.create_task(ctx.images.run_cleanup())

    @app.after_server_stop
    async def close_connections(app: Sanic[Any, Any]) -> None:
        ctx = app.ctx
        ctx.image_cleanup.cancel()
        await asyncio.wait([ctx.image_cleanup])
        if isinstance(ctx.slots, SharedSlots):
            await ctx.slots.close()
        if ctx.replica:
            await ctx.replica.close()
        await ctx.readiness.close()
        await ctx.openapi.close()
        await ctx.database.close()
        await ctx.limiter.close()


def add_observers(app: Sanic[Any, Any], settings: Settings, worker: int) -> None:
    """Start metrics and traces with the server, after its connections."""

    @app.before_server_start
    async def start_observers(app: Sanic[Any, Any]) -> None:
        if settings.metrics_port:
            metrics = Metrics(app)
            metrics.serve(settings.metrics_host, settings.metrics_port + worker)
            app.ctx.observers.append(metrics.observe)
        app.ctx.traces = Traces("parley-api") if traces.find_endpoint_variable() else None
        if app.ctx.traces:
            app.ctx.observers.append(app.ctx.traces.observe)

    @app.after_server_stop
    async def flush_traces(app: Sanic[Any, Any]) -> None:
        if app.ctx.traces:
            app.ctx.traces.close()
