"""The pages: links at /, the API's document in Swagger UI at /docs, and the real-time events at /docs/events.

The pages load nothing from other hosts and have only relative links, so they work offline and behind a path prefix.
"""

import hashlib
import json
from functools import lru_cache
from html import escape
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

from sanic import HTTPResponse, Request, Sanic

from api.http.errors import ApiError
from api.http.preconditions import matches_etag
from api.http.request import ParleyRequest
from api.openapi.event_page import render_event_page

STATIC = Path(__file__).with_name("static")
# Only the files of Swagger UI are used; this package has the fewest others.
SWAGGER_UI = Path(str(distribution("flask-swagger-ui").locate_file("flask_swagger_ui/dist")))
HEADERS = {
    "Cache-Control": "no-cache",  # Browsers store the pages, and revalidate them by their ETag.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self';"
    " img-src data: blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
CONTENT_TYPES = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8"}
HTML = "text/html; charset=utf-8"
EXAMPLE = "<code>parley dev --web</code> also runs a web app, the example in <code>api/client/example</code>"


def add_pages(app: Sanic[Any, Any], web_url: str | None) -> None:
    """Add the routes of the pages, and of the files that they load, to the app. The first page links to `web_url`."""
    paths = [
        STATIC / "docs.js",
        STATIC / "page.css",
        SWAGGER_UI / "swagger-ui-bundle.js",
        SWAGGER_UI / "swagger-ui.css",
    ]
    files = {path.name: (path.read_bytes(), CONTENT_TYPES[path.suffix]) for path in paths}
    files[""] = (STATIC / "docs.html").read_bytes(), HTML
    index = render_index(web_url)

    async def serve_file(request: ParleyRequest, name: str = "") -> HTTPResponse:
        if name not in files:
            raise ApiError(404, "No such resource.")
        return respond(request, *files[name])

    async def serve_event_page(request: ParleyRequest) -> HTTPResponse:
        return respond(request, get_event_page(await request.app.ctx.openapi.fetch()), HTML)

    async def serve_index(request: ParleyRequest) -> HTTPResponse:
        return respond(request, index, HTML)

    async def redirect(_: Request) -> HTTPResponse:
        return HTTPResponse(None, 308, {"Location": "../docs"}, HTML)

    app.add_route(serve_document, "/openapi.json", ["GET", "HEAD"])
    routes = [
        ("/", serve_index),
        ("/docs", serve_file),
        ("/docs/<name>", serve_file),
        ("/docs/events", serve_event_page),
        ("/docs/", redirect),
    ]
    for path, handler in routes:
        app.add_route(handler, path, ["GET", "HEAD"], name=f"docs{path}", strict_slashes=True)


def render_index(web_url: str | None) -> bytes:
    """Return the page with the links. Without the URL of a web app, it names the example."""
    link = f'<a href="{escape(web_url)}" rel="noreferrer">Web app</a>: where users sign in' if web_url else EXAMPLE
    return (STATIC / "index.html").read_text(encoding="utf-8").replace("{web_app}", link).encode()


async def serve_document(request: ParleyRequest) -> HTTPResponse:
    """Serve the OpenAPI document."""
    return respond(request, await request.app.ctx.openapi.fetch(), "application/json")


def respond(request: ParleyRequest, content: bytes, content_type: str) -> HTTPResponse:
    """Return a response with the content, or 304 if the client has it already."""
    headers = {**HEADERS, "ETag": compute_etag(content)}
    if matches_etag(request, headers["ETag"]):
        return HTTPResponse(None, 304, headers)
    return HTTPResponse(content, 200, headers, content_type)


@lru_cache(maxsize=1)
def get_event_page(document: bytes) -> bytes:
    """Return the page on events for this document; the last one is cached."""
    return render_event_page(json.loads(document)["components"]["schemas"]).encode()


@lru_cache(maxsize=16)  # more than there are pages and files
def compute_etag(content: bytes) -> str:
    """Return the entity tag of the content: its SHA-256."""
    return f'"{hashlib.sha256(content).hexdigest()}"'
