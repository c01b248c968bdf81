"""The parameters of paths, queries, headers and forms."""

from pydantic.alias_generators import to_camel

from api.openapi.models.fields import CHAT_ID, ETAG, MESSAGE_ID
from api.openapi.schemas import INTEGER, STRING, Entry, Json
from api.routes import Route

ID = {"type": "string", "format": "uuid"}
DATE_OR_TIMESTAMP = {"anyOf": [STRING | {"format": "date"}, STRING | {"format": "date-time"}]}


def build_list_schema(*names: str) -> Json:
    """Return the schema of a comma-separated list of these names."""
    return {"type": "array", "items": {"enum": names}, "uniqueItems": True}


# The schemas lack the limits, which the database returns.
PARAMETERS = {
    "chatId": Entry("The chat's ID.", ID, CHAT_ID),
    "messageId": Entry("The message's ID.", ID, MESSAGE_ID),
    "userId": Entry("The user's ID.", STRING, "bob"),
    "page": Entry("The page's number, from 1. The default is 1 without `before` and `after`.", INTEGER, 1),
    "limit": Entry("The maximum number of items per page.", INTEGER, 50),
    "seq": Entry(
        "Return the events after this one: the `seq` of an event, or the value of `next` or `X-Chat-Seq`. 0 returns "
        "the log from its start.",
        INTEGER,
        0,
    ),
    "cursor": Entry(
        "Return the events after this cursor: the value of `next`. Without a cursor, the response has no events, and "
        "its `next` is the end of the log.",
        STRING,
        "",
    ),
    "sync_cursor": Entry("Return the events after this cursor, the value of `cursor` or `next`.", STRING, ""),
    "sync_limit": Entry(
        "The maximum number of chats in the response, 1 to 100; with `after`, of events, 1 to 1,000.", INTEGER, 100
    ),
    "event_limit": Entry("The maximum number of events in the response.", INTEGER, 100),
    "member_limit": Entry("The maximum number of members per page.", INTEGER, 100),
    "before_member": Entry(
        "Return the members who joined before the one with this user ID. Replaces `page`.", STRING, "bob"
    ),
    "after_member": Entry(
        "Return the members who joined after the one with this user ID. Replaces `page`.", STRING, "alice"
    ),
    "email": Entry("The user's whole e-mail address, without regard to case.", STRING, "alice@example.com"),
    "before": Entry("Return the items older than the one with this ID. Replaces `page`.", ID, MESSAGE_ID),
    "after": Entry("Return the items newer than the one with this ID. Replaces `page`.", ID, CHAT_ID),
    "around": Entry(
        "Return the page around the message with this ID: half of the items are newer, the rest older. Excludes "
        "`page`, `before`, `after`, `search` and `sort`.",
        ID,
        MESSAGE_ID,
    ),
    "type": Entry("Return only messages of this type.", STRING, "text"),
    "search": Entry('A query as in web search engines: words, "a phrase", -excluded, or.', STRING, "hello"),
    "startDate": Entry(
        "Return only messages sent at or after this date or time. Years are 1 to 9999, offsets less than 16 hours.",
        DATE_OR_TIMESTAMP,
        "2026-11-23",
    ),
    "endDate": Entry(
        "Return only messages sent at or before this time. A date includes the whole day.",
        DATE_OR_TIMESTAMP,
        "2026-11-23T10:15:30.123Z",
    ),
    "sort": Entry(
        "The order. `relevance` requires `search`, and excludes `before` and `after`.",
        STRING | {"default": "newest"},
        "newest",
    ),
    "include": Entry(
        "What to add to the response: `users`, the name and image of everyone whom it names; `etag`, what `If-Match` "
        "requires to change the item. A response with users has no `ETag` of its own.",
        build_list_schema("users", "etag"),
        ["users", "etag"],
    ),
    "include_users": Entry(
        "What to add to the response: `users`, the name and image of the author. A response with users has no `ETag`.",
        build_list_schema("users"),
        ["users"],
    ),
    "socket_id": Entry("The ID of the connection to Pusher.", STRING, "1234.5678"),
    "channel_name": Entry("The channel's name.", STRING, f"private-chat-{CHAT_ID}"),
    "channel_name[]": Entry(
        "The names of up to 100 channels, in place of `channel_name`: the field is repeated for each.",
        {"type": "array", "items": STRING},
        [f"private-chat-{CHAT_ID}"],
    ),
    "If-Match": Entry(
        "Process the request only if the resource has this `ETag`, or one of several. `*` matches any.", STRING, ETAG
    ),
    "If-None-Match": Entry(
        "Process the request only if the resource does not have this `ETag`. Otherwise, a `GET` returns 304, and any "
        "other method 412.",
        STRING,
        ETAG,
    ),
    "Idempotency-Key": Entry(
        "A unique key that makes retries safe: for 24 hours, the same request with the same key returns the first "
        "response and has no further effect.",
        STRING,
        "8e03978e-40d5-43e8-bc93-6894a57f9324",
    ),
}

# Entries of PARAMETERS for query parameters that have another meaning in these functions.
VARIANTS = {
    "api.list_members": {"limit": "member_limit", "before": "before_member", "after": "after_member"},
    "api.list_chat_events": {"after": "seq", "limit": "event_limit", "include": "include_users"},
    "api.list_events": {"after": "cursor", "limit": "event_limit", "include": "include_users"},
    "api.sync": {"after": "sync_cursor", "limit": "sync_limit"},
    "api.get_message": {"include": "include_users"},
}


def build_parameters(route: Route, fields: Json) -> list[Json]:
    """Return the parameters of an operation: of its path, its query and its headers."""
    variants = VARIANTS.get(route.function, {})
    parameters = [build_parameter("path", name, fields, required=True) for name in map(to_camel, route.path_parameters)]
    parameters += [
        build_parameter("query", variants.get(name, name), fields, required=name in route.required_query)
        | {"name": name}
        for name in route.query
    ]
    return parameters + [build_parameter("header", name, fields) for name in list_request_headers(route)]


def list_request_headers(route: Route) -> tuple[str, ...]:
    """Return the names of the headers that make a request conditional or idempotent."""
    if route.accepts_idempotency_key:
        return ("Idempotency-Key",)
    is_conditional = "etag" in route.response_headers or route.method in ("PUT", "DELETE")
    return ("If-Match", "If-None-Match") if is_conditional else ()


def build_parameter(location: str, name: str, fields: Json, *, required: bool = False) -> Json:
    """Return a parameter object; `location` is `path`, `query` or `header`."""
    description, _, example = PARAMETERS[name]
    schema = build_parameter_schema(name, fields)
    if required and location == "query" and not schema.get("minLength"):
        schema |= fields["notBlank"]
    parameter = {"name": name, "in": location, "description": description, "required": required, "schema": schema}
    if required:
        return parameter | {"example": example}
    # Swagger UI would send the `example` of an optional parameter, but not the `examples` of its schema.
    parameter["schema"] = schema | {"examples": [example]}
    if location == "header":
        return parameter
    if schema.get("type") == "array":
        parameter["explode"] = False  # one comma-separated value, not a parameter for each item
    return parameter | {"allowEmptyValue": True}


def build_parameter_schema(name: str, fields: Json) -> Json:
    """Return the schema of a parameter, with the limits that the database returns."""
    schema = {**PARAMETERS[name].schema, **fields.get(name, {})}
    if name == "page":
        del schema["default"]  # Some clients send defaults, but a request with a cursor must not have a page.
    return schema
