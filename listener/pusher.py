"""The client of Pusher's HTTP API. The `pusher` package signs requests; they are sent on persistent connections."""

from collections.abc import Sequence
from time import perf_counter, time_ns
from types import TracebackType
from typing import Any, Self

import aiohttp
from pusher.http import GET, POST, Request
from pusher.pusher_client import PusherClient as SigningClient
from yarl import URL

from listener.database import Event
from listener.metrics import ACCEPTED, FAILED, REJECTED
from listener.settings import Settings
from listener.traces import TRACES

# Pusher's limits of a request.
MAX_BATCH_EVENTS = 10
MAX_CHANNELS = 100
MAX_ERROR_BYTES = 500  # of a response, which become the error message
# dead_letters.py handles these errors.
PERMANENT_STATUSES = (400, 413)  # An event is invalid or too large: Pusher will never accept it.
OVERLOAD_STATUSES = (408, 425, 429, 502, 503, 504)
# The reason is the account, the load or the network, and not an event.
TRANSIENT_STATUSES = (401, 402, 403, 404, 407, *OVERLOAD_STATUSES)
# The server has no such route, or the app does not exist.
MISSING_ROUTE_STATUSES = (404, 405, 410, 501)
RESULTS = {**dict.fromkeys(range(200, 300), ACCEPTED), **dict.fromkeys(PERMANENT_STATUSES, REJECTED)}  # else FAILED
TIMEOUT = aiohttp.ClientTimeout(total=10)


class PusherError(Exception):
    """A request was not accepted. `status` is the response's, or None without a response."""

    def __init__(self, message: str, status: int | None) -> None:
        super().__init__(message)
        self.status = status


class RejectedError(PusherError):
    """A permanent error: Pusher will never accept this request."""


class FailedError(PusherError):
    """Any other error: Pusher may accept the request later."""

    @property
    def is_transient(self) -> bool:
        """Whether the events of the request cannot be the reason."""
        return self.status is None or self.status < 400 or self.status in TRANSIENT_STATUSES


class PusherClient:
    """A client of an app at Pusher, or at another server with the same protocol."""

    def __init__(self, settings: Settings) -> None:
        self._signing_client = SigningClient(**settings.pusher_options)
        self._session = aiohttp.ClientSession(
            timeout=TIMEOUT,
            connector=aiohttp.TCPConnector(keepalive_timeout=60),
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    async def send(self, events: Sequence[Event]) -> bool:
        """Send one request with these events: up to MAX_BATCH_EVENTS entries of a batch, in order, or any single event.

        Return whether the events are published. An event of more entries may need several requests: each removes from
        the event what it has published. Raises RejectedError or FailedError.
        """
        if events[0].batch_size <= MAX_BATCH_EVENTS:
            batch = [
                {"name": publication.name, "channel": channel, "data": publication.payload}
                for event in events
                for publication in event.publications
                for channel in publication.channels
            ]
            if batch:
                await self._request(POST, "batch_events", {"batch": batch}, events=len(batch))
            return True
        (event,) = events
        publication = event.publications[0]
        body = {"name": publication.name, "channels": publication.channels[:MAX_CHANNELS], "data": publication.payload}
        await self._request(POST, "events", body, events=1)
        del publication.channels[:MAX_CHANNELS]
        if not publication.channels:
            del event.publications[0]
        return not event.publications

    async def terminate_connections(self, user: str) -> None:
        """Terminate the connections of a user, by the id at Pusher. Raises RejectedError or FailedError."""
        await self._request(POST, "users/{id}/terminate_connections", {}, events=1, id=user)

    async def probe(self) -> bool:
        """Send a request without events; return whether Pusher accepts it.

        Send an empty batch to a server that does not list channels.
        """
        try:
            try:
                await self._request(GET, "channels", {}, events=0)
            except FailedError as error:
                if error.status not in MISSING_ROUTE_STATUSES:
                    raise
                await self._request(POST, "batch_events", {"batch": []}, events=0)
        except (RejectedError, FailedError):
            return False
        return True

    async def _request(self, method: str, route: str, body: dict[str, Any], *, events: int, **path: str) -> None:
        client = self._signing_client
        request = Request(client, method, f"/apps/{client.app_id}/{route.format(**path)}", body)
        started_at_ns, started_at, status = time_ns(), perf_counter(), None
        options = {"data": request.body, "headers": request.headers, "allow_redirects": False}
        try:
            async with self._session.request(method, URL(request.url, encoded=True), **options) as response:
                content = await response.content.read(MAX_ERROR_BYTES)
                text = content.decode(errors="replace").replace("\0", "\ufffd")
                status = response.status
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise FailedError(f"{type(error).__name__}: {error}", None) from None
        finally:
            RESULTS.get(status or 0, FAILED).observe(perf_counter() - started_at)
            TRACES.record(method, route, status, events, started_at_ns)
        if status in PERMANENT_STATUSES:
            raise RejectedError(f"HTTP {status}: {text}", status)
        if not 200 <= status < 300:
            raise FailedError(f"HTTP {status}: {text}", status)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()
