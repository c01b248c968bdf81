"""Pusher's HTTP API: requests are signed by the `pusher` package, and sent on connections that are kept open."""

from collections.abc import Sequence
from time import perf_counter, time_ns
from types import TracebackType
from typing import Any, Self

import aiohttp
from pusher.http import GET, POST, Request
from pusher.pusher_client import PusherClient
from yarl import URL

from listener.metrics import ACCEPTED, FAILED, REJECTED
from listener.outbox import Event
from listener.settings import Settings
from listener.traces import TRACES

MAX_CHANNELS = 100  # that Pusher accepts in one request
MAX_RESPONSE_BYTES = 500  # kept of a response, for the error message
PERMANENT = (400, 413)  # statuses of an event that Pusher will never accept
# Statuses that are due to the account, the load or the network, not to the event.
TRANSIENT = (401, 402, 403, 404, 407, 408, 425, 429, 502, 503, 504)
RESULTS = {**dict.fromkeys(range(200, 300), ACCEPTED), **dict.fromkeys(PERMANENT, REJECTED)}  # all others are FAILED
TIMEOUT = aiohttp.ClientTimeout(total=10)


class RejectedError(Exception):
    """Pusher will never accept this request."""


class FailedError(Exception):
    """Pusher did not accept this request now; `is_suspect` if an event in it may be the reason."""

    def __init__(self, message: str, *, is_suspect: bool = False) -> None:
        super().__init__(message)
        self.is_suspect = is_suspect


class Pusher:
    """An app at Pusher, or at another server with the same protocol."""

    def __init__(self, settings: Settings) -> None:
        self._client = PusherClient(**settings.pusher)
        self._session = aiohttp.ClientSession(
            timeout=TIMEOUT,
            connector=aiohttp.TCPConnector(keepalive_timeout=60),
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    async def send(self, events: Sequence[Event]) -> bool:
        """Send one request: batchable events together, in their order, and any other event by itself.

        Return whether the events are published. An event on more than MAX_CHANNELS channels needs several requests;
        each removes its channels from the event. Raises RejectedError or FailedError.
        """
        if events[0].is_batchable:
            batch = [{"name": event.name, "channel": event.channels[0], "data": event.payload} for event in events]
            await self._request(POST, "batch_events", {"batch": batch}, events=len(batch))
            return True
        (event,) = events
        if channels := event.channels[:MAX_CHANNELS]:
            body = {"name": event.name, "channels": channels, "data": event.payload}
            await self._request(POST, "events", body, events=1)
            del event.channels[:MAX_CHANNELS]
        elif event.terminated_user:
            await self._request(POST, "users/{id}/terminate_connections", {}, events=1, id=event.terminated_user)
        return not event.channels

    async def is_accepting(self) -> bool:
        """Return whether Pusher accepts a request without events: then a rejection is due to the events rejected."""
        try:
            await self._request(GET, "channels", {}, events=0)
        except (RejectedError, FailedError):
            return False
        return True

    async def _request(self, method: str, route: str, body: dict[str, Any], *, events: int, **path: str) -> None:
        request = Request(self._client, method, f"/apps/{self._client.app_id}/{route.format(**path)}", body)
        started_at_ns, started_at, status = time_ns(), perf_counter(), None
        options = {"data": request.body, "headers": request.headers, "allow_redirects": False}
        try:
            async with self._session.request(method, URL(request.url, encoded=True), **options) as response:
                content = await response.content.read(MAX_RESPONSE_BYTES)
                text = content.decode(errors="replace").replace("\0", "\ufffd")
                status = response.status
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise FailedError(f"{type(error).__name__}: {error}") from None
        finally:
            RESULTS.get(status or 0, FAILED).observe(perf_counter() - started_at)
            TRACES.record(method, route, status, events, started_at_ns)
        if status in PERMANENT:
            raise RejectedError(f"HTTP {status}: {text}")
        if not 200 <= status < 300:
            is_suspect = status >= 400 and status not in TRANSIENT
            raise FailedError(f"HTTP {status}: {text}", is_suspect=is_suspect)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()
