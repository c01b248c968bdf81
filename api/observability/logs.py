"""The API's log: which request a line is of, and a line for each request that failed or was slow.

What users write, their tokens and the URLs that they ask for are not in it.
"""

import logging
from typing import Any

import structlog
from sanic import HTTPResponse

from api.http.protocol import ParleyRequest
from api.observability.timings import Timings, current
from api.shared import logs as shared
from api.shared.logs import Format

logger = logging.getLogger("parley.requests")


def set_up(log_format: Format) -> None:
    """Has all that is logged from now on written in this format."""
    shared.set_up(log_format, structlog.stdlib.ExtraAdder(), add_request)
    logging.getLogger("sanic").setLevel(logging.WARNING)


def add_request(_: Any, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Adds the id of the request that is under way, if there is one."""
    if (timings := current.get()) and not timings.is_over:
        event["request"] = timings.request_id
    return event


class RequestLog:
    """Logs requests that took at least so many seconds, or failed; of failures without a rate limit, one a second."""

    def __init__(self, seconds: float) -> None:
        self._least = seconds * 1e9

    def see(self, request: ParleyRequest, response: HTTPResponse, timings: Timings, ended: int) -> None:
        """Logs a request, if it is one of these."""
        has_failed, is_slow = response.status >= 500, ended - timings.begun >= self._least
        if not (request.may_log_failure if has_failed else is_slow):
            return
        spans: dict[str, float] = {}
        for name, begun, until in timings.spans:
            spans[name] = round(spans.get(name, 0) + (until - begun) / 1e6, 1)
        told = {
            "method": request.known_method,
            "route": request.template,
            "status": response.status,
            "ms": round((ended - timings.begun) / 1e6, 1),
            "spans": spans,
        }
        logger.info("Answered", extra=told)
