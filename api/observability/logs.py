"""The API's log: the request ID in each line, and a line for each request that failed or was slow.

The log contains no text that users wrote, no tokens and no URLs.
"""

import logging
from typing import Any

import structlog
from sanic import HTTPResponse

from api.http.request import ParleyRequest
from api.observability.timings import Timings, current_timings
from api.shared import logs as shared
from api.shared.logs import LogFormat

logger = logging.getLogger("parley.requests")


def configure_logging(log_format: LogFormat) -> None:
    """Write all log records in this format from now on."""
    shared.configure_logging(log_format, structlog.stdlib.ExtraAdder(), add_request_id)
    logging.getLogger("sanic").setLevel(logging.WARNING)


def add_request_id(_: Any, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Add the ID of the current request to a log record, if there is one."""
    if (timings := current_timings.get()) and not timings.is_finished:
        event["request_id"] = timings.request_id
    return event


class RequestLog:
    """Logs requests that failed or took at least `seconds`; outside the rate limit, at most one failure a second."""

    def __init__(self, seconds: float) -> None:
        self._min_duration = seconds * 1e9  # nanoseconds

    def observe(self, request: ParleyRequest, response: HTTPResponse, timings: Timings, end: int) -> None:
        """Log a request if it failed or was slow."""
        has_failed, is_slow = response.status >= 500, end - timings.start >= self._min_duration
        if not (request.consume_log_quota() if has_failed else is_slow):
            return
        durations: dict[str, float] = {}
        for name, span_start, span_end in timings.spans:
            durations[name] = round(durations.get(name, 0) + (span_end - span_start) / 1e6, 1)
        fields = {
            "method": request.known_method,
            "route": request.route_template,
            "status": response.status,
            "duration_ms": round((end - timings.start) / 1e6, 1),
            "spans_ms": durations,
        }
        logger.info("Request completed", extra=fields)
