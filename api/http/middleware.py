"""Middleware: runs before and after each handler, and also for requests that have no handler."""

from time import perf_counter_ns
from typing import Any

from sanic import HTTPResponse, Sanic

from api.http.client_address import ClientAddressResolver
from api.http.errors import ApiError
from api.http.request import ParleyRequest
from api.observability.timings import Timings, current_timings, measure

API_HEADERS = {
    # Only the caller's browser may store a response, and must revalidate it, by its ETag if it has one.
    "Cache-Control": "private, no-cache",
    # Pages of other origins cannot embed a response, or have JSON interpreted as another type; allowed ones use CORS.
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}


def add_middleware(app: Sanic[Any, Any], trusted_proxies: int) -> None:
    """Add the middleware of all requests to the app."""
    add_request_middleware(app, trusted_proxies)
    add_response_middleware(app)


def add_request_middleware(app: Sanic[Any, Any], trusted_proxies: int) -> None:
    """Start the timings of each request, respond to CORS preflights, and enforce the rate limit."""
    client_addresses = ClientAddressResolver(trusted_proxies)

    @app.on_request
    async def start_request(request: ParleyRequest) -> HTTPResponse | None:
        request.timings = Timings(request.id)
        current_timings.set(request.timings)
        # Behind a proxy, a request with an invalid head has no trustworthy address to count it by. A flood of them is
        # bounded: each costs less than a valid request, and ends its connection.
        if not request.is_for_api or (trusted_proxies and not request.has_valid_head):
            return None
        preflight: HTTPResponse | None = app.ctx.cors.respond_to_preflight(request)
        if preflight:
            return preflight
        forwarded = ",".join(request.headers.getall("x-forwarded-for", ()))
        key, request.is_address_fallback = client_addresses.resolve(request.ip, forwarded)
        with measure("limit"):
            request.rate_limit_decision = await app.ctx.limiter.consume(key)
        if not request.rate_limit_decision.allowed:
            raise ApiError(429, "Too many requests.")
        return None


def add_response_middleware(app: Sanic[Any, Any]) -> None:
    """Add the headers that responses have in common, and pass each finished request to the observers."""

    @app.on_response  # type: ignore[untyped-decorator]
    async def finish_response(request: ParleyRequest, response: HTTPResponse) -> None:
        ended_at_ns, timings, headers = perf_counter_ns(), request.timings, response.headers
        headers["X-Request-Id"] = request.id
        if request.rate_limit_decision:
            headers.update(request.rate_limit_decision.headers)
        if request.is_for_api or not request.has_valid_head:  # an invalid head may have been for /api
            headers.update(API_HEADERS)
            headers.update(app.ctx.cors.build_headers(request))
            # The duration of a search could reveal words in messages of other users.
            if timings and not request.is_search:
                headers["Server-Timing"] = timings.format_server_timing(ended_at_ns)
        if timings:  # there are none if Sanic ended the request before the request middleware ran
            for observe in app.ctx.observers:
                observe(request, response, timings, ended_at_ns)
            timings.is_finished = True
