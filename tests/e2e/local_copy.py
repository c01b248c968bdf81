"""An example: a client that keeps a copy of a chat, whatever the network does, and that says each thing once.

    async with httpx.AsyncClient(base_url=API, headers={"Authorization": f"Bearer {TOKEN}"}, timeout=10) as http:
        copy = LocalCopy(http, "wss://ws-mt1.pusher.com/app/KEY?protocol=7&client=copy&version=1", chat_id)
        await copy.follow()  # until the chat is gone; meanwhile copy.messages has what is in it

It reads the chat, page by page. Each answer says in X-Chat-Seq of which of the chat's events it knows; from the least
of these on, it asks for events and applies them in their order. Some tell what a page had already, which does no harm.

A live event is only a sign to ask. So is a new connection to Pusher, which keeps nothing for who is away; and it asks
now and then without a sign, since a connection may have died in silence. Who was away for longer than events are kept
is told so, and reads the chat anew.

What it sends has an Idempotency-Key and is sent again until there is an answer, so it is said once, not less and not
more. What it edits must still be what the edit was made from, so nothing is overwritten that it has not seen.
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
NOT_FOUND, EXPIRED, CHANGED = 404, 410, 412


class GoneError(Exception):
    """The chat or the message is gone, or the user is no member any more."""


class LocalCopy:
    """A copy of a chat. Without a `seq` there is none: not yet, or not any more."""

    least_pause, longest_pause = 1.5, 60.0  # seconds from one request for events to the next
    messages_limit, events_limit = 100, 1000  # of one answer
    first_retry, longest_retry = 0.5, 30.0  # seconds after which a request is sent again
    silence = 30.0  # seconds after which a connection to Pusher has to show that it lives, and until it counts as dead

    title: str
    messages: dict[str, Message]
    members: set[str]
    seq: int | None  # of the last event that was applied
    incomplete: set[str]  # messages of which the content is still to be read

    def __init__(self, http: httpx.AsyncClient, socket_url: str, chat: str) -> None:
        self._http, self._socket_url, self._chat = http, socket_url, chat
        self._sign = asyncio.Event()
        self._drop()

    def _drop(self) -> None:
        self.title, self.messages, self.members, self.seq, self.incomplete = "", {}, set(), None, set()

    # What others say

    async def follow(self) -> None:
        """Keeps the copy like the chat until that is gone, and drops it then."""
        async with asyncio.TaskGroup() as tasks:
            listening = tasks.create_task(self._listen())
            with suppress(GoneError):
                while True:
                    self._sign.clear()
                    await self.catch_up()
                    await asyncio.sleep(self.least_pause)
                    with suppress(TimeoutError):
                        async with asyncio.timeout(self.longest_pause):
                            await self._sign.wait()
            listening.cancel()
        self._drop()

    async def catch_up(self) -> None:
        """Applies what happened since the last time; where that is not known any more, reads all."""
        if self.seq is None:
            await self.read()
        has_more = True
        while has_more:
            answer = await self.ask("GET", "/events", params={"after": self.seq, "limit": self.events_limit})
            if answer.status_code == EXPIRED:
                await self.read()
                continue
            page = checked(answer).json()
            for event in page["events"]:
                self.apply(event)
            has_more = page["hasMore"]
        for message in list(self.incomplete):
            await self._fetch(message)

    async def read(self) -> None:
        """Reads all of the chat."""
        chat, members, *pages = [
            checked(await self.ask("GET", path)) for path in ("", "/members", f"/messages?limit={self.messages_limit}")
        ]
        while "next" in pages[-1].links:
            older = {"limit": self.messages_limit, "before": pages[-1].json()["messages"][-1]["id"]}
            pages.append(checked(await self.ask("GET", "/messages", params=older)))
        self.title = chat.json()["title"]
        self.members = {member["userId"] for member in members.json()["members"]}
        self.messages = {message["id"]: message for page in pages for message in page.json()["messages"]}
        self.seq = min(int(answer.headers["X-Chat-Seq"]) for answer in (chat, members, *pages))

    def apply(self, event: Event) -> None:
        """Applies the next event; what it tells of may be there already."""
        if self.seq is None or event["seq"] != self.seq + 1:
            raise ValueError(f"event {event['seq']} came after {self.seq}")
        data = event["data"]
        match event["event"]:
            case "message:sent":
                sent = {name: value for name, value in data.items() if name != "truncated"}
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
        self._note_content(event)
        self.seq = event["seq"]

    def _note_content(self, event: Event) -> None:
        match event:
            case {"data": {"id": message, "truncated": _}}:
                self.incomplete.add(message)
            case {"data": {"id": message, "updates": {"content": _}}}:
                self.incomplete.discard(message)

    async def _fetch(self, message: str) -> None:
        """Reads a message whose content an event left out, unless the message was deleted later.

        Events are the primary's, so a replica may not know of it yet.
        """
        if message in self.messages:
            answer = await self.ask("GET", f"/messages/{message}", headers={"Cache-Control": "no-cache"})
            if answer.status_code == NOT_FOUND:
                del self.messages[message]
            else:
                self.messages[message] = answer.raise_for_status().json()
        self.incomplete.discard(message)

    def hear(self, event: str, data: Any) -> None:  # noqa: ARG002
        """Takes a live event, which may come late, again or not at all, for a sign that there is something to ask."""
        self._sign.set()

    async def _listen(self) -> None:
        """Connects to Pusher, and again whenever that ends."""
        while True:
            with suppress(WebSocketException, OSError, EOFError):
                async with connect(
                    self._socket_url,
                    open_timeout=self.silence,
                    close_timeout=self.first_retry,
                    ping_interval=self.silence,
                    ping_timeout=self.silence,
                ) as socket:
                    await self._hear_all(socket)
            await asyncio.sleep(self.first_retry * random.uniform(1, 10))  # noqa: S311 (no secret)

    async def _hear_all(self, socket: ClientConnection) -> None:
        async for text in socket:
            message = json.loads(text)
            match message["event"]:
                case "pusher:connection_established":
                    await self._subscribe(socket, json.loads(message["data"])["socket_id"])
                case "pusher_internal:subscription_succeeded":
                    self._sign.set()
                case "pusher:ping":
                    await socket.send(json.dumps({"event": "pusher:pong", "data": {}}))
                case event if not event.startswith("pusher"):
                    self.hear(event, json.loads(message["data"]))

    async def _subscribe(self, socket: ClientConnection, socket_id: str) -> None:
        """Signs in, so that Pusher ends this when the user is removed, and subscribes; refused, it is a sign to ask."""
        channel = f"private-chat-{self._chat}"
        form = {"socket_id": socket_id, "channel_name": channel}
        user = await self._insist("POST", "/api/pusher/user-auth", data={"socket_id": socket_id})
        signed = await self._insist("POST", "/api/pusher/auth", data=form)
        if user.is_success and signed.is_success:
            await socket.send(json.dumps({"event": "pusher:signin", "data": user.json()}))
            await socket.send(json.dumps({"event": "pusher:subscribe", "data": {**signed.json(), "channel": channel}}))
        else:
            self._sign.set()

    # What this user says

    async def send(self, content: str) -> Message:
        """Sends a message, once."""
        sent: Message = checked(await self.ask("POST", "/messages", json={"content": content})).json()
        return sent

    async def edit(self, message: str, change: Callable[[str], str]) -> None:
        """Edits a message by what it says. Asked again, `change` must leave alone what it has changed: so it is known
        that an edit was done which got no answer."""
        while True:
            found = checked(await self.ask("GET", f"/messages/{message}"))
            content = change(found.json()["content"])
            if content == found.json()["content"]:
                return
            match = {"If-Match": found.headers["ETag"]}
            answer = await self.ask("PUT", f"/messages/{message}", json={"content": content}, headers=match)
            if answer.status_code != CHANGED:
                checked(answer)
                return

    async def delete(self, message: str) -> None:
        """Deletes a message, unless it is gone."""
        with suppress(GoneError):
            checked(await self.ask("DELETE", f"/messages/{message}"))

    async def ask(self, method: str, path: str, **options: Any) -> httpx.Response:
        """The answer, in the end, to a request about the chat. However often it is sent, it is done once."""
        if method == "POST":
            options["headers"] = {"Idempotency-Key": str(uuid4())}
        return await self._insist(method, f"/api/chats/{self._chat}{path}", **options)

    async def _insist(self, method: str, url: str, **options: Any) -> httpx.Response:
        """Asks until there is an answer, other than to ask later."""
        for attempt in itertools.count():
            pause = min(self.first_retry * 2 ** min(attempt, 10), self.longest_retry)
            with suppress(httpx.TransportError):
                answer = await self._http.request(method, url, **options)
                if "Retry-After" not in answer.headers and answer.status_code < 502:
                    return answer
                pause = max(pause, float(answer.headers.get("Retry-After", 0)))
            await asyncio.sleep(pause * random.uniform(1, 1.5))  # noqa: S311 (no secret)
        raise AssertionError


def checked(answer: httpx.Response) -> httpx.Response:
    """An answer that is no error. Raises GoneError, or httpx.HTTPStatusError."""
    if answer.status_code == NOT_FOUND:
        raise GoneError
    return answer.raise_for_status()
