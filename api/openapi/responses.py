"""The responses of operations: success, 304 and errors, each with its headers and an example."""

from typing import Any, NamedTuple

from pydantic.alias_generators import to_camel

from api.http.errors import CODES, internal_error, unauthorized, unavailable
from api.openapi.headers import API_HEADERS, COMMON_HEADERS, ERROR_HEADERS, build_header, build_header_refs
from api.openapi.parameters import list_request_headers
from api.openapi.schemas import Json, build_content
from api.routes import RESPONSE_HEADERS, ROUTES, Route


class ErrorDoc(NamedTuple):
    """The causes of an error, and the message of its example."""

    description: str
    message: str


ERRORS = {  # by status
    400: ErrorDoc(
        "The request is malformed or has invalid fields; `details.fields` lists all of them, including unknown and "
        "repeated query parameters.",
        "The request has invalid fields.",
    ),
    401: ErrorDoc(
        "The request has no valid session token. The response does not reveal the reason.", unauthorized().message
    ),
    403: ErrorDoc(
        "The caller may not do this. Or the request would change data, has a session cookie, and comes from an origin "
        "that is not allowed.",
        "Only the owner of the chat may do this.",
    ),
    404: ErrorDoc("The resource does not exist, or the caller is not a member of the chat.", "Chat not found."),
    409: ErrorDoc(
        "The request conflicts with the current state: the user is already a member, the chat has the maximum number "
        "of members, the owner cannot leave, or another user has the e-mail address. With `Retry-After`, the first "
        "request with this `Idempotency-Key` is still in progress.",
        "This user is a member already.",
    ),
    410: ErrorDoc(
        "The log no longer has the events after this cursor. Fetch the chats again.",
        "The log does not reach back to this cursor.",
    ),
    412: ErrorDoc(
        "The resource has changed since the version in `If-Match`. Fetch it again.",
        "It is not what If-Match says it is.",
    ),
    413: ErrorDoc("The body is too large.", "The request is too large."),
    415: ErrorDoc("The body has the wrong media type.", "The body must be sent as Content-Type: application/json."),
    422: ErrorDoc(
        "This `Idempotency-Key` was used for another request.",
        "Another request was sent with this Idempotency-Key.",
    ),
    429: ErrorDoc("The client's address has exceeded the rate limit in `X-RateLimit-Limit`.", "Too many requests."),
    500: ErrorDoc("The server failed. Quote the `X-Request-Id` in a report.", internal_error().message),
    503: ErrorDoc(
        "The database or the storage is unavailable or overloaded, or there is no room for another upload.",
        unavailable().message,
    ),
}
COMMON_ERROR_STATUSES = (400, 401, 413, 429, 500, 503)


def build_responses(route: Route, components: Json) -> Json:
    """Return the response objects of an operation by status."""
    responses = {str(route.status): build_success(route, components)}
    if route.method == "GET" and "etag" in route.response_headers:
        headers = build_header_refs(
            *API_HEADERS, *(RESPONSE_HEADERS[name] for name in route.response_headers if name in RESPONSE_HEADERS)
        )
        responses["304"] = {"description": "The resource still has the version in `If-None-Match`.", "headers": headers}
    for status in sorted(list_error_statuses(route)):
        responses[str(status)] = {"$ref": f"#/components/responses/{CODES[status]}"}
    return responses


def build_success(route: Route, components: Json) -> Json:
    """Return the response object of success."""
    headers = ["Link" if name == "links" else RESPONSE_HEADERS[name] for name in route.response_headers]
    headers += ["Idempotency-Replayed"] * route.accepts_idempotency_key
    response: Json = {"description": "Success.", "headers": build_header_refs(*API_HEADERS, *headers)}
    if "ETag" in headers and "include" in route.query:
        response["headers"]["ETag"] = build_header("ETag", required=False)
    if route.response:
        model = route.response.__name__
        response["description"] = components[model]["description"]
        response["content"] = build_content("application/json", model, components)
    if route.status == 201 and (links := build_links(route)):
        response["links"] = links
    return response


def list_error_statuses(route: Route) -> set[int]:
    """Return the statuses of the errors that a route may respond with."""
    statuses = {*COMMON_ERROR_STATUSES, *route.errors}
    statuses |= {404} if "chat_id" in route.path_parameters else set()
    statuses |= set() if route.allows_cookie else {403}
    statuses |= {415} if route.body or route.image_kind or route.pusher_fields else set()
    statuses |= {409, 422} if route.accepts_idempotency_key else set()
    return statuses | ({412} if "If-Match" in list_request_headers(route) else set())


def build_links(route: Route) -> Json:
    """Return links to the operations on what a route creates: they take its ID from the response."""
    parents = {to_camel(name): f"$request.path.{to_camel(name)}" for name in route.path_parameters}
    links: Json = {}
    for other in ROUTES:
        if other.path.startswith(f"{route.path}/<") and len(other.path_parameters) == len(parents) + 1:
            name = to_camel(other.path_parameters[-1])
            field = name if name == "userId" else "id"
            links[get_operation_id(other)] = {
                "operationId": get_operation_id(other),
                "parameters": parents | {name: f"$response.body#/{field}"},
            }
    return links


def get_operation_id(route: Route) -> str:
    """Return the operation's ID: the name of the SQL function in camelCase."""
    return to_camel(route.function.removeprefix("api."))


def build_error_responses() -> Json:
    """Return the error responses of the components by code."""
    return {CODES[status]: build_error(status) for status in ERRORS}


def build_error(status: int, *, message: str = "", description: str = "", is_rate_limited: bool = True) -> Json:
    """Return the response object of an error; `message` and `description` replace those in ERRORS."""
    default_description, default_message = ERRORS[status]
    example: dict[str, Any] = {"message": message or default_message, "code": CODES[status]}
    if status == 400:
        example["details"] = {"fields": {"title": "must be 1 to 200 characters"}}
    headers = build_header_refs(*(API_HEADERS if is_rate_limited else COMMON_HEADERS), *ERROR_HEADERS.get(status, ()))
    if status == 409:  # Only one of its causes comes with Retry-After.
        headers["Retry-After"] = build_header("Retry-After", required=False)
    return {
        "description": description or default_description,
        "headers": headers,
        "content": {
            "application/json": {"schema": {"$ref": "#/components/schemas/Error"}, "example": {"error": example}}
        },
    }
