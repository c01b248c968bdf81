"""Errors as responses, all of one form: {"error": {"message", "code", "details"?}}.

PostgreSQL's functions raise errors whose SQLSTATE contains the HTTP status, such as PT404. Unexpected exceptions are
logged, and the client gets a 500 without their text.
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

from api.db import sqlstates
from api.http.parser import MalformedRequestError
from api.http.request import ParleyRequest

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
DEFAULT_RETRY_AFTER = {429: {"Retry-After": "1"}, 503: {"Retry-After": "1"}}  # seconds, unless the error has its own
CLIENT_CLOSED_REQUEST = 499  # for metrics and logs only, since the client has gone; nginx's status for this
STATUS_OF_SQLSTATE = {f"PT{status}": status for status in CODES}  # raised by parley.raise_error()
# Foreign keys to a user, which fail if the account is deleted during the request.
USER_CONSTRAINTS = ("members_user_exists", "settings_user_exists")
QUOTING_SQLSTATES = ("22", "42601")  # Their messages quote values: data exceptions, and malformed tsqueries.
# Errors that become a 503: asyncpg's without an SQLSTATE (InternalClientError: the connection broke within a message),
# and those of storage and sockets. TimeoutError includes its subclasses PoolBusyError (api/db/pool.py), QueueFullError
# and QueueTimeoutError (api/admission/controller.py): the worker has no capacity for the request.
UNAVAILABLE_ERRORS = (asyncpg.InterfaceError, asyncpg.InternalClientError, StorageError, OSError, TimeoutError)
IMAGE_NAME = re.compile(r"[0-9a-f]{64}")


class ApiError(Exception):
    """An error response. `details` is the member of that name; `headers` are added to the response's."""

    def __init__(self, status: int, message: str, details: Any = None, headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.details, self.headers = status, message, details, headers or {}


def unauthorized() -> ApiError:
    """Return the 401, which is the same for every reason."""
    return ApiError(401, "Authentication required.", headers={"WWW-Authenticate": "Bearer"})


def unavailable() -> ApiError:
    """Return the 503 for a database or storage that is unavailable or overloaded."""
    return ApiError(503, "The service is not available just now.")


def internal_error() -> ApiError:
    """Return the 500 for an unexpected exception."""
    return ApiError(500, "The server made an error.")


def translate_postgres_error(error: asyncpg.PostgresError) -> ApiError | None:
    """Return the response for a database error, or None if it is a bug in Parley."""
    sqlstate = error.sqlstate or ""
    if sqlstate == "PT401" or error.constraint_name in USER_CONSTRAINTS:
        return unauthorized()
    if sqlstate == "PT503":
        return unavailable()
    if sqlstate in STATUS_OF_SQLSTATE:
        details = json.loads(error.detail or "{}")
        headers = {"Retry-After": str(details.pop("retryAfter"))} if "retryAfter" in details else None
        return ApiError(STATUS_OF_SQLSTATE[sqlstate], error.args[0], details or None, headers)
    match sqlstates.get_status(sqlstate):
        case sqlstates.CLIENT_ERROR:
            return ApiError(400, "Text must not contain NUL (U+0000).")
        case sqlstates.UNAVAILABLE:
            return unavailable()
    return None


def translate_sanic_error(error: SanicException, request: Request) -> ApiError:
    """Return the response for an error that Sanic or the protocol raised."""
    match error.status_code:
        case 404:
            return ApiError(404, "No such resource.")
        case 405:
            return ApiError(405, "Method not allowed.", headers={"Allow": list_allowed_methods(request)})
        case 413:
            return ApiError(413, "The request is too large.")
        case 503:
            return unavailable()
        case int(status) if status < 500:
            return ApiError(400, str(error) if isinstance(error, MalformedRequestError) else "Malformed request.")
    return internal_error()


def list_allowed_methods(request: Request) -> str:
    """Return the methods of the request's path, for Allow. Sanic's own exception does not always list them."""

    def is_allowed(method: HTTPMethod) -> bool:
        try:
            request.app.router.get(request.path, method, None)
        except SanicException:
            return False
        return True

    return ", ".join(method for method in sorted(HTTPMethod) if is_allowed(method))


class ErrorRenderer(ErrorHandler):
    """Responds to every exception of handlers, of middleware and of the server itself."""

    def default(self, request: ParleyRequest, exception: BaseException) -> HTTPResponse:  # type: ignore[override]
        """Return the response for an exception, and log those that are the server's fault."""
        if isinstance(exception, RequestCancelled):
            return HTTPResponse(status=CLIENT_CLOSED_REQUEST)
        if isinstance(exception, CancelledError):
            return render(unavailable())
        error: ApiError | None = None
        if isinstance(exception, ApiError):
            error = exception
        elif isinstance(exception, SanicException):
            error = translate_sanic_error(exception, request)
        elif isinstance(exception, asyncpg.PostgresError):
            error = translate_postgres_error(exception)
        elif isinstance(exception, UNAVAILABLE_ERRORS):
            error = unavailable()
        error = error or internal_error()
        if error.status >= 500 and request.consume_log_quota():
            log_failure(request, exception, error)
        return render(error)


def render(error: ApiError) -> HTTPResponse:
    """Return the response for an error, with Retry-After if a retry may succeed."""
    body = {"message": error.message, "code": CODES[error.status]}
    if error.details is not None:
        body["details"] = error.details
    headers = DEFAULT_RETRY_AFTER.get(error.status, {}) | error.headers
    return HTTPResponse(json.dumps({"error": body}), error.status, headers, content_type="application/json")


def log_failure(request: ParleyRequest, exception: BaseException, error: ApiError) -> None:
    """Log the cause of a 5xx: one line for a 503, with a traceback for all others."""
    request_line = f"{request.known_method} {request.route_template}"
    if error.status == 503:
        logger.warning("%s found a service unavailable: %s", request_line, summarize(exception))
        return
    if isinstance(exception, asyncpg.PostgresError):
        redact(exception)
    logger.error("%s failed", request_line, exc_info=exception)


def summarize(exception: BaseException) -> str:
    """Return an exception in one line, without names of images: a name is sufficient to fetch the image."""
    return IMAGE_NAME.sub("…", f"{type(exception).__name__}: {exception}".partition("\n")[0])


def redact(error: asyncpg.PostgresError) -> None:
    """Remove what users wrote from an error before it is logged; PostgreSQL's own log has all of it."""
    error.detail = error.hint = None
    if (error.sqlstate or "").startswith(QUOTING_SQLSTATES):
        error.args = (f"SQLSTATE {error.sqlstate}",)
