"""Whatever goes wrong, as the one envelope: {"error": {"message", "code", "details"?}}.

PostgreSQL's functions say in SQLSTATE what they mean; the table here is the only one that knows. What it does not
know is a 500, whose text is for the log.
"""

import json
import logging
import re
from asyncio import CancelledError
from http import HTTPMethod
from typing import Any

import asyncpg
from obstore.exceptions import BaseError as StorageError
from sanic import HTTPResponse, Request
from sanic.exceptions import RequestCancelled, SanicException
from sanic.handlers import ErrorHandler

from api.http.parser import MalformedRequest
from api.http.protocol import ParleyRequest

logger = logging.getLogger("parley.api")

CODES = {
    400: "validation_error",
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    409: "conflict",
    410: "cursor_expired",
    412: "precondition_failed",
    413: "payload_too_large",
    415: "unsupported_media_type",
    422: "idempotency_key_reused",
    429: "rate_limited",
    500: "internal_error",
    503: "unavailable",
}
TRY_AGAIN = {429: {"Retry-After": "1"}, 503: {"Retry-After": "1"}}  # for what does not know better
STATUSES = {f"PT{status}": status for status in CODES}  # raised by parley.raise_error()
NUL_IN_TEXT = "22021"
IMAGE = re.compile(r"[0-9a-f]{64}")
CLIENT_IS_GONE = 499  # which nobody reads, but metrics and the log have
USER_IS_GONE = ("members_user_exists", "settings_user_exists")  # an account deleted during the request
# What asyncpg raises without or before an SQLSTATE; InternalClientError is a connection that broke at an odd moment.
AWAY = (asyncpg.InterfaceError, asyncpg.InternalClientError, StorageError, OSError, TimeoutError)
QUOTING = ("22", "42601")  # whose very messages quote values: data exceptions; malformed tsqueries
UNAVAILABLE = ("08", "40", "53", "57")  # classes: connection, rollback, resources, operator intervention


class ApiError(Exception):
    """An answer other than the wanted one.

    `details` is the object under that key; `headers` are added to the answer's.
    """

    def __init__(self, status: int, message: str, details: Any = None, headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.details, self.headers = status, message, details, headers or {}


def unauthorized() -> ApiError:
    """401, the same for every reason."""
    return ApiError(401, "Authentication required.", headers={"WWW-Authenticate": "Bearer"})


def unavailable() -> ApiError:
    """503, for a database or a storage that is away or overloaded."""
    return ApiError(503, "The service is not available just now.")


def internal_error() -> ApiError:
    """500, for what nobody foresaw."""
    return ApiError(500, "The server made an error.")


def from_postgres(error: asyncpg.PostgresError) -> ApiError | None:
    """What a database error means to a client, or None for an error of ours."""
    state = error.sqlstate or ""
    if state == "PT401" or error.constraint_name in USER_IS_GONE:
        return unauthorized()
    if state == "PT503":
        return unavailable()
    if state in STATUSES:
        details = json.loads(error.detail or "{}")
        headers = {"Retry-After": str(details.pop("retryAfter"))} if "retryAfter" in details else None
        return ApiError(STATUSES[state], error.args[0], details or None, headers)
    if state == NUL_IN_TEXT:
        return ApiError(400, "Text may not have NUL.")
    return unavailable() if state[:2] in UNAVAILABLE else None


def from_sanic(error: SanicException, request: Request) -> ApiError:
    """The server's own refusals: no such route, wrong method, malformed or too much."""
    match error.status_code:
        case 404:
            return ApiError(404, "No such resource.")
        case 405:
            return ApiError(405, "Method not allowed.", headers={"Allow": allowed_methods(request)})
        case 413:
            return ApiError(413, "The request is too large.")
        case 503:
            return unavailable()
        case int(status) if status < 500:
            return ApiError(400, str(error) if isinstance(error, MalformedRequest) else "Malformed request.")
    return internal_error()


def allowed_methods(request: Request) -> str:
    """The methods that the request's path has, for the header; Sanic knows them, but does not always say them."""

    def is_allowed(method: HTTPMethod) -> bool:
        try:
            request.app.router.get(request.path, method, None)
        except SanicException:
            return False
        return True

    return ", ".join(method for method in sorted(HTTPMethod) if is_allowed(method))


def hide_quotes(error: asyncpg.PostgresError) -> None:
    """Takes what users wrote out of an error that is to be logged; PostgreSQL's log has all of it."""
    error.detail = error.hint = None
    if (error.sqlstate or "").startswith(QUOTING):
        error.args = (f"SQLSTATE {error.sqlstate}",)


def reason(exception: BaseException) -> str:
    """What an exception says, in one line, without the name of an image, which is all that one needs to see it."""
    return IMAGE.sub("…", f"{type(exception).__name__}: {exception}".partition("\n")[0])


class Envelope(ErrorHandler):
    """Answers every exception, of routes, of middleware and of the server itself."""

    def default(self, request: ParleyRequest, exception: BaseException) -> HTTPResponse:  # type: ignore[override]
        """The answer for an exception; one that nobody foresaw is logged with the request's id."""
        if isinstance(exception, RequestCancelled):
            return HTTPResponse(status=CLIENT_IS_GONE)
        if isinstance(exception, CancelledError):
            return answer(unavailable())
        error: ApiError | None = None
        if isinstance(exception, ApiError):
            error = exception
        elif isinstance(exception, SanicException):
            error = from_sanic(exception, request)
        elif isinstance(exception, asyncpg.PostgresError):
            error = from_postgres(exception)
        elif isinstance(exception, AWAY):
            error = unavailable()
        error = error or internal_error()
        if error.status >= 500 and request.may_log_failure:
            log(request, exception, error)
        return answer(error)


def log(request: ParleyRequest, exception: BaseException, error: ApiError) -> None:
    """Logs the cause of an error of the server."""
    what = f"{request.known_method} {request.template}"
    if error.status == 503:
        logger.warning("%s found a service unavailable: %s", what, reason(exception))
        return
    if isinstance(exception, asyncpg.PostgresError):
        hide_quotes(exception)
    logger.error("%s failed", what, exc_info=exception)


def answer(error: ApiError) -> HTTPResponse:
    """An error as a response, which says when to try again wherever that may help."""
    body = {"message": error.message, "code": CODES[error.status]}
    if error.details is not None:
        body["details"] = error.details
    headers = TRY_AGAIN.get(error.status, {}) | error.headers
    return HTTPResponse(json.dumps({"error": body}), error.status, headers, content_type="application/json")
