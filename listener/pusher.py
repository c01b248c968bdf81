"""Pusher's HTTP API: requests signed by the `pusher` package, sent through one session that keeps its connections."""

from collections.abc import Sequence
from time import perf_counter, time_ns
from types import TracebackType
from typing import Any, Self

import aiohttp
from pusher.http import GET, POST, Request
from pusher.pusher_client import PusherClient
from yarl import URL

from listener.metrics import FAILED, REFUSED, TAKEN
from listener.outbox import Event
from listener.settings import Settings
from listener.traces import TRACES

CHANNELS = 100  # that Pusher takes in one request
ANSWER_BYTES = 500  # of an answer, which are kept
HOPELESS = (400, 413)  # what Pusher answers for an event that it will never take
# Of its account, its load or the way there, not of the event.
PASSING = (401, 402, 403, 404, 407, 408, 425, 429, 502, 503, 504)
RESULTS = {**dict.fromkeys(range(200, 300), TAKEN), **dict.fromkeys(HOPELESS, REFUSED)}  # and all others FAILED
TIMEOUT = aiohttp.ClientTimeout(total=10)


class RefusedError(Exception):
    """Pusher will never take this request."""


class FailedError(Exception):
    """Pusher did not take this request now; `is_suspect` if the reason may be in the request itself."""

    def __init__(self, message: str, *, is_suspect: bool = False) -> None:
        super().__init__(message)
        self.is_suspect = is_suspect


class Pusher:
    """An app at Pusher, or at another server that speaks its protocol."""

    def __init__(self, settings: Settings) -> None:
        self._client = PusherClient(**settings.pusher)
        self._session = aiohttp.ClientSession(
            timeout=TIMEOUT,
            connector=aiohttp.TCPConnector(keepalive_timeout=60),
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    async def send(self, events: Sequence[Event]) -> bool:
        """One request of what events ask for: those on one channel each together, in their order, any other by itself.

        Answers whether that was all; of an event that needs several requests, what is done is taken off it. Raises
        RefusedError or FailedError.
        """
        if events[0].is_batchable:
            batch = [{"name": event.name, "channel": event.channels[0], "data": event.payload} for event in events]
            await self._request(POST, "batch_events", {"batch": batch}, events=len(batch))
            return True
        (event,) = events
        if channels := event.channels[:CHANNELS]:
            body = {"name": event.name, "channels": channels, "data": event.payload}
            await self._request(POST, "events", body, events=1)
            del event.channels[:CHANNELS]
        elif event.users:
            await self._request(POST, "users/{id}/terminate_connections", {}, events=1, id=event.users[0])
            del event.users[0]
        return not (event.channels or event.users)

    async def is_well(self) -> bool:
        """Whether it answers a question as it should: then a refusal is of the event, not of how we are set up."""
        try:
            await self._request(GET, "channels", {}, events=0)
        except (RefusedError, FailedError):
            return False
        return True

    async def _request(self, method: str, route: str, body: dict[str, Any], *, events: int, **path: str) -> None:
        request = Request(self._client, method, f"/apps/{self._client.app_id}/{route.format(**path)}", body)
        begun, clock, status = time_ns(), perf_counter(), None
        options = {"data": request.body, "headers": request.headers, "allow_redirects": False}
        try:
            async with self._session.request(method, URL(request.url, encoded=True), **options) as response:
                answer = (await response.content.read(ANSWER_BYTES)).decode(errors="replace").replace("\0", "\ufffd")
                status = response.status
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise FailedError(f"{type(error).__name__}: {error}") from None
        finally:
            RESULTS.get(status or 0, FAILED).observe(perf_counter() - clock)
            TRACES.note(method, route, status, events, begun)
        if status in HOPELESS:
            raise RefusedError(f"HTTP {status}: {answer}")
        if not 200 <= status < 300:
            is_suspect = status >= 400 and status not in PASSING
            raise FailedError(f"HTTP {status}: {answer}", is_suspect=is_suspect)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()
