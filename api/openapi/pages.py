"""The pages for people: /docs shows the API's document in Swagger UI, /docs/events tells of the real-time events.

Nothing comes from another host, and all links are relative, so that the pages work offline and behind a path prefix.
"""

import hashlib
import json
from functools import lru_cache
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

from sanic import HTTPResponse, Request, Sanic

from api.http.errors import ApiError
from api.http.preconditions import matches_etag
from api.http.protocol import ParleyRequest
from api.openapi.event_page import events_page

OURS = Path(__file__).with_name("static")
# Only the files of Swagger UI are used: this package has the fewest beside them.
SWAGGER_UI = Path(str(distribution("flask-swagger-ui").locate_file("flask_swagger_ui/dist")))
HEADERS = {
    "Cache-Control": "no-cache",  # which means: ask again, with the ETag
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self';"
    " img-src data: blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
CONTENT_TYPES = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8"}
HTML = "text/html; charset=utf-8"


def add_docs(app: Sanic[Any, Any]) -> None:
    """Adds the pages, and the files that they load, to the app."""
    files = [OURS / "docs.js", OURS / "page.css", SWAGGER_UI / "swagger-ui-bundle.js", SWAGGER_UI / "swagger-ui.css"]
    contents = {file.name: (file.read_bytes(), CONTENT_TYPES[file.suffix]) for file in files}
    contents[""] = (OURS / "docs.html").read_bytes(), HTML

    async def serve(request: ParleyRequest, name: str = "") -> HTTPResponse:
        if name not in contents:
            raise ApiError(404, "No such resource.")
        return answer(request, *contents[name])

    async def serve_events(request: ParleyRequest) -> HTTPResponse:
        return answer(request, events_of(await request.app.ctx.openapi.text()), HTML)

    async def redirect(_: Request) -> HTTPResponse:
        return HTTPResponse(None, 308, {"Location": "../docs"}, HTML)

    routes = [("/docs", serve), ("/docs/<name>", serve), ("/docs/events", serve_events), ("/docs/", redirect)]
    for path, handler in routes:
        app.add_route(handler, path, ["GET", "HEAD"], name=f"docs{path}", strict_slashes=True)


def answer(request: ParleyRequest, content: bytes, content_type: str) -> HTTPResponse:
    """The content, unless the caller has it."""
    headers = {**HEADERS, "ETag": etag_of(content)}
    if matches_etag(request, headers["ETag"]):
        return HTTPResponse(None, 304, headers)
    return HTTPResponse(content, 200, headers, content_type)


@lru_cache(maxsize=1)
def events_of(document: bytes) -> bytes:
    """The page of events, by what the document has."""
    return events_page(json.loads(document)["components"]["schemas"]).encode()


@lru_cache(maxsize=16)
def etag_of(content: bytes) -> str:
    """The content's name."""
    return f'"{hashlib.sha256(content).hexdigest()}"'
