"""The headers of responses: their descriptions, schemas and examples, and which responses have which."""

from api.openapi.models.fields import ETAG
from api.openapi.schemas import INTEGER, STRING, Entry, Json

HEADERS = {
    "X-Request-Id": Entry(
        "The request's ID: the client's `X-Request-Id` if that is valid, otherwise a generated one.",
        STRING,
        "checkout-42",
    ),
    "Server-Timing": Entry(
        "The time spent in each step, in milliseconds. Omitted for searches.",
        STRING,
        "limit;dur=0.4, pool;dur=0.0, db;dur=1.2, total;dur=2.0",
    ),
    "RateLimit-Policy": Entry(
        "The rate limit: `q` requests from one address in `w` seconds.", STRING, '"default";q=10;w=10'
    ),
    "RateLimit": Entry(
        "`r` is the number of requests that remain in the window. `t` is the number of seconds until the window ends "
        "or, if `r` is 0, until a request is allowed again.",
        STRING,
        '"default";r=9;t=7',
    ),
    "X-RateLimit-Limit": Entry("The number of requests that one address may send in a window.", INTEGER, 10),
    "X-RateLimit-Remaining": Entry("The number of requests that remain in the window.", INTEGER, 9),
    "X-RateLimit-Reset": Entry("The end of the window, in Unix time in milliseconds.", INTEGER, 1764035500000),
    "Retry-After": Entry("The number of seconds to wait before a retry.", INTEGER, 1),
    "WWW-Authenticate": Entry("The authentication scheme.", STRING, "Bearer"),
    "Link": Entry(
        "The URLs of the adjacent pages, each with `rel` next, prev or first. Omitted if it would be too long.",
        STRING,
        '<https://chat.example.org/api/chats>; rel="first"',
    ),
    "ETag": Entry("The version of the resource.", STRING, ETAG),
    "X-Chat-Seq": Entry("The `seq` of the latest event of the chat that the response reflects.", INTEGER, 42),
    "Idempotency-Replayed": Entry(
        "Present, and `true`, if this is the response to an earlier request.", STRING, "true"
    ),
    "Cross-Origin-Resource-Policy": Entry("The sites whose pages may embed the response.", STRING, "same-origin"),
    "X-Content-Type-Options": Entry("`nosniff`: browsers must not guess the content type.", STRING, "nosniff"),
    "Cache-Control": Entry(
        "Who may store the response, and whether it must be revalidated before each use.", STRING, "private, no-cache"
    ),
}
OPTIONAL = ("Link", "Idempotency-Replayed", "Server-Timing")

COMMON_HEADERS = ("X-Request-Id",)
IMAGE_HEADERS = (*COMMON_HEADERS, "ETag", "Cache-Control")
SECURITY_HEADERS = ("Cache-Control", "Cross-Origin-Resource-Policy", "X-Content-Type-Options")
RATE_LIMIT_HEADERS = (
    "RateLimit-Policy",
    "RateLimit",
    "X-RateLimit-Limit",
    "X-RateLimit-Remaining",
    "X-RateLimit-Reset",
)
API_HEADERS = (*COMMON_HEADERS, *SECURITY_HEADERS, "Server-Timing", *RATE_LIMIT_HEADERS)
ERROR_HEADERS = {401: ("WWW-Authenticate",), 429: ("Retry-After",), 503: ("Retry-After",)}  # by status


def build_header(name: str, *, required: bool) -> Json:
    """Return a header object."""
    header = HEADERS[name]
    return {
        "description": header.description,
        "required": required,
        "schema": header.schema,
        "example": header.example,
    }


def build_headers() -> Json:
    """Return the header objects of the components."""
    return {name: build_header(name, required=name not in OPTIONAL) for name in HEADERS}


def build_header_refs(*names: str) -> Json:
    """Return the headers of a response, as references to the components."""
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}
