"""The program of a local Pusher Channels: its HTTP API, and version 7 of its WebSocket protocol.

For one machine, for development and tests; nothing is kept, no clustering. Its configuration comes by standard input,
as pusher.py writes it. Limits, codes and answers are those that Pusher documents; where that leaves something open,
they are what pusher-js understands. Not here: webhooks, cache channels, watchlists, subscription counts, `info` of
events that are sent.

All of it runs in one thread, and a request does not wait between its check and its last message's place in line: so
messages reach each subscriber in the order in which requests are answered. A subscriber that does not read is dropped.
"""

import asyncio
import contextlib
import hashlib
import hmac
import json
import random
import re
import signal
import struct
import sys
import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from aiohttp import WSMsgType, web

from api.dev.pusher_process import request_signature, signature

MAX_BODY = 1024 * 1024  # ten events of the largest data, with every character escaped
MAX_MESSAGE = 64 * 1024  # from a client; the largest data again
MAX_DATA = 10_240  # bytes, of an event
MAX_NAME = 200  # characters, of an event
MAX_CHANNEL_NAME = 164
MAX_BATCH = 10
MAX_CHANNELS = 100  # of one event
MAX_SUBSCRIPTIONS = 1000  # of one connection
MAX_MEMBERS = 100  # of a presence channel
MAX_USER_ID = 128
MAX_USER_INFO = 1024  # bytes
MAX_UNSENT = 4 * 1024 * 1024  # bytes that a subscriber leaves unread, besides what the kernel holds
CLIENT_EVENTS = 10  # of one connection in a second
CLOCK_SKEW = 600  # seconds
CLOSE_SECONDS = 2  # for the other side to say goodbye

PROTOCOL = 7
USER_CHANNEL = "#server-to-user-"
CHANNEL_NAME = re.compile(rf"(?:{USER_CHANNEL})?[-a-zA-Z0-9_=@,.;]+")
SOCKET_ID = re.compile(r"[0-9]+\.[0-9]+")

Handler = Callable[[web.Request, bytes], web.Response]


class RefusedError(Exception):
    """What is wrong with a client's message, for its sender."""

    def __init__(self, message: str, code: int | None = None) -> None:
        super().__init__(message)
        self.code = code


class Event(NamedTuple):
    """A checked event of the HTTP API, for one channel."""

    name: str
    channel: str
    data: str
    excluded: str | None


class Member(NamedTuple):
    """A user in a presence channel."""

    user_id: str
    info: Any


class Connection:
    """A WebSocket, what it is subscribed to, and who is signed in on it."""

    def __init__(self, socket: web.WebSocketResponse, transport: asyncio.Transport) -> None:
        self.socket = socket
        self.task = asyncio.current_task()
        self.socket_id = f"{random.randrange(10**9)}.{random.randrange(10**9)}"  # noqa: S311 (a name, no secret)
        self.subscriptions: set[str] = set()
        self.user: dict[str, Any] = {}
        self.client_events: deque[float] = deque(maxlen=CLIENT_EVENTS)
        self.farewell: tuple[int, str] | None = None
        self.patience = asyncio.timeout(None)
        self._transport = transport
        self._unwritten: list[bytes] = []

    def send(self, event: str, data: Any, channel: str | None = None) -> None:
        """Send one event."""
        self.write(frame({"event": event, **({"channel": channel} if channel else {}), "data": data}))

    def write(self, content: bytes) -> None:
        """Write soon, with all else that is to be written then. Never waits."""
        self._unwritten.append(content)
        if len(self._unwritten) == 1:
            asyncio.get_running_loop().call_soon(self.flush)

    def flush(self) -> None:
        """Write now; a subscriber that has left too much unread is dropped."""
        if self._unwritten and not self._transport.is_closing():
            self._transport.write(b"".join(self._unwritten))
            if self._transport.get_write_buffer_size() > MAX_UNSENT:
                self.drop()
        self._unwritten.clear()

    def drop(self) -> None:
        """End it without a word; harmless if it has ended."""
        self._transport.abort()


class Channels:
    """The app: its connections, its channels, and what is asked of them."""

    def __init__(self, app_id: str, key: str, secret: str, timeouts: tuple[float, float]) -> None:
        self.app_id, self.key, self.secret, self.timeouts = app_id, key, secret, timeouts
        self.connections: set[Connection] = set()
        self.channels: dict[str, dict[Connection, Member | None]] = {}

    def application(self) -> web.Application:
        """What serves both sides."""
        application = web.Application(client_max_size=MAX_BODY)
        application.add_routes(
            [
                web.post("/apps/{app_id}/events", self._signed(self._post_event)),
                web.post("/apps/{app_id}/batch_events", self._signed(self._post_batch)),
                web.get("/apps/{app_id}/channels", self._signed(self._get_channels)),
                web.get("/apps/{app_id}/channels/{channel}", self._signed(self._get_channel)),
                web.get("/apps/{app_id}/channels/{channel}/users", self._signed(self._get_users)),
                web.post("/apps/{app_id}/users/{user_id}/terminate_connections", self._signed(self._terminate)),
                web.route("*", "/{path:.*}", self._connect),
            ]
        )
        return application

    # The HTTP API

    def _signed(self, handler: Handler) -> Callable[[web.Request], Awaitable[web.Response]]:
        """The handler, for requests that are signed with the secret only."""

        async def handle(request: web.Request) -> web.Response:
            if request.match_info["app_id"] != self.app_id:
                raise web.HTTPNotFound(text="Unknown app_id\n")
            body = await request.read()
            if wrong := self._wrong_signature(request, body):
                raise web.HTTPUnauthorized(text=f"{wrong}\n")
            return handler(request, body)

        return handle

    def _wrong_signature(self, request: web.Request, body: bytes) -> str | None:
        query = request.query
        given = query.get("auth_signature", "")
        signed = ((name, value) for name, value in query.items() if name != "auth_signature")
        digest = hashlib.md5(body, usedforsecurity=False).hexdigest()
        if not is_same(query.get("auth_key", ""), self.key):
            return "Unknown auth_key"
        if not is_same(given, request_signature(self.secret, request.method, request.path, signed)):
            return "Invalid signature"
        if query.get("auth_version") != "1.0":
            return "Invalid auth_version"
        if query.get("body_md5", "" if body else digest) != digest:
            return "Invalid body_md5"
        stamp = query.get("auth_timestamp", "")
        if not re.fullmatch(r"[0-9]{1,12}", stamp) or abs(time.time() - int(stamp)) > CLOCK_SKEW:
            return f"Timestamp expired: not within {CLOCK_SKEW}s of server time"
        return None

    def _post_event(self, _: web.Request, body: bytes) -> web.Response:
        fields = parsed(body)
        channels = fields.get("channels", [fields.get("channel")])
        if not isinstance(channels, list) or not 1 <= len(channels) <= MAX_CHANNELS:
            raise web.HTTPBadRequest(text=f"Expected channels to be a list of 1 to {MAX_CHANNELS} names\n")
        return self._publish([checked(fields, channel) for channel in channels])

    def _post_batch(self, _: web.Request, body: bytes) -> web.Response:
        batch = parsed(body).get("batch")
        if not isinstance(batch, list) or len(batch) > MAX_BATCH or not all(isinstance(f, dict) for f in batch):
            raise web.HTTPBadRequest(text=f"Expected batch to be a list of at most {MAX_BATCH} events\n")
        return self._publish([checked(fields, fields.get("channel")) for fields in batch])

    def _publish(self, events: list[Event]) -> web.Response:
        for name, channel, data, excluded in events:
            if subscribers := self.channels.get(channel):
                content = frame({"event": name, "channel": channel, "data": data})
                for connection in subscribers:
                    if connection.socket_id != excluded:
                        connection.write(content)
        return web.json_response({})

    def _get_channels(self, request: web.Request, _: bytes) -> web.Response:
        prefix = request.query.get("filter_by_prefix", "")
        counted = wants_user_count(request, prefix)
        return web.json_response(
            {"channels": {name: self._attributes(name, counted) for name in self.channels if name.startswith(prefix)}}
        )

    def _get_channel(self, request: web.Request, _: bytes) -> web.Response:
        name = request.match_info["channel"]
        counted = wants_user_count(request, name)
        return web.json_response({"occupied": name in self.channels, **self._attributes(name, counted)})

    def _attributes(self, name: str, counted: bool) -> dict[str, int]:
        return {"user_count": len(self._members(name))} if counted else {}

    def _get_users(self, request: web.Request, _: bytes) -> web.Response:
        name = request.match_info["channel"]
        if not name.startswith("presence-"):
            raise web.HTTPBadRequest(text="Users can only be retrieved for presence channels\n")
        return web.json_response({"users": [{"id": user_id} for user_id in self._members(name)]})

    def _terminate(self, request: web.Request, _: bytes) -> web.Response:
        for connection in list(self.connections):
            if connection.user.get("id") == request.match_info["user_id"]:
                self._end(connection, 4009, "Terminated by the app")
        return web.json_response({})

    # The WebSocket protocol

    async def _connect(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(compress=False, max_msg_size=MAX_MESSAGE, timeout=CLOSE_SECONDS)
        if not socket.can_prepare(request):
            raise web.HTTPNotFound(text="404 NOT FOUND\n")
        await socket.prepare(request)
        if refusal := self._refusal(request):
            await socket.close(code=refusal[0], message=refusal[1].encode())
        elif request.transport:
            connection = Connection(socket, request.transport)
            self.connections.add(connection)
            established = {"socket_id": connection.socket_id, "activity_timeout": self.timeouts[0]}
            connection.send("pusher:connection_established", json.dumps(established))
            try:
                await self._listen(connection)
            finally:
                self._forget(connection)
                connection.drop()
        return socket

    def _refusal(self, request: web.Request) -> tuple[int, str] | None:
        _, first, *rest = request.path.split("/")
        version = request.query.get("protocol")
        if first != "app" or len(rest) != 1:
            return 4005, "Path not found"
        if not is_same(rest[0], self.key):
            return 4001, "Application does not exist"
        if version is None:
            return 4008, "No protocol version supplied"
        if not re.fullmatch(r"[0-9]{1,9}", version):
            return 4006, "Invalid version string format"
        return None if int(version) == PROTOCOL else (4007, f"Unsupported protocol version; supported is {PROTOCOL}")

    async def _listen(self, connection: Connection) -> None:
        """Handle messages until it ends, from whichever side."""
        pinged = False
        while True:
            try:
                async with asyncio.timeout(self.timeouts[pinged]) as connection.patience:
                    message = await connection.socket.receive()
            except TimeoutError:
                if pinged:
                    self._end(connection, 4201, "Pong reply not received")
                if connection.farewell:
                    code, reason = connection.farewell
                    connection.flush()
                    await connection.socket.close(code=code, message=reason.encode(), drain=False)
                    return
                pinged = True
                connection.send("pusher:ping", "{}")
                continue
            if message.type not in {WSMsgType.TEXT, WSMsgType.BINARY}:
                return
            pinged = False
            self._handle(connection, message.data)

    def _handle(self, connection: Connection, content: str | bytes) -> None:
        try:
            message = decoded(content)
            event, data = text(message, "event"), message.get("data")
            if event.startswith("client-"):
                self._relay(connection, event, data, message.get("channel"))
            elif event == "pusher:ping":
                connection.send("pusher:pong", "{}")
            elif event != "pusher:pong":
                self._obey(connection, event, data)
        except RefusedError as error:
            connection.send("pusher:error", {"code": error.code, "message": str(error)})
        except RecursionError:
            connection.send("pusher:error", {"code": None, "message": "Too deeply nested"})

    def _obey(self, connection: Connection, event: str, data: Any) -> None:
        if not isinstance(data, dict):
            raise RefusedError("Expected data to be an object")
        if event == "pusher:signin":
            self._sign_in(connection, text(data, "auth"), text(data, "user_data"))
        elif event == "pusher:subscribe":
            self._subscribe(connection, text(data, "channel"), data)
        elif event == "pusher:unsubscribe":
            self._leave(connection, text(data, "channel"))
        else:
            raise RefusedError("Unknown event")

    def _sign_in(self, connection: Connection, auth: str, user_data: str) -> None:
        if not self._is_signed(auth, f"{connection.socket_id}::user::{user_data}"):
            raise RefusedError("Invalid signature of user_data")
        user = decoded(user_data)
        user_id = user.get("id")
        if not isinstance(user_id, str) or not user_id:
            raise RefusedError("Expected id in user_data to be a non-empty string")
        if connection.user.get("id", user_id) != user_id:
            raise RefusedError("Signed in already as another user")
        connection.user = user
        connection.send("pusher:signin_success", {"user_data": user_data})

    def _subscribe(self, connection: Connection, name: str, data: dict[str, Any]) -> None:
        if name in connection.subscriptions:
            raise RefusedError(f"Existing subscription to channel {name}")
        try:
            member = self._admitted(connection, name, data)
        except RefusedError as error:
            kind = "AuthError" if error.code == 401 else "SubscriptionError"
            refusal = {"type": kind, "error": str(error), "status": error.code or 400}
            connection.send("pusher:subscription_error", refusal, name)
            return
        answer: dict[str, Any] = {}
        if member:
            if member.user_id not in self._members(name):
                self._announce("added", name, {"user_id": member.user_id, "user_info": member.info})
            members = {member.user_id: member.info} | self._members(name)
            answer = {"presence": {"ids": list(members), "hash": members, "count": len(members)}}
        connection.subscriptions.add(name)
        self.channels.setdefault(name, {})[connection] = member
        connection.send("pusher_internal:subscription_succeeded", json.dumps(answer), name)

    def _admitted(self, connection: Connection, name: str, data: dict[str, Any]) -> Member | None:
        """The user that a presence channel gets. Raises RefusedError, with 401 if it is a matter of authorization."""
        if not is_channel_name(name):
            raise RefusedError("Invalid channel name")
        if len(connection.subscriptions) >= MAX_SUBSCRIPTIONS:
            raise RefusedError(f"More than {MAX_SUBSCRIPTIONS} subscriptions")
        if name.startswith(USER_CHANNEL) and name != USER_CHANNEL + connection.user.get("id", ""):
            raise RefusedError("Not signed in as this user", 401)
        if not name.startswith(("private-", "presence-")):
            return None
        channel_data = data.get("channel_data")
        signed = f"{connection.socket_id}:{name}" + (f":{channel_data}" if channel_data is not None else "")
        if not self._is_signed(data.get("auth"), signed):
            raise RefusedError("Invalid signature", 401)
        if name.startswith("private-"):
            return None
        member = self._member(connection, channel_data)
        members = self._members(name)
        if member.user_id not in members and len(members) >= MAX_MEMBERS:
            raise RefusedError(f"More than {MAX_MEMBERS} members")
        return member

    def _member(self, connection: Connection, channel_data: Any) -> Member:
        """The member that the authorization names, or else the user that is signed in."""
        if channel_data is None and connection.user:
            member = Member(connection.user["id"], connection.user.get("user_info"))
        else:
            fields = decoded(channel_data)
            if not isinstance(fields.get("user_id"), str | int):
                raise RefusedError("Expected user_id in channel_data")
            member = Member(str(fields["user_id"]), fields.get("user_info"))
        if not 1 <= len(member.user_id) <= MAX_USER_ID:
            raise RefusedError(f"Expected user_id to have 1 to {MAX_USER_ID} characters")
        if size(member.info) > MAX_USER_INFO:
            raise RefusedError(f"Expected user_info to have at most {MAX_USER_INFO} bytes")
        return member

    def _relay(self, connection: Connection, event: str, data: Any, channel: Any) -> None:
        if not isinstance(channel, str) or channel not in connection.subscriptions:
            raise RefusedError("Client event rejected: not subscribed to the channel")
        if not channel.startswith(("private-", "presence-")):
            raise RefusedError("Client event rejected: only supported on private and presence channels")
        if len(event) > MAX_NAME or size(data) > MAX_DATA:
            raise RefusedError(
                f"Client event rejected: at most {MAX_NAME} characters of name, {MAX_DATA} bytes of data"
            )
        now = time.monotonic()
        if len(connection.client_events) == CLIENT_EVENTS and now - connection.client_events[0] < 1:
            raise RefusedError("Client event rejected due to rate limit", 4301)
        connection.client_events.append(now)
        member = self.channels[channel][connection]
        message = {"event": event, "channel": channel, "data": data}
        content = frame({**message, "user_id": member.user_id} if member else message)
        for other in self.channels[channel]:
            if other is not connection:
                other.write(content)

    def _leave(self, connection: Connection, name: str) -> None:
        """End a subscription, if there is one."""
        if name not in connection.subscriptions:
            return
        connection.subscriptions.remove(name)
        member = self.channels[name].pop(connection)
        if not self.channels[name]:
            del self.channels[name]
        elif member and member.user_id not in self._members(name):
            self._announce("removed", name, {"user_id": member.user_id})

    def _end(self, connection: Connection, code: int, reason: str) -> None:
        """Have the connection's own task, which waits for messages, close it with this code."""
        self._forget(connection)
        connection.farewell = connection.farewell or (code, reason)
        with contextlib.suppress(RuntimeError):  # its patience has ended just now
            connection.patience.reschedule(0)

    def _forget(self, connection: Connection) -> None:
        for name in list(connection.subscriptions):
            self._leave(connection, name)
        self.connections.discard(connection)

    def _members(self, name: str) -> dict[str, Any]:
        """The users of a presence channel, each once."""
        return {member.user_id: member.info for member in self.channels.get(name, {}).values() if member}

    def _announce(self, what: str, name: str, data: dict[str, Any]) -> None:
        content = frame({"event": f"pusher_internal:member_{what}", "channel": name, "data": json.dumps(data)})
        for connection in self.channels.get(name, ()):
            connection.write(content)

    def _is_signed(self, auth: Any, signed: str) -> bool:
        return isinstance(auth, str) and is_same(auth, f"{self.key}:{signature(self.secret, signed)}")

    async def say_goodbye(self) -> None:
        """End all connections, so that clients connect again at once."""
        tasks = [connection.task for connection in self.connections if connection.task]
        for connection in list(self.connections):
            self._end(connection, 4200, "The server is going away")
        if tasks:
            await asyncio.wait(tasks, timeout=2 * CLOSE_SECONDS)


def frame(message: dict[str, Any]) -> bytes:
    """A message as a WebSocket text frame, made once for all who get it."""
    payload = json.dumps(message).encode()
    length = len(payload)
    if length < 126:
        return struct.pack("!BB", 0x81, length) + payload
    if length < 65_536:
        return struct.pack("!BBH", 0x81, 126, length) + payload
    return struct.pack("!BBQ", 0x81, 127, length) + payload


def decoded(content: Any) -> dict[str, Any]:
    """The object that a client's JSON is. Raises RefusedError."""
    try:
        value = json.loads(content)
    except (TypeError, ValueError, RecursionError):
        raise RefusedError("Invalid JSON") from None
    if not isinstance(value, dict):
        raise RefusedError("Expected an object")
    return value


def parsed(body: bytes) -> dict[str, Any]:
    """The object that a request's body is. Raises HTTPBadRequest."""
    try:
        return decoded(body)
    except RefusedError as error:
        raise web.HTTPBadRequest(text=f"Bad body: {error}\n") from None


def checked(fields: dict[str, Any], channel: Any) -> Event:
    """An event for a channel. Raises HTTPBadRequest or HTTPRequestEntityTooLarge."""
    name, data, excluded = fields.get("name"), fields.get("data"), fields.get("socket_id")
    if not isinstance(name, str) or not 1 <= len(name) <= MAX_NAME:
        raise web.HTTPBadRequest(text=f"Expected name to be a string of 1 to {MAX_NAME} characters\n")
    if not isinstance(data, str):
        raise web.HTTPBadRequest(text="Expected data to be a string\n")
    if not isinstance(channel, str) or not is_channel_name(channel):
        raise web.HTTPBadRequest(text="Invalid channel name\n")
    if excluded is not None and not (isinstance(excluded, str) and SOCKET_ID.fullmatch(excluded)):
        raise web.HTTPBadRequest(text="Invalid socket_id\n")
    if (length := size(data)) > MAX_DATA:
        raise web.HTTPRequestEntityTooLarge(MAX_DATA, length, text=f"The data exceeds {MAX_DATA} bytes\n")
    return Event(name, channel, data, excluded)


def size(data: Any) -> int:
    """Bytes of an event's data, of which what is no string counts as JSON."""
    return len((data if isinstance(data, str) else json.dumps(data)).encode(errors="surrogatepass"))


def text(data: dict[str, Any], name: str) -> str:
    """A field that must be a string. Raises RefusedError."""
    value = data.get(name)
    if not isinstance(value, str):
        raise RefusedError(f"Expected {name} to be a string")
    return value


def wants_user_count(request: web.Request, prefix: str) -> bool:
    """Whether `info` asks for it. Raises HTTPBadRequest where that is not for presence channels only."""
    info = set(filter(None, request.query.get("info", "").split(",")))
    if info - {"user_count"} or (info and not prefix.startswith("presence-")):
        raise web.HTTPBadRequest(text="Expected info to be user_count, of presence channels\n")
    return bool(info)


def is_channel_name(name: str) -> bool:
    """Whether a channel can be called this."""
    return len(name) <= MAX_CHANNEL_NAME and CHANNEL_NAME.fullmatch(name) is not None


def is_same(given: str, expected: str) -> bool:
    """Compare in a time that does not tell where they differ."""
    return hmac.compare_digest(given.encode(errors="surrogatepass"), expected.encode())


async def serve(port: int, **configuration: Any) -> None:
    """Serve until SIGTERM or SIGINT."""
    channels = Channels(**configuration)
    runner = web.AppRunner(channels.application(), access_log=None, shutdown_timeout=CLOSE_SECONDS)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", port)
    await site.start()
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    await stopped.wait()
    await site.stop()
    await channels.say_goodbye()  # before the runner's own end, in which it no longer listens to what clients answer
    await runner.cleanup()


if __name__ == "__main__":
    asyncio.run(serve(**json.load(sys.stdin)))
