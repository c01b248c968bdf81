"""The OpenAPI 3.1 document: from the table of routes, the models, and what the database says that fields may be."""

import json
from importlib.metadata import version
from typing import Any

import asyncpg
from pydantic.alias_generators import to_camel
from pydantic.json_schema import GenerateJsonSchema, models_json_schema

from api.admission.single_flight import SingleFlight
from api.auth.tokens import session_cookies
from api.db.pool import Database
from api.http.errors import AWAY, CODES, internal_error, unauthorized, unavailable
from api.http.protocol import template
from api.images.names import NAME, SUFFIXES
from api.images.reencode.limits import MAX_SIDE
from api.images.upload import FIELD, MAX_IMAGE_BYTES
from api.openapi import models
from api.routes import ROUTES, SAID_IN, Route
from api.settings import Settings

Json = dict[str, Any]

FRESH_SECONDS = 60
FETCH_SECONDS = 2  # for PostgreSQL to say what fields may be, before the document is what it was

ABOUT = """
A chat backend that lives in PostgreSQL.

- Times are UTC to the millisecond; ids of chats and messages are UUIDv7.
- A page's header `Link` has the URLs of the pages next to it. They go by cursors: `before` and `after` take an id in
  place of `page`, and then the answer's `page` is null.
- `ETag` is the version of what is answered. With that in `If-Match` a change is of this version, or is not made; with
  it in `If-None-Match` a `GET` is a 304 while there is no other.
- A `POST` with an `Idempotency-Key` is done once: sent again, it gets the first answer.
- Each `GET` has its `HEAD`. Where reads go to a replica, `Cache-Control: no-cache` asks the primary.
- Pages of the origins that the service allows may call it, and read the answers with these headers (CORS).
- What happens in a chat is told at once, through Pusher Channels: see [the events](docs/events). What they carry is
  among the schemas here. Who was away asks for the events since: `X-Chat-Seq` tells up to which one an answer is true.
"""
# By status: when it is answered, and what the example says.
ERRORS = {
    400: ("Malformed or out of bounds; `details.fields` names every bad field.", "The request has invalid fields."),
    401: ("No valid token; the answer does not say why.", unauthorized().message),
    403: ("Not the caller's to do, or a change with a session cookie from an origin that is not allowed.",
          "Only the owner of the chat may do this."),
    404: ("It does not exist, or the caller is not in the chat.", "Chat not found."),
    409: (("Against what is: a member already, a chat that has as many members as it may, an owner who would leave,"
           " another user's e-mail address; or the first request with this `Idempotency-Key` is still under way, then"
           " with `Retry-After`."),
          "This user is a member already."),
    410: ("The log has no events from there on; read anew.", "The log does not reach back to this cursor."),
    412: ("It is not the version that `If-Match` names; read it again.", "It is not what If-Match says it is."),
    413: ("The body is too large.", "The request is too large."),
    415: ("The body is of another media type.", "The body must be sent as Content-Type: application/json."),
    422: ("Another request had this `Idempotency-Key`.", "Another request was sent with this Idempotency-Key."),
    429: ("Too many requests from one address; `X-RateLimit-Limit` tells how many it has.", "Too many requests."),
    500: ("The server's error; quote `X-Request-Id`.", internal_error().message),
    503: ("The database or the storage is away or busy, or there is no room for an upload.", unavailable().message),
}  # fmt: skip
CHAT_ID, MESSAGE_ID = "01a20a99-4a23-7c5b-9aec-d0aaeaef17a8", "01a21066-a8c1-7000-80c8-03d3bfc81670"
ETAG = '"uyqusEWMi0amCzeDau98"'
TEXT, NUMBER, ID = {"type": "string"}, {"type": "integer"}, {"type": "string", "format": "uuid"}
ALWAYS = (400, 401, 413, 429, 500, 503)
# By name: what a header says, its schema and an example.
HEADERS: dict[str, tuple[str, Json, Any]] = {
    "X-Request-Id": ("The request's id: the caller's, if it sent a sane one.", TEXT, "checkout-42"),
    "Server-Timing": ("Where the time went, in milliseconds; not of searches.", TEXT,
                      "limit;dur=0.4, pool;dur=0.0, db;dur=1.2, total;dur=2.0"),
    "RateLimit-Policy": ("The limit: `q` requests of one address in `w` seconds.", TEXT, '"default";q=10;w=10'),
    "RateLimit": ("`r` are left; in `t` seconds the window ends or, where none is left, a request is let in.", TEXT,
                  '"default";r=9;t=7'),
    "X-RateLimit-Limit": ("How many requests one address has in a window.", NUMBER, 10),
    "X-RateLimit-Remaining": ("How many of them are left.", NUMBER, 9),
    "X-RateLimit-Reset": ("When the window ends: Unix time in milliseconds.", NUMBER, 1764035500000),
    "Retry-After": ("Seconds to wait.", NUMBER, 1),
    "WWW-Authenticate": ("How to authenticate.", TEXT, "Bearer"),
    "Link": ("The pages next to this one, each with its `rel`: next, prev, first. Not there if too long.", TEXT,
             '<https://chat.example.org/api/chats>; rel="first"'),
    "ETag": ("The version of what is answered.", TEXT, ETAG),
    "X-Chat-Seq": ("The `seq` of the chat's last event that the answer knows of.", NUMBER, 42),
    "Idempotency-Replayed": ("There, and true, if this is the answer to an earlier request.", TEXT, "true"),
    "Cross-Origin-Resource-Policy": ("Which pages may embed it; others fetch it, by CORS.", TEXT, "same-origin"),
    "X-Content-Type-Options": ("Whether its type may be guessed.", TEXT, "nosniff"),
    "Cache-Control": ("Who may keep it, and whether to ask again before it is used.", TEXT, "private, no-cache"),
}  # fmt: skip
ON_ALL = ("X-Request-Id",)
ON_IMAGES = (*ON_ALL, "ETag", "Cache-Control")
ON_LIMITED = ("RateLimit-Policy", "RateLimit", "X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset")
GUARDS = ("Cache-Control", "Cross-Origin-Resource-Policy", "X-Content-Type-Options")
ON_API = (*ON_ALL, *GUARDS, "Server-Timing", *ON_LIMITED)
NOT_ALWAYS = ("Link", "Idempotency-Replayed", "Server-Timing")
ON_ERROR = {401: ("WWW-Authenticate",), 429: ("Retry-After",), 503: ("Retry-After",)}
DAY_OR_INSTANT = {"anyOf": [TEXT | {"format": "date"}, TEXT | {"format": "date-time"}]}
# Of paths, queries and forms, by name: what it means, its schema but for what the database says, and an example.
PARAMETERS: dict[str, tuple[str, Json, Any]] = {
    "chatId": ("The chat's id.", ID, CHAT_ID),
    "messageId": ("The message's id.", ID, MESSAGE_ID),
    "userId": ("The user's id.", TEXT, "bob"),
    "page": ("Which page; the first is 1, which is meant without `before` and `after`.", NUMBER, 1),
    "limit": ("How many a page has at most.", NUMBER, 50),
    "seq": ("The `seq` of an event of the chat, or what `next` or `X-Chat-Seq` was; 0 for all of the log.", NUMBER, 0),
    "cursor": ("What `next` was. Without it there are no events, and `next` is where to begin.", TEXT, ""),
    "events": ("How many events there are in an answer at most.", NUMBER, 100),
    "before": ("An id; what is older, in place of `page`.", ID, MESSAGE_ID),
    "after": ("An id; what is newer, in place of `page`.", ID, CHAT_ID),
    "type": ("Only messages of this type.", TEXT, "text"),
    "search": ('What people type into a search box: words, "a phrase", -not, or.', TEXT, "hello"),
    "startDate": (
        "Only what was sent then or later; in the years 1 to 9999, by offsets of less than 16 hours.",
        DAY_OR_INSTANT,
        "2026-11-23",
    ),
    "endDate": ("Only what was sent until then, a day included.", DAY_OR_INSTANT, "2026-11-23T10:15:30.123Z"),
    "sort": ("By relevance, which needs a search and has no cursors, or not.", TEXT | {"default": "newest"}, "newest"),
    "socket_id": ("The id of the connection to Pusher.", TEXT, "1234.5678"),
    "channel_name": ("The channel's name.", TEXT, f"private-chat-{CHAT_ID}"),
    "If-Match": ("Do it only if that has this `ETag`, or one of several; `*` is any.", TEXT, ETAG),
    "If-None-Match": ("Do it only if that has another `ETag`; else a `GET` is a 304, a change a 412.", TEXT, ETAG),
    "Idempotency-Key": (
        "Has a request done once: the same one with the same key, within 24 hours, gets the first answer again.",
        TEXT,
        "8e03978e-40d5-43e8-bc93-6894a57f9324",
    ),
}

# Of queries in which a name means something else than there: under which name it is there.
NAMED = {
    "api.list_chat_events": {"after": "seq", "limit": "events"},
    "api.list_events": {"after": "cursor", "limit": "events"},
}


class OpenApi:
    """The document as it is sent. What the database says is asked again after a while: a migration may change it.

    While the database is away, the document stays what it was.
    """

    def __init__(self, settings: Settings, database: Database) -> None:
        self._settings, self._database = settings, database
        self._fields, self._text = b"", b""
        self._refresh = SingleFlight(self._fetch, FETCH_SECONDS)

    async def text(self) -> bytes:
        """The document; raises what Database.call() raises, if there was none yet."""
        try:
            await self._refresh.get(FRESH_SECONDS)
        except (asyncpg.PostgresError, *AWAY):
            if not self._text:
                raise
        return self._text

    async def _fetch(self) -> None:
        fields = await self._database.call("select api.get_field_schemas()")
        if fields != self._fields:
            self._fields = fields
            self._text = json.dumps(document(json.loads(fields), self._settings)).encode()

    async def close(self) -> None:
        """Ends a fetch that is under way."""
        await self._refresh.close()


class Schemas(GenerateJsonSchema):
    """Without titles, which would repeat names, and without null as the default of what may be left out."""

    def field_title_should_be_set(self, _: Any) -> bool:
        """Never."""
        return False

    def default_schema(self, schema: Any) -> Json:
        """As ever, but for None."""
        return (
            super().default_schema(schema) if schema["default"] is not None else self.generate_inner(schema["schema"])
        )


def document(fields: Json, settings: Settings) -> Json:
    """The document; `fields` is what api.get_field_schemas() answers."""
    components, security = schemas(fields), security_schemes(settings)
    paths: Json = {}
    for route in ROUTES:
        paths.setdefault(template(route.path), {})[route.method.lower()] = operation(route, fields, components)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Parley", "version": version("parley"), "description": ABOUT.strip()},
        "servers": [{"url": settings.public_url}],
        "security": [{name: []} for name in security],
        "paths": paths | outside(components),
        "components": {
            "schemas": components,
            "responses": {CODES[status]: error(status) for status in ERRORS},
            "headers": {name: header(name, required=name not in NOT_ALWAYS) for name in HEADERS},
            "securitySchemes": security,
        },
    }


def security_schemes(settings: Settings) -> Json:
    """Return the ways to send a session token."""
    in_cookie = "The same, in a cookie. No page can set it: at /docs, use `token`."
    return {
        "token": {"type": "http", "scheme": "bearer", "description": "The session token that the web app made."},
        **{
            name: {"type": "apiKey", "in": "cookie", "name": name, "description": in_cookie}
            for name in session_cookies(settings.public_url)
        },
    }


def operation(route: Route, fields: Json, components: Json) -> Json:
    """What a route does."""
    parameters = [parameter("path", name, fields, required=True) for name in map(to_camel, route.path_parameters)]
    named = NAMED.get(route.function, {})
    parameters += [
        parameter("query", named.get(name, name), fields, required=name in route.required) | {"name": name}
        for name in route.query
    ]
    parameters += [parameter("header", name, fields) for name in request_headers(route)]
    described: Json = {
        "operationId": name_of(route),
        "summary": route.summary,
        "tags": [route.path.split("/")[2]],
        "parameters": parameters,
        "requestBody": request_body(route, fields, components),
        "responses": responses(route, components),
    }
    return {name: value for name, value in described.items() if value}


def name_of(route: Route) -> str:
    """Its operationId."""
    return to_camel(route.function.removeprefix("api."))


def request_headers(route: Route) -> tuple[str, ...]:
    """The headers that say what a request's answer depends on."""
    if route.can_be_repeated:
        return ("Idempotency-Key",)
    return ("If-Match", "If-None-Match") if "etag" in route.says or route.method == "DELETE" else ()


def parameter(place: str, name: str, fields: Json, *, required: bool = False) -> Json:
    """A parameter of a path or a query."""
    text, _, example = PARAMETERS[name]
    schema = value_schema(name, fields) | (fields["notBlank"] if required and place == "query" else {})
    described = {"name": name, "in": place, "description": text, "required": required, "schema": schema}
    if required:
        return described | {"example": example}
    if place == "header":
        return described | {"schema": schema | {"examples": [example]}}
    schema = schema | {"examples": [example]}  # an `example` would be filled in by Swagger UI
    return described | {"allowEmptyValue": True, "schema": schema}


def value_schema(name: str, fields: Json) -> Json:
    """What a parameter may be."""
    schema = {**PARAMETERS[name][1], **fields.get(name, {})}
    if name == "page":
        del schema["default"]  # some clients send defaults, and with before or after there is no page
    return schema


def request_body(route: Route, fields: Json, components: Json) -> Json:
    """What a route's request carries."""
    if route.body:
        return {"required": True, "content": content("application/json", route.body.__name__, components)}
    if route.image:
        text = f"Up to {MAX_IMAGE_BYTES:,} bytes and {MAX_SIDE} by {MAX_SIDE} pixels; what it is tells its content."
        image = {"type": "string", "format": "binary", "description": text}
        schema = form_schema({FIELD: image}) | {"additionalProperties": False}
        form = {"schema": schema, "encoding": {FIELD: {"contentType": ", ".join(SUFFIXES)}}}
        return {"required": True, "content": {"multipart/form-data": form}}
    if route.form:
        described = {name: value_schema(name, fields) | {"description": PARAMETERS[name][0]} for name in route.form}
        example = {name: PARAMETERS[name][2] for name in route.form}
        form = {"schema": form_schema(described), "example": example}
        return {"required": True, "content": {"application/x-www-form-urlencoded": form}}
    return {}


def form_schema(properties: Json) -> Json:
    """A form that has all of these fields."""
    return {"type": "object", "properties": properties, "required": list(properties)}


def responses(route: Route, components: Json) -> Json:
    """What a route may answer."""
    said = ["Link" if name == "links" else SAID_IN[name] for name in route.says]
    said += ["Idempotency-Replayed"] * route.can_be_repeated
    success: Json = {"description": "Done.", "headers": headers(*ON_API, *said)}
    if route.answer:
        name = route.answer.__name__
        success["description"] = components[name]["description"]
        success["content"] = content("application/json", name, components)
    if route.status == 201:
        success["links"] = links(route)
    errors = {*ALWAYS, *route.errors}
    errors |= {404} if "chat_id" in route.path_parameters else set()
    errors |= set() if route.changes_nothing else {403}
    errors |= {415} if route.body or route.image or route.form else set()
    errors |= {409, 422} if route.can_be_repeated else set()
    errors |= {412} if "If-Match" in request_headers(route) else set()
    refused = {str(status): {"$ref": f"#/components/responses/{CODES[status]}"} for status in sorted(errors)}
    same: Json = {}
    if route.method == "GET" and "etag" in route.says:
        kept = headers(*ON_API, *(SAID_IN[name] for name in route.says if name in SAID_IN))
        same = {"304": {"description": "It is the version that the caller has.", "headers": kept}}
    return {str(route.status): success} | same | refused


def links(route: Route) -> Json:
    """What can be done with what was created, whose id is in the answer."""
    known = {to_camel(name): f"$request.path.{to_camel(name)}" for name in route.path_parameters}
    found: Json = {}
    for other in ROUTES:
        if other.path.startswith(f"{route.path}/<") and len(other.path_parameters) == len(known) + 1:
            name = to_camel(other.path_parameters[-1])
            field = name if name == "userId" else "id"
            found[name_of(other)] = {
                "operationId": name_of(other),
                "parameters": known | {name: f"$response.body#/{field}"},
            }
    return found


def header(name: str, *, required: bool) -> Json:
    """What a header says."""
    text, schema, example = HEADERS[name]
    return {"description": text, "required": required, "schema": schema, "example": example}


def headers(*names: str) -> Json:
    """These headers of a response."""
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def error(status: int, *, message: str = "", text: str = "", limited: bool = True) -> Json:
    """The response with an error's status."""
    usual_text, usual_message = ERRORS[status]
    problem: Json = {"message": message or usual_message, "code": CODES[status]}
    if status == 400:
        problem["details"] = {"fields": {"title": "must be 1 to 200 characters"}}
    schema = {"$ref": "#/components/schemas/Error"}
    at_times = {"Retry-After": header("Retry-After", required=False)} if status == 409 else {}
    return {
        "description": text or usual_text,
        "headers": headers(*(ON_API if limited else ON_ALL), *ON_ERROR.get(status, ())) | at_times,
        "content": {"application/json": {"schema": schema, "example": {"error": problem}}},
    }


def outside(components: Json) -> Json:
    """What is answered to anybody, without a limit."""
    ok = {
        "description": components["Status"]["description"],
        "headers": headers(*ON_ALL),
        "content": content("application/json", "Status", components),
    }
    image = {
        "description": "The picture, which never changes.",
        "headers": headers(*ON_IMAGES),
        "content": {kind: {"schema": TEXT | {"format": "binary"}} for kind in SUFFIXES},
    }
    away = error(503, limited=False)
    absent = error(404, message="No such resource.", text="There is none, or none any more.", limited=False)
    name = {"name": "name", "in": "path", "required": True, "schema": TEXT | {"pattern": f"^{NAME.pattern}$"}}
    known = parameter("header", "If-None-Match", {})
    same = {"description": "It is the one that the caller has.", "headers": headers(*ON_IMAGES)}
    get_image = free(
        "getImage", "Get the picture that an `imageUrl` leads to", {"200": image, "304": same, "404": absent}
    )
    return {
        "/healthz": {"get": free("isAlive", "Whether the process is alive", {"200": ok})},
        "/readyz": {"get": free("isReady", "Whether its database is there too", {"200": ok, "503": away})},
        "/images/{name}": {"get": get_image | {"parameters": [name, known]}},
    }


def free(name: str, summary: str, answers: Json) -> Json:
    """An operation that needs no token."""
    return {"operationId": name, "summary": summary, "tags": ["outside /api"], "security": [], "responses": answers}


def content(media_type: str, model: str, components: Json) -> Json:
    """A body of a model, with an example."""
    return {
        media_type: {
            "schema": {"$ref": f"#/components/schemas/{model}"},
            "example": example_of(components[model], components),
        }
    }


def schemas(fields: Json) -> Json:
    """The models' schemas."""
    shapes = {model for route in ROUTES for model in (route.body, route.answer) if model}
    shapes |= {event.payload for event in models.EVENTS} | {models.Error, models.Status}
    ordered = sorted(shapes, key=lambda model: model.__name__)
    _, made = models_json_schema(
        [(model, "validation") for model in ordered],
        ref_template="#/components/schemas/{model}",
        schema_generator=Schemas,
    )
    components: Json = made["$defs"]
    components["Problem"]["properties"]["code"]["enum"] = list(CODES.values())
    for name, schema in components.items():
        is_body = issubclass(getattr(models, name), models.Body)
        for field, described in schema.get("properties", {}).items():
            said = fields.get(field, {})
            described.update(said if is_body else {word: said[word] for word in said if word == "enum"})
    return components


def example_of(schema: Json, components: Json) -> Any:
    """An example of what a schema describes, made of those of its parts; what may be left out and has none is."""
    schema = resolved(schema, components)
    if "examples" in schema:
        return schema["examples"][0]
    if "anyOf" in schema:
        return example_of(schema["anyOf"][0], components)
    if schema.get("type") == "array":
        return [example_of(schema["items"], components)]
    if "properties" not in schema:
        return None
    made = {name: example_of(described, components) for name, described in schema["properties"].items()}
    return {name: value for name, value in made.items() if value is not None}


def resolved(schema: Json, components: Json) -> Json:
    """What a reference refers to."""
    return components[schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema
