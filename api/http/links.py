"""The Link header: URLs of the neighbouring pages (RFC 8288)."""

import json
from urllib.parse import quote, urlencode

from sanic import Request

PAGE_PARAMETERS = {"page", "before", "after", "around"}
MAX_LINK_CHARACTERS = 6000  # many clients and proxies limit a header to 8 KiB


def build_link_header(request: Request, query_parameters: tuple[str, ...], links: str) -> dict[str, str]:
    """Return the Link header: for each relation, the request's URL with other page parameters.

    `query_parameters` are the names that the route accepts. `links` is JSON that the database returned, such as
    {"next": {"before": ID}, "prev": {"after": ID}, "first": {}}. The URLs begin with PUBLIC_URL. A header that would be
    too long is omitted.
    """
    url = request.app.ctx.public_url + quote(request.path, safe="/%")
    query = request.args
    kept = [(name, query.get(name)) for name in query_parameters if query.get(name) and name not in PAGE_PARAMETERS]
    kept_query = [urlencode(kept, quote_via=quote)] if kept else []
    targets = []
    for relation, position in json.loads(links).items():
        target = "&".join(kept_query + ([urlencode(position, quote_via=quote)] if position else []))
        targets.append(f'<{url}{target and "?"}{target}>; rel="{relation}"')
    value = ", ".join(targets)
    return {"Link": value} if len(value) <= MAX_LINK_CHARACTERS else {}
