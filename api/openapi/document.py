"""The OpenAPI 3.1 document: built from the table of routes, the models, and the limits that the database returns."""

import json
from importlib.metadata import version

import asyncpg

from api.admission.single_flight import SingleFlight
from api.auth.cookies import get_session_cookies
from api.db.pool import Database
from api.http.errors import UNAVAILABLE_ERRORS
from api.openapi.headers import build_headers
from api.openapi.operations import build_paths
from api.openapi.responses import build_error_responses
from api.openapi.schemas import Json, build_schemas
from api.settings import Settings

MAX_AGE_SECONDS = 60  # The limits are fetched again after this time, since a migration may change them.
FETCH_TIMEOUT_SECONDS = 2

DESCRIPTION = """
A chat backend in PostgreSQL.

- **Formats.** Timestamps are UTC with milliseconds. IDs of chats and messages are UUIDv7.
- **Pagination.** The `Link` header has the URLs of the adjacent pages. They use cursors: `before` or `after` takes an
  ID and replaces `page`, and the `page` of the response is null.
- **Versions.** `ETag` identifies the version of a resource. With `If-Match`, an update or a deletion applies only to
  that version. With `If-None-Match`, a `GET` returns 304 while the resource still has that version.
- **Idempotency.** With an `Idempotency-Key`, a `POST` takes effect once: a retry returns the first response.
- **Reads.** Every `GET` operation also supports `HEAD`. If a replica serves reads, `Cache-Control: no-cache` requests a
  response from the primary.
- **CORS.** Pages of the allowed origins may call the API and read these response headers.
- **Real-time events.** Changes in chats are published on Pusher Channels: see [the events](docs/events). Their
  payloads are among the schemas here. After a disconnection, fetch the missed events since the `X-Chat-Seq` of an
  earlier response.
"""


class OpenApiDocument:
    """The document as JSON. It is rebuilt when the limits in the database change.

    While the database is unavailable, the last document is returned.
    """

    def __init__(self, settings: Settings, database: Database) -> None:
        self._settings, self._database = settings, database
        self._fields, self._json = b"", b""
        self._refresh = SingleFlight(self._rebuild, FETCH_TIMEOUT_SECONDS)

    async def fetch(self) -> bytes:
        """Return the document, as JSON. Raises the database's errors if it was never built."""
        try:
            await self._refresh.fetch(MAX_AGE_SECONDS)
        except (asyncpg.PostgresError, *UNAVAILABLE_ERRORS):
            if not self._json:
                raise
        return self._json

    async def _rebuild(self) -> None:
        fields = await self._database.fetch_value("select api.get_field_schemas()")
        if fields != self._fields:
            self._fields = fields
            self._json = json.dumps(build_document(json.loads(fields), self._settings)).encode()

    async def close(self) -> None:
        """Cancel a fetch in progress."""
        await self._refresh.close()


def build_document(fields: Json, settings: Settings) -> Json:
    """Return the document; `fields` is the result of api.get_field_schemas()."""
    components, security = build_schemas(fields), build_security_schemes(settings)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Parley", "version": version("parley"), "description": DESCRIPTION.strip()},
        "servers": [{"url": settings.public_url}],
        "security": [{name: []} for name in security],
        "paths": build_paths(fields, components),
        "components": {
            "schemas": components,
            "responses": build_error_responses(),
            "headers": build_headers(),
            "securitySchemes": security,
        },
    }


def build_security_schemes(settings: Settings) -> Json:
    """Return the security schemes: a bearer token, and each of the session cookies."""
    in_cookie = "The session token in a cookie. Scripts cannot set it, so at /docs use `token`."
    return {
        "token": {"type": "http", "scheme": "bearer", "description": "The session token that the web app has issued."},
        **{
            name: {"type": "apiKey", "in": "cookie", "name": name, "description": in_cookie}
            for name in get_session_cookies(settings.public_url)
        },
    }
