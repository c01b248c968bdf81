"""Request handlers of the route table: a statement's arguments from a request, and a response from its row."""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import nullcontext
from typing import Any
from urllib.parse import parse_qs

from sanic import HTTPResponse

from api.admission.statements import EXPENSIVE_BODY, Turn
from api.http.errors import ApiError
from api.http.links import link_header
from api.http.preconditions import conditions, digest
from api.http.protocol import ParleyRequest
from api.images.upload import receive_image
from api.routes import SAID_IN, Route

MAX_BODY = 1024 * 1024  # bytes
JSON = "application/json"
FORM = "application/x-www-form-urlencoded"
FORM_FIELDS = 100  # at most

Handler = Callable[..., Coroutine[Any, Any, HTTPResponse]]


def identify(request: ParleyRequest, route: Route) -> str:
    """Return the caller's identity, for session.authenticate. Raises ApiError."""
    cookie_will_do = route.changes_nothing or request.app.ctx.origins.allow(request)
    identity: str = request.app.ctx.tokens.identity(request, cookie_will_do=cookie_will_do)
    return identity


def handler_of(route: Route) -> Handler:
    """Return the handler of a route."""
    statement, path_parameters = route.statement, route.path_parameters
    is_write, is_page, can_search = not route.changes_nothing, "limit" in route.query, "search" in route.query
    media_type = JSON if route.body else FORM if route.form else None
    no_query = [None] * len(route.query)

    async def handle(request: ParleyRequest, **path: str) -> HTTPResponse:
        identity = identify(request, route)
        arguments: list[Any] = [path[name] for name in path_parameters]
        arguments += [query.get(name) for name in route.query] if (query := request.args) else no_query
        body = await read_body(request)
        if route.body:
            arguments.append(body)
        if route.form:
            arguments += form_fields(body, route.form)
        arguments = [request.id, *conditions(request, route, body), *arguments]
        turn = request.app.ctx.admission.turn(
            identity,
            is_write=is_write,
            chat_id=path.get("chat_id") if is_write else None,
            is_expensive=len(body) > EXPENSIVE_BODY or (can_search and request.is_search),
            is_page=is_page,
        )
        answer, *said = await fetch_row(request, route, turn, statement, identity, *arguments)
        headers = said_headers(route, request, said)
        if answer is None and route.method == "GET":
            return HTTPResponse(None, 304, headers)
        if route.form:
            answer = request.app.ctx.signer.sign(answer)
        return HTTPResponse(None if route.status == 204 else answer, route.status, headers, JSON)

    async def read_body(request: ParleyRequest) -> bytes:
        if media_type and request.headers.get("content-type", "").partition(";")[0].strip().lower() != media_type:
            raise ApiError(415, f"The body must be sent as Content-Type: {media_type}.")
        if request.stream is not None and request.stream.request_body:
            request.stream.request_max_size = MAX_BODY  # Sanic lifts its limit for handlers that read the body
            await request.receive_body()  # type: ignore[no-untyped-call]
        return request.body

    return handle


async def fetch_row(
    request: ParleyRequest, route: Route, turn: Turn, statement: str, identity: str, *arguments: Any
) -> Any:
    """Return the row of a statement, from the primary or a replica, within the request's turn."""
    replica = request.app.ctx.replica
    if replica and not route.changes_nothing:
        # A change waits for Redis and the replica outside its turn, so that it holds no slot meanwhile.
        async with replica.changed_by(identity), turn as seconds:
            return await request.app.ctx.database.call_for_row(statement, identity, *arguments, acquire_seconds=seconds)
    async with turn as seconds:
        if replica:
            row = await replica.answer(route, request, statement, identity, *arguments, acquire_seconds=seconds)
        else:
            row = await request.app.ctx.database.call_for_row(statement, identity, *arguments, acquire_seconds=seconds)
        turn.size = len(row[0] or b"")
        return row


def said_headers(route: Route, request: ParleyRequest, said: list[Any]) -> dict[str, str]:
    """Return the response headers for the values that the database returned beside the body."""
    if route.can_be_repeated:
        return {"Idempotency-Replayed": "true"} if said[0] else {}
    headers: dict[str, str] = {}
    for name, value in zip(route.says, said, strict=True):
        if not value:  # a 304 response has only the entity tag
            continue
        if name == "links":
            headers |= link_header(route, request, value)
        else:
            headers[SAID_IN[name]] = value
    return headers


def form_fields(body: bytes, names: tuple[str, ...]) -> list[str | None]:
    """Return these fields of a form, None for a missing one; Pusher's clients may send others. Raises ApiError 400."""
    try:
        fields = parse_qs(body.decode(), max_num_fields=FORM_FIELDS)
    except ValueError:
        raise ApiError(400, f"The body is not valid {FORM}.") from None
    return [fields[name][0] if name in fields else None for name in names]


def image_handler_of(route: Route) -> Handler:
    """Return the handler of a route that receives an image, after the database has authenticated the user."""
    sign_in = "select json_build_object('sub', session.user_id())::text from session.authenticate($1, $2)"

    async def handle(request: ParleyRequest) -> HTTPResponse:
        caller, replica = identify(request, route), request.app.ctx.replica
        async with request.app.ctx.admission.turn(caller) as seconds:
            row = await request.app.ctx.database.call_for_row(sign_in, caller, request.id, acquire_seconds=seconds)
        identity = row[0]
        async with (
            receive_image(request, identity) as upload,
            replica.changed_by(caller) if replica else nullcontext(),
        ):
            content = await asyncio.to_thread(digest, upload) if "idempotency-key" in request.headers else b""
            arguments = identity, request.id, *conditions(request, route, content)
            answer, *said = await request.app.ctx.images.store(upload, route.statement, *arguments)
        return HTTPResponse(answer, route.status, said_headers(route, request, said), JSON)

    return handle
