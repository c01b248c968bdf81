"""The handler that serves images from storage. It needs no token: a name cannot be guessed."""

from typing import Any

from sanic import HTTPResponse, Sanic

from api.http.errors import ApiError
from api.http.preconditions import matches_etag
from api.http.request import ParleyRequest
from api.images.names import get_content_type

# An image never changes, every site may embed it, and no browser may run it as a page with scripts.
IMAGE_HEADERS = {
    "Cache-Control": "public, max-age=31536000, immutable",
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "Cross-Origin-Resource-Policy": "cross-origin",
    "X-Content-Type-Options": "nosniff",
}


def add_images(app: Sanic[Any, Any]) -> None:
    """Add the route to the app."""
    app.add_route(serve_image, "/images/<name>", ["GET", "HEAD"])


async def serve_image(request: ParleyRequest, name: str) -> HTTPResponse | None:
    """Stream an image; its name is its entity tag."""
    headers = {**IMAGE_HEADERS, "ETag": f'"{name}"'}
    is_not_modified = matches_etag(request, headers["ETag"])
    found = await request.app.ctx.images.fetch(name, size_only=is_not_modified or request.method == "HEAD")
    if found is None:
        raise ApiError(404, "No such resource.")
    size, content = found
    if is_not_modified:
        return HTTPResponse(None, 304, headers)
    headers["Content-Length"] = str(size)
    content_type = get_content_type(name)
    if request.method == "HEAD":
        return HTTPResponse(None, 200, headers, content_type)
    response = await request.respond(headers=headers, content_type=content_type)
    async for chunk in content:
        await response.send(chunk)
    return None
