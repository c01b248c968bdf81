"""Pages of other origins: what browsers let them ask and read (CORS), and which may change things by session cookie."""

import re

from sanic import HTTPResponse, Request

METHODS = "GET, HEAD, POST, PUT, DELETE"
READABLE = (
    "ETag, Idempotency-Replayed, Link, RateLimit, RateLimit-Policy, Retry-After, Server-Timing, X-Chat-Seq, "
    "X-RateLimit-Limit, X-RateLimit-Remaining, X-RateLimit-Reset, X-Request-Id"
)
MAX_AGE = "7200"  # seconds; the longest that Chromium keeps a preflight's answer
HEADER_NAMES = re.compile(r"[A-Za-z0-9_, -]{1,4096}")
ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://([a-z0-9._-]+|\[[0-9a-f:.]+\])(:[0-9]{1,5})?")
DEFAULT_PORT = re.compile(r"(?<=^http)(://.*):80$|(?<=^https)(://.*):443$")


def parse_origins(value: str) -> frozenset[str]:
    """The comma-separated origins, as browsers write them; raises ValueError."""
    origins = frozenset(part.strip().lower().removesuffix("/") for part in value.split(","))
    if not all(ORIGIN.fullmatch(origin) for origin in origins):
        raise ValueError("must be origins like https://app.example.org, comma-separated")
    return frozenset(DEFAULT_PORT.sub(r"\1\2", origin) for origin in origins)


class Origins:
    """The origins that the setting ALLOWED_ORIGINS names."""

    def __init__(self, allowed: frozenset[str]) -> None:
        self._allowed = allowed

    def allow(self, request: Request) -> bool:
        """Whether a page of an allowed origin sent the request; one without Origin comes from no page."""
        return request.headers.get("origin") in self._allowed

    def headers(self, request: Request) -> dict[str, str]:
        """The headers that let such a page read the answer."""
        if not self.allow(request):
            return {"Vary": "Origin"}
        return {
            "Vary": "Origin",
            "Access-Control-Allow-Origin": request.headers["origin"],
            "Access-Control-Allow-Credentials": "true",
            "Access-Control-Expose-Headers": READABLE,
            "Timing-Allow-Origin": request.headers["origin"],
        }

    def preflight(self, request: Request) -> HTTPResponse | None:
        """The answer to what a browser asks, without a body, before it sends a request; None for all others."""
        names = request.headers
        is_one = request.method == "OPTIONS" and "origin" in names and "access-control-request-method" in names
        if not is_one or names.get("content-length", "0") != "0" or "transfer-encoding" in names:
            return None
        headers = {}
        if self.allow(request):
            headers = {"Access-Control-Allow-Methods": METHODS, "Access-Control-Max-Age": MAX_AGE}
            wanted = request.headers.get("access-control-request-headers", "")
            if HEADER_NAMES.fullmatch(wanted):
                headers["Access-Control-Allow-Headers"] = wanted
        return HTTPResponse(status=204, headers=headers)
