"""Cross-origin requests (CORS): which pages may call the API, read its responses, and use the session cookie."""

import re

from sanic import HTTPResponse, Request

ALLOWED_METHODS = "GET, HEAD, POST, PUT, DELETE"
EXPOSED_HEADERS = (
    "ETag, Idempotency-Replayed, Link, RateLimit, RateLimit-Policy, Retry-After, Server-Timing, X-Chat-Seq, "
    "X-RateLimit-Limit, X-RateLimit-Remaining, X-RateLimit-Reset, X-Request-Id"
)
PREFLIGHT_MAX_AGE = "7200"  # seconds; the longest for which Chromium caches the response to a preflight
HEADER_NAMES = re.compile(r"[A-Za-z0-9_, -]{1,4096}")
ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://([a-z0-9._-]+|\[[0-9a-f:.]+\])(:[0-9]{1,5})?")
DEFAULT_PORT = re.compile(r"(?<=^http)(://.*):80$|(?<=^https)(://.*):443$")


def parse_origins(value: str) -> frozenset[str]:
    """Parse comma-separated origins, and normalize them to the form that browsers send. Raises ValueError."""
    origins = frozenset(part.strip().lower().removesuffix("/") for part in value.split(","))
    if not all(ORIGIN.fullmatch(origin) for origin in origins):
        raise ValueError("must be origins like https://app.example.org, comma-separated")
    return frozenset(DEFAULT_PORT.sub(r"\1\2", origin) for origin in origins)


class CorsPolicy:
    """Allows the origins that the setting ALLOWED_ORIGINS names."""

    def __init__(self, allowed_origins: frozenset[str]) -> None:
        self._allowed_origins = allowed_origins

    def is_allowed_origin(self, request: Request) -> bool:
        """Return whether a page of an allowed origin sent the request; one without Origin was not sent by a page."""
        return request.headers.get("origin") in self._allowed_origins

    def build_headers(self, request: Request) -> dict[str, str]:
        """Return the headers that let a page of an allowed origin read the response."""
        if not self.is_allowed_origin(request):
            return {"Vary": "Origin"}
        return {
            "Vary": "Origin",
            "Access-Control-Allow-Origin": request.headers["origin"],
            "Access-Control-Allow-Credentials": "true",
            "Access-Control-Expose-Headers": EXPOSED_HEADERS,
            "Timing-Allow-Origin": request.headers["origin"],
        }

    def respond_to_preflight(self, request: Request) -> HTTPResponse | None:
        """Return the response to a preflight request, or None for any other request. A preflight has no body."""
        headers = request.headers
        is_preflight = (
            request.method == "OPTIONS" and "origin" in headers and "access-control-request-method" in headers
        )
        if not is_preflight or headers.get("content-length", "0") != "0" or "transfer-encoding" in headers:
            return None
        allowed = {}
        if self.is_allowed_origin(request):
            allowed = {"Access-Control-Allow-Methods": ALLOWED_METHODS, "Access-Control-Max-Age": PREFLIGHT_MAX_AGE}
            requested = headers.get("access-control-request-headers", "")
            if HEADER_NAMES.fullmatch(requested):
                allowed["Access-Control-Allow-Headers"] = requested
        return HTTPResponse(status=204, headers=allowed)
