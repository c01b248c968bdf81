"""The handlers of the route table: each runs a request's statement, and builds the response from the resulting row."""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import nullcontext
from typing import Any
from urllib.parse import parse_qs

from sanic import HTTPResponse, Sanic

from api.admission.controller import EXPENSIVE_BODY_BYTES, Permit
from api.http.errors import ApiError
from api.http.idempotency import compute_digest, read_idempotency
from api.http.links import build_link_header
from api.http.preconditions import read_preconditions
from api.http.query import read_query
from api.http.request import ParleyRequest
from api.images.upload import receive_image
from api.routes import RESPONSE_HEADERS, ROUTES, Route

MAX_BODY = 1024 * 1024  # bytes
JSON = "application/json"
FORM = "application/x-www-form-urlencoded"
MAX_FORM_FIELDS = 200  # 100 channels and other fields

Handler = Callable[..., Coroutine[Any, Any, HTTPResponse]]


def add_routes(app: Sanic[Any, Any]) -> None:
    """Add all routes of the table to the app."""
    for route in ROUTES:
        methods = ["GET", "HEAD"] if route.method == "GET" else [route.method]
        handler = create_upload_handler(route) if route.image_kind else create_handler(route)
        name = route.function.replace(".", "_")
        app.add_route(handler, route.path, methods, name=name, stream=True, unquote=True)


def create_handler(route: Route) -> Handler:
    """Return the handler of a route without upload."""
    path_parameters = route.path_parameters
    is_write, is_page, can_search = route.is_write, "limit" in route.query, "search" in route.query
    media_type = JSON if route.body else FORM if route.pusher_fields else None
    statement, rejecting_statement = route.statement, route.rejecting_statement

    async def handle(request: ParleyRequest, **path: str) -> HTTPResponse:
        identity = authenticate(request, route)
        query = read_query(request, route.query)
        arguments: list[Any] = [*(path[name] for name in path_parameters), *query.values]
        body = await read_body(request, media_type)
        if route.body:
            arguments.append(body)
        if route.pusher_fields:
            arguments += parse_form(body, route.pusher_fields)
        third_and_fourth: tuple[Any, Any]
        if query.is_valid:
            sql, third_and_fourth = statement, read_conditions(request, route, body)
        else:  # Route.rejecting_statement takes the names in place of the conditions.
            sql, third_and_fourth = rejecting_statement, (query.unknown, query.repeated)
        permit = request.app.ctx.admission.create_permit(
            identity,
            is_write=is_write,
            chat_id=path.get("chat_id") if is_write else None,
            is_expensive=len(body) > EXPENSIVE_BODY_BYTES or (can_search and request.is_search),
            is_page=is_page,
        )
        result, *values = await fetch_row(
            request, route, permit, sql, identity, request.id, *third_and_fourth, *arguments
        )
        headers = build_headers(route, request, values)
        if result is None and route.method == "GET":
            return HTTPResponse(None, 304, headers)
        if route.pusher_fields:
            result = request.app.ctx.pusher.sign(result)
        return HTTPResponse(None if route.status == 204 else result, route.status, headers, JSON)

    return handle


def create_upload_handler(route: Route) -> Handler:
    """Return the handler of a route that receives an image, after the database has authorized the upload."""
    statement, authorization_statement, rejecting_statement = (
        route.statement,
        route.authorization_statement,
        route.rejecting_statement,
    )

    async def handle(request: ParleyRequest, **path: str) -> HTTPResponse:
        path_arguments = [path[name] for name in route.path_parameters]
        caller, replica, ctx = authenticate(request, route), request.app.ctx.replica, request.app.ctx
        query = read_query(request, route.query)
        async with ctx.admission.create_permit(caller) as seconds:
            row = await ctx.database.fetch_row(
                authorization_statement, caller, request.id, *path_arguments, acquire_seconds=seconds
            )
            if not query.is_valid:
                arguments = caller, request.id, query.unknown, query.repeated
                await ctx.database.fetch_row(rejecting_statement, *arguments, acquire_seconds=seconds)
        identity = row[0]
        async with (
            receive_image(request, identity) as upload,
            replica.guard_write(caller) if replica else nullcontext(),
        ):
            content = await asyncio.to_thread(compute_digest, upload) if "idempotency-key" in request.headers else b""
            conditions = read_conditions(request, route, content)
            result, *values = await ctx.images.store(
                upload, route.image_kind, statement, identity, request.id, *conditions, *path_arguments
            )
        return HTTPResponse(result, route.status, build_headers(route, request, values), JSON)

    return handle


def authenticate(request: ParleyRequest, route: Route) -> str:
    """Return the caller's identity, the first argument of every statement. Raises ApiError 401 or 403."""
    ctx = request.app.ctx
    allow_cookie = route.allows_cookie or ctx.cors.is_allowed_origin(request)
    identity: str = ctx.tokens.authenticate(request, allow_cookie=allow_cookie)
    return identity


async def read_body(request: ParleyRequest, media_type: str | None) -> bytes:
    """Return the body of a request. Raises ApiError 415 if it is of another media type, PayloadTooLarge."""
    if media_type and request.headers.get("content-type", "").partition(";")[0].strip().lower() != media_type:
        raise ApiError(415, f"The body must be sent as Content-Type: {media_type}.")
    if request.stream is not None and request.stream.request_body:
        request.stream.request_max_size = MAX_BODY  # Sanic sets no limit for handlers that read the body themselves
        await request.receive_body()  # type: ignore[no-untyped-call]
    return request.body


def parse_form(body: bytes, names: tuple[str, ...]) -> list[str | list[str] | None]:
    """Return these fields of a form, None for a missing one; a name that ends with `[]` denotes an array.

    Pusher's clients may send further fields. Raises ApiError 400.
    """
    try:
        fields = parse_qs(body.decode(), max_num_fields=MAX_FORM_FIELDS)
    except ValueError:
        raise ApiError(400, f"The body is not valid {FORM}.") from None
    return [(values if name.endswith("[]") else values[0]) if (values := fields.get(name)) else None for name in names]


def read_conditions(request: ParleyRequest, route: Route, content: bytes) -> tuple[str | None, str | bytes | None]:
    """Return the arguments $3 and $4 of the route's statement: preconditions, or an idempotency key and fingerprint."""
    return read_idempotency(request, content) if route.accepts_idempotency_key else read_preconditions(request)


async def fetch_row(
    request: ParleyRequest, route: Route, permit: Permit, statement: str, identity: str, *arguments: Any
) -> Any:
    """Run a statement under its permit, on the primary or a replica, and return its row."""
    database, replica = request.app.ctx.database, request.app.ctx.replica
    if replica and route.is_write:
        # The permit is inside, so that a write holds no slot while it waits for Redis and the replica.
        async with replica.guard_write(identity), permit as seconds:
            return await database.fetch_row(statement, identity, *arguments, acquire_seconds=seconds)
    async with permit as seconds:
        if replica:
            primary_only = route.primary_only or "no-cache" in request.headers.get("cache-control", "").lower()
            row = await replica.fetch_row(
                statement, identity, *arguments, primary_only=primary_only, acquire_seconds=seconds
            )
        else:
            row = await database.fetch_row(statement, identity, *arguments, acquire_seconds=seconds)
        permit.response_bytes = len(row[0] or b"")
        return row


def build_headers(route: Route, request: ParleyRequest, values: list[Any]) -> dict[str, str]:
    """Return the response headers for the values that a statement returned after the body."""
    if route.accepts_idempotency_key:
        return {"Idempotency-Replayed": "true"} if values[0] else {}
    headers: dict[str, str] = {}
    for name, value in zip(route.response_headers, values, strict=True):
        if not value:  # not set for a 304
            continue
        if name == "links":
            headers |= build_link_header(request, route.query, value)
        else:
            headers[RESPONSE_HEADERS[name]] = value
    return headers
