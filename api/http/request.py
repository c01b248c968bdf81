"""A request, with its id, and the values that middleware, handlers and observers share."""

import math
import re
from functools import cache
from http import HTTPMethod
from os import urandom
from time import monotonic
from typing import ClassVar

from pydantic.alias_generators import to_camel
from sanic import Request
from sanic.request import RequestParameters

from api.observability.timings import Timings
from api.ratelimit.limiter import Decision

KNOWN_METHODS = {str(method) for method in HTTPMethod}
REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
FAILURE_LOG_INTERVAL_SECONDS = 1  # outside /api, where no rate limit applies, one failure in this time is logged


class ParleyRequest(Request):
    """A request to the API."""

    timings: Timings | None = None
    rate_limit_decision: Decision | None = None
    is_address_fallback = False  # the request counts against the address of a proxy
    has_valid_head = True
    _may_log: bool | None = None
    _next_failure_log_at: ClassVar[float] = -math.inf

    @property
    def id(self) -> str:
        """The id for X-Request-Id and for the logs: the caller's, if it is well-formed, or a random one."""
        if self._id is None:
            given = self.headers.get("x-request-id", "")
            self._id = given if REQUEST_ID.fullmatch(given) else urandom(16).hex()
        return str(self._id)

    @property
    def is_for_api(self) -> bool:
        """Whether the path is below /api."""
        return f"{self.path}/".startswith("/api/")

    @property
    def args(self) -> RequestParameters:
        """The query parameters, including those with an empty value."""
        return self.get_args(keep_blank_values=True)

    @property
    def is_search(self) -> bool:
        """Whether the request searches messages. Its duration can reveal whether other users use a word."""
        return bool(self.query_string) and bool(self.args.get("search"))

    @property
    def known_method(self) -> str:
        """The method, or `other` for a non-standard one, so that clients cannot create time series."""
        return self.method if self.method in KNOWN_METHODS else "other"

    @property
    def route_template(self) -> str:
        """The path of the route as the OpenAPI document has it, or `none` if there is no route."""
        return route_template(self.route.path) if self.route else "none"

    def consume_log_quota(self) -> bool:
        """Return whether the failure of this request may be logged; the first call decides.

        Without a quota, a flood of failing requests outside /api would fill the disk.
        """
        if self._may_log is None:
            now = monotonic()
            self._may_log = self.is_for_api or now >= ParleyRequest._next_failure_log_at
            if self._may_log and not self.is_for_api:
                ParleyRequest._next_failure_log_at = now + FAILURE_LOG_INTERVAL_SECONDS
        return self._may_log

    def combine_fields(self, name: str) -> str | None:
        """Return a header's combined field value (RFC 9110, section 5.2), or None if the header is absent.

        The bytes are decoded as Latin-1, so that different values never become the same text.
        """
        if name not in self.headers:
            return None
        return ", ".join(self.headers.getall(name)).encode(errors="surrogateescape").decode("latin-1")


@cache
def route_template(path: str) -> str:
    """Return a path of the route table, or Sanic's form of it, as OpenAPI writes it: `/api/chats/{chatId}`."""
    return "/" + re.sub(r"<(\w+)(?::\w+)?>", lambda found: f"{{{to_camel(found[1])}}}", path.removeprefix("/"))
