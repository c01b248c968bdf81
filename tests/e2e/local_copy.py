"""An example: a client that keeps a copy of a chat over an unreliable network, and sends each message exactly once.

    async with httpx.AsyncClient(base_url=API, headers={"Authorization": f"Bearer {TOKEN}"}, timeout=10) as http:
        copy = LocalCopy(http, "wss://ws-mt1.pusher.com/app/KEY?protocol=7&client=copy&version=1", chat_id)
        await copy.follow()  # returns when the chat is deleted; until then, copy.messages has its messages

The client reads the chat, page by page. The header X-Chat-Seq of each response is the seq of the last event that the
response includes. From the lowest of these on, the client fetches events and applies them in order. Applying an event
that a page already included is idempotent.

A live event is only a signal to fetch events. So is a new connection to Pusher, which does not buffer events for
disconnected clients. The client also polls at long intervals, because a connection may have died unnoticed. A client
that was offline for longer than events are kept gets a 410, and reads the chat again.

Each message is sent with an Idempotency-Key, and again until there is a response, so that it is stored exactly once.
Edits use If-Match, so that they do not overwrite a change that the client has not seen.
"""

import asyncio
import itertools
import json
import random
from collections.abc import Callable
from contextlib import suppress
from typing import Any
from uuid import uuid4

import httpx
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

Message = dict[str, Any]  # id, content, type, userId, createdAt, updatedAt
Event = dict[str, Any]  # chatId, seq, event, data, at
NOT_FOUND, CURSOR_EXPIRED, PRECONDITION_FAILED = 404, 410, 412


class GoneError(Exception):
    """The chat or the message was deleted, or the user is no longer a member."""


class LocalCopy:
    """A copy of a chat. `seq` is None before the first read, and after the end of the chat."""

    min_pause, max_pause = 1.5, 60.0  # seconds between two requests for events
    messages_limit, events_limit = 100, 1000  # per response
    min_backoff, max_backoff = 0.5, 30.0  # seconds before a request is repeated
    ping_interval = 30.0  # seconds between pings to Pusher, and the timeout of a pong

    title: str
    messages: dict[str, Message]
    members: set[str]
    seq: int | None  # of the last applied event
    incomplete: set[str]  # messages whose content is still to be fetched

    def __init__(self, http: httpx.AsyncClient, socket_url: str, chat: str) -> None:
        self._http, self._socket_url, self._chat = http, socket_url, chat
        self._signal = asyncio.Event()
        self._clear()

    def _clear(self) -> None:
        self.title, self.messages, self.members, self.seq, self.incomplete = "", {}, set(), None, set()

    # Reading

    async def follow(self) -> None:
        """Keep the copy up to date until the chat is deleted, and then drop it."""
        async with asyncio.TaskGroup() as tasks:
            connection = tasks.create_task(self._run_connection())
            with suppress(GoneError):
                while True:
                    self._signal.clear()
                    await self.catch_up()
                    await asyncio.sleep(self.min_pause)
                    with suppress(TimeoutError):
                        async with asyncio.timeout(self.max_pause):
                            await self._signal.wait()
            connection.cancel()
        self._clear()

    async def catch_up(self) -> None:
        """Apply the events since the last call; if they are no longer kept, read the whole chat."""
        if self.seq is None:
            await self.read()
        has_more = True
        while has_more:
            response = await self.request("GET", "/events", params={"after": self.seq, "limit": self.events_limit})
            if response.status_code == CURSOR_EXPIRED:
                await self.read()
                continue
            page = raise_for_error(response).json()
            for event in page["events"]:
                self.apply(event)
            has_more = page["hasMore"]
        for message in list(self.incomplete):
            await self._fetch(message)

    async def read(self) -> None:
        """Read the whole chat."""
        chat = raise_for_error(await self.request("GET", ""))
        member_pages = [raise_for_error(await self.request("GET", "/members?limit=1000"))]
        while "next" in member_pages[-1].links:
            later = {"limit": 1000, "after": member_pages[-1].json()["members"][-1]["userId"]}
            member_pages.append(raise_for_error(await self.request("GET", "/members", params=later)))
        pages = [raise_for_error(await self.request("GET", f"/messages?limit={self.messages_limit}"))]
        while "next" in pages[-1].links:
            older = {"limit": self.messages_limit, "before": pages[-1].json()["messages"][-1]["id"]}
            pages.append(raise_for_error(await self.request("GET", "/messages", params=older)))
        self.title = chat.json()["title"]
        self.members = {member["userId"] for page in member_pages for member in page.json()["members"]}
        self.messages = {message["id"]: message for page in pages for message in page.json()["messages"]}
        self.seq = min(int(response.headers["X-Chat-Seq"]) for response in (chat, *member_pages, *pages))

    def apply(self, event: Event) -> None:
        """Apply the next event; the copy may already include its change."""
        if self.seq is None or event["seq"] != self.seq + 1:
            raise ValueError(f"event {event['seq']} came after {self.seq}")
        data = event["data"]
        match event["event"]:
            case "message:sent":
                sent = {name: value for name, value in data.items() if name not in ("truncated", "deleted")}
                self.messages[data["id"]] = {**sent, "updatedAt": event["at"]}
            case "message:updated" if data["id"] in self.messages:  # if not, the event of its deletion follows
                self.messages[data["id"]] |= {**data["updates"], "updatedAt": event["at"]}
            case "message:deleted":
                self.messages.pop(data, None)
            case "chat:updated":
                self.title = data["updates"].get("title", self.title)
            case "chat:deleted":
                raise GoneError
            case "member:added":
                self.members.add(data)
            case "member:removed":
                self.members.discard(data)
        self._track_content(event)
        self.seq = event["seq"]

    def _track_content(self, event: Event) -> None:
        match event:
            case {"data": {"id": message, "truncated": _}}:
                self.incomplete.add(message)
            case {"data": {"id": message, "updates": {"content": _}}}:
                self.incomplete.discard(message)

    async def _fetch(self, message: str) -> None:
        """Fetch a message whose content was too large for an event, unless the message was deleted later.

        Events are read from the primary, which a replica may lag behind: hence `no-cache`.
        """
        if message in self.messages:
            response = await self.request("GET", f"/messages/{message}", headers={"Cache-Control": "no-cache"})
            if response.status_code == NOT_FOUND:
                del self.messages[message]
            else:
                self.messages[message] = response.raise_for_status().json()
        self.incomplete.discard(message)

    def on_event(self, event: str, data: Any) -> None:  # noqa: ARG002
        """Handle a live event, which may arrive late, twice or never, as a signal to fetch events."""
        self._signal.set()

    async def _run_connection(self) -> None:
        """Connect to Pusher, and again after each lost connection."""
        while True:
            with suppress(WebSocketException, OSError, EOFError):
                async with connect(
                    self._socket_url,
                    open_timeout=self.ping_interval,
                    close_timeout=self.min_backoff,
                    ping_interval=self.ping_interval,
                    ping_timeout=self.ping_interval,
                ) as socket:
                    await self._receive(socket)
            await asyncio.sleep(self.min_backoff * random.uniform(1, 10))  # noqa: S311 (no secret)

    async def _receive(self, socket: ClientConnection) -> None:
        async for text in socket:
            message = json.loads(text)
            match message["event"]:
                case "pusher:connection_established":
                    await self._subscribe(socket, json.loads(message["data"])["socket_id"])
                case "pusher_internal:subscription_succeeded":
                    self._signal.set()
                case "pusher:ping":
                    await socket.send(json.dumps({"event": "pusher:pong", "data": {}}))
                case event if not event.startswith("pusher"):
                    self.on_event(event, json.loads(message["data"]))

    async def _subscribe(self, socket: ClientConnection, socket_id: str) -> None:
        """Sign in, so that Pusher disconnects a removed member, and subscribe. After a rejection, fetch events."""
        channel = f"private-chat-{self._chat}"
        form = {"socket_id": socket_id, "channel_name": channel}
        user = await self._send_until_response("POST", "/api/pusher/user-auth", data={"socket_id": socket_id})
        authorization = await self._send_until_response("POST", "/api/pusher/auth", data=form)
        if user.is_success and authorization.is_success:
            await socket.send(json.dumps({"event": "pusher:signin", "data": user.json()}))
            await socket.send(
                json.dumps({"event": "pusher:subscribe", "data": {**authorization.json(), "channel": channel}})
            )
        else:
            self._signal.set()

    # Writing

    async def send(self, content: str) -> Message:
        """Send a message, exactly once."""
        sent: Message = raise_for_error(await self.request("POST", "/messages", json={"content": content})).json()
        return sent

    async def edit(self, message: str, change: Callable[[str], str]) -> None:
        """Edit a message by a function of its content.

        `change` must be idempotent: then an edit whose response was lost is recognised as done.
        """
        while True:
            current = raise_for_error(await self.request("GET", f"/messages/{message}"))
            content = change(current.json()["content"])
            if content == current.json()["content"]:
                return
            match = {"If-Match": current.headers["ETag"]}
            response = await self.request("PUT", f"/messages/{message}", json={"content": content}, headers=match)
            if response.status_code != PRECONDITION_FAILED:
                raise_for_error(response)
                return

    async def delete(self, message: str) -> None:
        """Delete a message, unless it was deleted already."""
        with suppress(GoneError):
            raise_for_error(await self.request("DELETE", f"/messages/{message}"))

    async def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Send a request about the chat, and repeat it until there is a response; it is executed exactly once."""
        if method == "POST":
            options["headers"] = {"Idempotency-Key": str(uuid4())}
        return await self._send_until_response(method, f"/api/chats/{self._chat}{path}", **options)

    async def _send_until_response(self, method: str, url: str, **options: Any) -> httpx.Response:
        """Repeat a request until there is a response without Retry-After."""
        for attempt in itertools.count():
            backoff = min(self.min_backoff * 2 ** min(attempt, 10), self.max_backoff)
            with suppress(httpx.TransportError):
                response = await self._http.request(method, url, **options)
                if "Retry-After" not in response.headers and response.status_code < 502:
                    return response
                backoff = max(backoff, float(response.headers.get("Retry-After", 0)))
            await asyncio.sleep(backoff * random.uniform(1, 1.5))  # noqa: S311 (no secret)
        raise AssertionError


def raise_for_error(response: httpx.Response) -> httpx.Response:
    """Return a response that is not an error. Raises GoneError or httpx.HTTPStatusError."""
    if response.status_code == NOT_FOUND:
        raise GoneError
    return response.raise_for_status()
