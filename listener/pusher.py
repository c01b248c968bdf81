"""Pusher's HTTP API: requests signed by the `pusher` package, sent through one session that keeps its connections."""

from collections.abc import Sequence
from time import perf_counter
from types import TracebackType
from typing import Any, Self

import aiohttp
from pusher.http import GET, POST, Request
from pusher.pusher_client import PusherClient
from yarl import URL

from listener.metrics import FAILED, REFUSED, TAKEN
from listener.outbox import Event
from listener.settings import Settings

CHANNELS = 100  # that Pusher takes in one request
ANSWER_BYTES = 500  # of an answer, which are kept
HOPELESS = (400, 413)  # what Pusher answers for an event that it will never take
# Of its account, its load or the way there, not of the event.
PASSING = (401, 402, 403, 404, 407, 408, 425, 429, 502, 503, 504)
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
        if events[0].goes_with_others:
            batch = [{"name": event.name, "channel": event.channels[0], "data": event.payload} for event in events]
            await self._request(POST, "batch_events", {"batch": batch})
            return True
        (event,) = events
        if channels := event.channels[:CHANNELS]:
            await self._request(POST, "events", {"name": event.name, "channels": channels, "data": event.payload})
            del event.channels[:CHANNELS]
        elif event.users:
            await self._request(POST, f"users/{event.users[0]}/terminate_connections", {})
            del event.users[0]
        return not (event.channels or event.users)

    async def is_well(self) -> bool:
        """Whether it answers a question as it should: then a refusal is of the event, not of how we are set up."""
        try:
            await self._request(GET, "channels", {})
        except (RefusedError, FailedError):
            return False
        return True

    async def _request(self, method: str, path: str, body: dict[str, Any]) -> None:
        request, begun = Request(self._client, method, f"/apps/{self._client.app_id}/{path}", body), perf_counter()
        options = {"data": request.body, "headers": request.headers, "allow_redirects": False}
        try:
            async with self._session.request(method, URL(request.url, encoded=True), **options) as response:
                answer = (await response.content.read(ANSWER_BYTES)).decode(errors="replace").replace("\0", "\ufffd")
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            FAILED.observe(perf_counter() - begun)
            raise FailedError(f"{type(error).__name__}: {error}") from None
        is_taken, is_hopeless = 200 <= response.status < 300, response.status in HOPELESS
        (TAKEN if is_taken else REFUSED if is_hopeless else FAILED).observe(perf_counter() - begun)
        if is_hopeless:
            raise RefusedError(f"HTTP {response.status}: {answer}")
        if not is_taken:
            is_suspect = response.status >= 400 and response.status not in PASSING
            raise FailedError(f"HTTP {response.status}: {answer}", is_suspect=is_suspect)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()
