"""Whatever goes wrong, as the one envelope: {"error": {"message", "code", "details"?}}.

PostgreSQL's functions say in SQLSTATE what they mean; the table here is the only one that knows. What it does not
know is a 500, whose text is for the log.
"""

import json
import logging
from typing import Any

import asyncpg
from sanic import HTTPResponse, Request
from sanic.exceptions import SanicException
from sanic.handlers import ErrorHandler

logger = logging.getLogger("parley.api")

CODES = {
    400: "validation_error",
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    409: "conflict",
    413: "payload_too_large",
    415: "unsupported_media_type",
    429: "rate_limited",
    500: "internal_error",
    503: "unavailable",
}
STATUSES = {f"PT{status}": status for status in CODES}  # raised by parley.fail()
NUL_IN_TEXT = "22021"
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
    """503, for a database that is away or overloaded."""
    return ApiError(503, "The service is not available just now.", headers={"Retry-After": "1"})


def from_postgres(error: asyncpg.PostgresError) -> ApiError | None:
    """What a database error means to a client, or None for an error of ours."""
    state = error.sqlstate or ""
    if state == "PT401":
        return unauthorized()
    if state in STATUSES:
        return ApiError(STATUSES[state], error.args[0], json.loads(error.detail or "null"))
    if state == NUL_IN_TEXT:
        return ApiError(400, "Text may not have NUL.")
    return unavailable() if state[:2] in UNAVAILABLE else None


def from_sanic(error: SanicException) -> ApiError:
    """The server's own refusals: no such route, wrong method, malformed or too much."""
    messages = {404: "No such resource.", 405: "Method not allowed.", 413: "The request is too large."}
    status = error.status_code or 500
    if status not in CODES:
        status = 400 if status < 500 else 500
    message = messages.get(status, "The server made an error." if status == 500 else "Malformed request.")
    return ApiError(status, message, headers={k: str(v) for k, v in error.headers.items()})


class Envelope(ErrorHandler):
    """Answers every exception, of routes, of middleware and of the server itself."""

    def default(self, request: Request, exception: Exception) -> HTTPResponse:
        """The answer for an exception; one that nobody foresaw is logged with the request's id."""
        error: ApiError | None = None
        if isinstance(exception, ApiError):
            error = exception
        elif isinstance(exception, SanicException):
            error = from_sanic(exception)
        elif isinstance(exception, asyncpg.PostgresError):
            error = from_postgres(exception)
        elif isinstance(exception, (asyncpg.InterfaceError, OSError, TimeoutError)):
            error = unavailable()
        if error is None or error.status >= 500:
            logger.error("%s %s failed, request %s", request.method, request.path, request.id, exc_info=exception)
        return answer(error or ApiError(500, "The server made an error."))


def answer(error: ApiError) -> HTTPResponse:
    """An error as a response."""
    body = {"message": error.message, "code": CODES[error.status]}
    if error.details is not None:
        body["details"] = error.details
    return HTTPResponse(json.dumps({"error": body}), error.status, error.headers, content_type="application/json")
