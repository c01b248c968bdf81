"""The wiring, top to bottom: preflight → limit → token → route → statement → answer."""

import asyncio
from functools import partial
from time import perf_counter_ns
from typing import Any

from sanic import HTTPResponse, Request, Sanic
from sanic.config import Config

from api.admission.single_flight import SingleFlight
from api.admission.statements import Admission
from api.auth.pusher import Signer
from api.auth.tokens import Tokens, session_cookies
from api.db.pool import Database
from api.db.replica import Replica
from api.handlers import JSON, MAX_BODY, handler_of, image_handler_of
from api.http.client_address import ClientAddresses
from api.http.cors import Origins
from api.http.errors import ApiError, Envelope
from api.http.preconditions import matches_etag
from api.http.protocol import ParleyRequest
from api.images.names import get_content_type
from api.images.profile_images import ProfileImages
from api.images.storage import Storage
from api.observability.logs import RequestLog
from api.observability.metrics import Metrics
from api.observability.timings import Timings, current_timings, measure
from api.observability.traces import Traces
from api.openapi import pages
from api.openapi.document import OpenApiDocument
from api.ratelimit.limiter import RateLimiter
from api.routes import ROUTES
from api.settings import Settings
from api.shared import traces

TIMEOUTS = {  # in seconds
    "KEEP_ALIVE_TIMEOUT": 75,
    "REQUEST_TIMEOUT": 30,  # for all of a request's head
    "RESPONSE_TIMEOUT": 180,  # for its body, too: an upload may take 120, and has to be decoded
}
READY_SECONDS = 1  # for which the outcome of a probe of the database is shared
PROBE_SECONDS = 1  # that a probe may take
API_HEADERS = {
    # Only the caller stores a response, and revalidates it each time: by the ETag, if it has one.
    "Cache-Control": "private, no-cache",
    # No page can embed a response, nor take JSON for something else; those of allowed origins fetch it (CORS).
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}
# For an image: it never changes, it is no page and has no scripts, and every site may show it.
IMAGE_HEADERS = {
    "Cache-Control": "public, max-age=31536000, immutable",
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "Cross-Origin-Resource-Policy": "cross-origin",
    "X-Content-Type-Options": "nosniff",
}


def create_app(settings: Settings, worker: int = 0) -> Sanic[Any, Any]:
    """The API as a Sanic app; its connections open with the server and close after its last answer."""
    config = Config(
        {
            "FALLBACK_ERROR_FORMAT": "json",
            "REQUEST_MAX_SIZE": MAX_BODY,
            **TIMEOUTS,
        },
        env_prefix=None,
    )
    app: Sanic[Any, Any] = Sanic(
        "parley",
        config=config,
        error_handler=Envelope(),
        request_class=ParleyRequest,
        configure_logging=False,
    )
    app.ctx.tokens = Tokens(settings.secrets, session_cookies(settings.public_url))
    app.ctx.origins = Origins(settings.allowed_origins)
    app.ctx.signer = Signer(settings)
    app.ctx.public_url = settings.public_url
    # Of what became of a request: each is given it, its answer, its timings, and when it ended.
    app.ctx.observers = [RequestLog(settings.log_requests_over).observe]

    @app.before_server_start
    async def open_connections(app: Sanic[Any, Any]) -> None:
        app.ctx.database = await Database.connect(settings)
        app.ctx.admission = Admission(settings.database_pool_size)
        url = settings.database_replica_url
        app.ctx.replica = Replica.open(settings, url.get_secret_value(), app.ctx.database) if url else None
        app.ctx.readiness = SingleFlight(partial(app.ctx.database.call, "select api.check_readiness()"), PROBE_SECONDS)
        app.ctx.openapi = OpenApiDocument(settings, app.ctx.database)
        app.ctx.limiter = RateLimiter.connect(settings)
        app.ctx.images = ProfileImages(
            app.ctx.database, app.ctx.admission, Storage.open(settings.storage_url), settings.public_url
        )
        app.ctx.image_cleanup = asyncio.create_task(app.ctx.images.run_cleanup())
        if settings.metrics_port:
            metrics = Metrics(app)
            metrics.serve(settings.metrics_host, settings.metrics_port + worker)
            app.ctx.observers.append(metrics.observe)
        app.ctx.traces = Traces("parley-api") if traces.find_endpoint_variable() else None
        if app.ctx.traces:
            app.ctx.observers.append(app.ctx.traces.observe)

    @app.after_server_stop
    async def close_connections(app: Sanic[Any, Any]) -> None:
        app.ctx.image_cleanup.cancel()
        await asyncio.wait([app.ctx.image_cleanup])
        if app.ctx.replica:
            await app.ctx.replica.close()
        await app.ctx.readiness.close()
        await app.ctx.openapi.close()
        await app.ctx.database.close()
        await app.ctx.limiter.close()
        if app.ctx.traces:
            app.ctx.traces.close()

    add_middleware(app, settings)
    for route in ROUTES:
        methods = ["GET", "HEAD"] if route.method == "GET" else [route.method]
        app.add_route(
            image_handler_of(route) if route.image else handler_of(route), route.path, methods,
            name=route.function.replace(".", "_"), stream=True, unquote=True,
        )  # fmt: skip
    app.add_route(serve_image, "/images/<name>", ["GET", "HEAD"])
    app.add_route(serve_openapi, "/openapi.json", ["GET", "HEAD"])
    app.add_route(healthz, "/healthz", ["GET", "HEAD"])
    app.add_route(readyz, "/readyz", ["GET", "HEAD"])
    pages.add_pages(app)
    return app


def add_middleware(app: Sanic[Any, Any], settings: Settings) -> None:
    """What comes before and after every handler of the API, where no handler is found, too."""
    addresses = ClientAddresses(settings.trusted_proxies)

    @app.on_request
    async def begin(request: ParleyRequest) -> HTTPResponse | None:
        request.timings = Timings(request.id)
        current_timings.set(request.timings)
        # Behind a proxy, a request without a valid head has no address to count against. A flood of them is bounded:
        # each costs less than an accepted request, and ends its connection.
        if not request.is_for_api or (settings.trusted_proxies and not request.has_valid_head):
            return None
        preflight: HTTPResponse | None = app.ctx.origins.preflight(request)
        if preflight:
            return preflight
        forwarded = ",".join(request.headers.getall("x-forwarded-for", ()))
        address, request.is_address_fallback = addresses.find(request.ip, forwarded)
        with measure("limit"):
            request.decision = await app.ctx.limiter.take(address)
        if not request.decision.allowed:
            raise ApiError(429, "Too many requests.")
        return None

    add_end(app)


def add_end(app: Sanic[Any, Any]) -> None:
    """What every answer says beside its content; and who watches is told of it."""

    @app.on_response  # type: ignore[untyped-decorator]
    async def end(request: ParleyRequest, response: HTTPResponse) -> None:
        ended, timings, headers = perf_counter_ns(), request.timings, response.headers
        headers["X-Request-Id"] = request.id
        if request.decision:
            headers.update(request.decision.headers)
        if request.is_for_api or not request.has_valid_head:  # the path may be unknown
            headers.update(API_HEADERS)
            headers.update(app.ctx.origins.headers(request))
            if timings and not request.is_search:
                headers["Server-Timing"] = timings.format_server_timing(ended)
        if timings:  # there are none where Sanic gave up a request before it had begun
            for observe in app.ctx.observers:
                observe(request, response, timings, ended)
            timings.is_finished = True


async def serve_image(request: ParleyRequest, name: str) -> HTTPResponse | None:
    """An image in storage, to whoever knows its name."""
    headers = {**IMAGE_HEADERS, "ETag": f'"{name}"'}
    is_known = matches_etag(request, headers["ETag"])
    found = await request.app.ctx.images.fetch(name, size_only=is_known or request.method == "HEAD")
    if found is None:
        raise ApiError(404, "No such resource.")
    size, content = found
    if is_known:
        return HTTPResponse(None, 304, headers)
    headers["Content-Length"] = str(size)
    content_type = get_content_type(name)
    if request.method == "HEAD":
        return HTTPResponse(None, 200, headers, content_type)
    response = await request.respond(headers=headers, content_type=content_type)
    async for piece in content:
        await response.send(piece)
    return None


async def serve_openapi(request: ParleyRequest) -> HTTPResponse:
    """The OpenAPI document."""
    return pages.respond(request, await request.app.ctx.openapi.get_json(), JSON)


async def healthz(_: Request) -> HTTPResponse:
    """The process is alive."""
    return HTTPResponse('{"status": "ok"}', content_type=JSON)


async def readyz(request: Request) -> HTTPResponse:
    """The database answers, and binds this role to row-level security."""
    await request.app.ctx.readiness.get(READY_SECONDS)
    return HTTPResponse('{"status": "ok"}', content_type=JSON)
