"""The header Link: the pages next to the answered one."""

import json
from urllib.parse import quote, urlencode

from sanic import Request

from api.routes import Route

PLACE = {"page", "before", "after"}
MAX_HEADER = 6000  # characters; what clients and proxies take is not much more


def link_header(route: Route, request: Request, links: str) -> dict[str, str]:
    """The header: for each relation the request's URL with another place in it; where that would be too long, none.

    `links` is JSON, as the database says it: {"next": {"before": ID}, "prev": {"after": ID}, "first": {}}. The URL is
    the one by which clients reach this service.
    """
    url = request.app.ctx.public_url + quote(request.path, safe="/%")
    query = request.args
    kept = [(name, query.get(name)) for name in route.query if name in query and name not in PLACE]
    kept_query = [urlencode(kept, quote_via=quote)] if kept else []
    targets = []
    for relation, place in json.loads(links).items():
        asked = "&".join(kept_query + [f"{name}={value}" for name, value in place.items()])  # an id or a number
        targets.append(f'<{url}{asked and "?"}{asked}>; rel="{relation}"')
    value = ", ".join(targets)
    return {"Link": value} if len(value) <= MAX_HEADER else {}
