"""Pusher's WebSocket protocol: clients connect, sign in, subscribe and send client events."""

import asyncio
import json
import re
import time
from functools import partial
from http import HTTPStatus
from typing import Any

from aiohttp import web
from websockets.datastructures import Headers
from websockets.http11 import Request
from websockets.server import ServerProtocol

from api.dev.pusher_server.channels import Channels, Member
from api.dev.pusher_server.connection import Connection, encode_frame
from api.dev.pusher_server.limits import (
    MAX_CLIENT_EVENTS,
    MAX_CONNECTIONS,
    MAX_DATA,
    MAX_MEMBERS,
    MAX_NAME,
    MAX_SUBSCRIPTIONS,
    MAX_USER_ID,
    MAX_USER_INFO,
)
from api.dev.pusher_server.messages import (
    USER_CHANNEL_PREFIX,
    RejectedError,
    get_string,
    is_channel_name,
    measure_size,
    parse_object,
)
from api.dev.pusher_server.signatures import Credentials, is_equal

PROTOCOL = 7


class WebSocketProtocol:
    """The protocol. `timeouts` are the seconds without a message before a ping, and without a reply to the ping."""

    def __init__(self, credentials: Credentials, channels: Channels, timeouts: tuple[float, float]) -> None:
        self._credentials, self._channels, self._timeouts = credentials, channels, timeouts
        self._timers: dict[Connection, asyncio.TimerHandle] = {}  # until the next ping, or until the reply to one

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Serve a connection until it closes."""
        if request.headers.get("Upgrade", "").lower() != "websocket" or request.transport is None:
            raise web.HTTPNotFound(text="404 NOT FOUND\n")
        response = ServerProtocol().accept(Request(request.path_qs, Headers(request.headers.items())))
        if response.status_code != HTTPStatus.SWITCHING_PROTOCOLS:
            return web.Response(status=response.status_code, body=response.body)
        connection = Connection(
            request.transport, response.serialize(), self._receive_message, self._channels.limit_unsent
        )
        if error := self._find_request_error(request):
            connection.request_close(*error)
            await connection.closed
        else:
            await self._serve(connection)
        return web.Response()  # The transport is closed, so this is not sent.

    async def _serve(self, connection: Connection) -> None:
        self._channels.connections.add(connection)
        established = {"socket_id": connection.socket_id, "activity_timeout": self._timeouts[0]}
        connection.send("pusher:connection_established", json.dumps(established))
        self._restart_ping_timer(connection)
        try:
            await connection.closed
        finally:
            self._timers.pop(connection).cancel()
            self._channels.remove(connection)
            connection.abort()

    def _restart_ping_timer(self, connection: Connection) -> None:
        """Send a ping if no further message arrives within the activity timeout."""
        if timer := self._timers.get(connection):
            timer.cancel()
        loop = asyncio.get_running_loop()
        self._timers[connection] = loop.call_later(self._timeouts[0], self._ping, connection)

    def _ping(self, connection: Connection) -> None:
        connection.send("pusher:ping", "{}")
        close = partial(self._channels.close, connection, 4201, "Pong reply not received")
        self._timers[connection] = asyncio.get_running_loop().call_later(self._timeouts[1], close)

    def _find_request_error(self, request: web.Request) -> tuple[int, str] | None:
        """Return the code and the reason with which a new connection is closed, or None if its request is valid."""
        if len(self._channels.connections) >= MAX_CONNECTIONS:
            return 4004, f"More than {MAX_CONNECTIONS} connections"
        _, first, *rest = request.path.split("/")
        version = request.query.get("protocol")
        if first != "app" or len(rest) != 1:
            return 4005, "Path not found"
        if not is_equal(rest[0], self._credentials.key):
            return 4001, "Application does not exist"
        if version is None:
            return 4008, "No protocol version supplied"
        if not re.fullmatch(r"[0-9]{1,9}", version):
            return 4006, "Invalid version string format"
        return None if int(version) == PROTOCOL else (4007, f"Unsupported protocol version; supported is {PROTOCOL}")

    def _receive_message(self, connection: Connection, content: str | bytes) -> None:
        if connection not in self._channels.connections:
            return
        self._restart_ping_timer(connection)
        try:
            message = parse_object(content)
            event, data = get_string(message, "event"), message.get("data")
            if event.startswith("client-"):
                self._send_client_event(connection, event, data, message.get("channel"))
            elif event == "pusher:ping":
                connection.send("pusher:pong", "{}")
            elif event != "pusher:pong":
                self._handle_command(connection, event, data)
        except RejectedError as error:
            connection.send("pusher:error", {"code": error.code, "message": str(error)})
        except RecursionError:
            connection.send("pusher:error", {"code": None, "message": "Too deeply nested"})

    def _handle_command(self, connection: Connection, event: str, data: Any) -> None:
        if not isinstance(data, dict):
            raise RejectedError("Expected data to be an object")
        if event == "pusher:signin":
            self._sign_in(connection, get_string(data, "auth"), get_string(data, "user_data"))
        elif event == "pusher:subscribe":
            self._subscribe(connection, get_string(data, "channel"), data)
        elif event == "pusher:unsubscribe":
            self._channels.unsubscribe(connection, get_string(data, "channel"))
        else:
            raise RejectedError("Unknown event")

    def _sign_in(self, connection: Connection, auth: str, user_data: str) -> None:
        if not self._credentials.is_signed(auth, f"{connection.socket_id}::user::{user_data}"):
            raise RejectedError("Invalid signature of user_data")
        user = parse_object(user_data)
        user_id = user.get("id")
        if not isinstance(user_id, str) or not user_id:
            raise RejectedError("Expected id in user_data to be a non-empty string")
        if connection.user.get("id", user_id) != user_id:
            raise RejectedError("Signed in already as another user")
        connection.user = user
        connection.send("pusher:signin_success", {"user_data": user_data})

    def _subscribe(self, connection: Connection, name: str, data: dict[str, Any]) -> None:
        if name in connection.subscriptions:
            raise RejectedError(f"Existing subscription to channel {name}")
        try:
            member = self._authorize(connection, name, data)
        except RejectedError as error:
            kind = "AuthError" if error.code == 401 else "SubscriptionError"
            rejection = {"type": kind, "error": str(error), "status": error.code or 400}
            connection.send("pusher:subscription_error", rejection, name)
            return
        result: dict[str, Any] = {}
        if member:
            members = {member.user_id: member.info} | self._channels.get_members(name)
            result = {"presence": {"ids": list(members), "hash": members, "count": len(members)}}
        self._channels.subscribe(connection, name, member)
        connection.send("pusher_internal:subscription_succeeded", json.dumps(result), name)

    def _authorize(self, connection: Connection, name: str, data: dict[str, Any]) -> Member | None:
        """Return the member of a presence channel, None for other channels.

        Raises RejectedError, with code 401 if the client is not authorized.
        """
        if not is_channel_name(name):
            raise RejectedError("Invalid channel name")
        if len(connection.subscriptions) >= MAX_SUBSCRIPTIONS:
            raise RejectedError(f"More than {MAX_SUBSCRIPTIONS} subscriptions")
        if name.startswith(USER_CHANNEL_PREFIX) and name != USER_CHANNEL_PREFIX + connection.user.get("id", ""):
            raise RejectedError("Not signed in as this user", 401)
        if not name.startswith(("private-", "presence-")):
            return None
        channel_data = data.get("channel_data")
        signed = f"{connection.socket_id}:{name}" + (f":{channel_data}" if channel_data is not None else "")
        if not self._credentials.is_signed(data.get("auth"), signed):
            raise RejectedError("Invalid signature", 401)
        if name.startswith("private-"):
            return None
        member = parse_member(connection, channel_data)
        members = self._channels.get_members(name)
        if member.user_id not in members and len(members) >= MAX_MEMBERS:
            raise RejectedError(f"More than {MAX_MEMBERS} members")
        return member

    def _send_client_event(self, connection: Connection, event: str, data: Any, channel: Any) -> None:
        """Send a client's event to the other subscribers of the channel."""
        if not isinstance(channel, str) or channel not in connection.subscriptions:
            raise RejectedError("Client event rejected: not subscribed to the channel")
        if not channel.startswith(("private-", "presence-")):
            raise RejectedError("Client event rejected: only supported on private and presence channels")
        if len(event) > MAX_NAME or measure_size(data) > MAX_DATA:
            raise RejectedError(
                f"Client event rejected: at most {MAX_NAME} characters of name, {MAX_DATA} bytes of data"
            )
        now, times = time.monotonic(), connection.client_event_times
        if len(times) == MAX_CLIENT_EVENTS and now - times[0] < 1:
            raise RejectedError("Client event rejected due to rate limit", 4301)
        times.append(now)
        subscribers = self._channels.subscribers[channel]
        member = subscribers[connection]
        message = {"event": event, "channel": channel, "data": data}
        frame = encode_frame({**message, "user_id": member.user_id} if member else message)
        for other in subscribers:
            if other is not connection:
                other.send_frame(frame)


def parse_member(connection: Connection, channel_data: Any) -> Member:
    """Return the member in the authorization or, without one, the signed-in user. Raises RejectedError."""
    if channel_data is None and connection.user:
        member = Member(connection.user["id"], connection.user.get("user_info"))
    else:
        fields = parse_object(channel_data)
        if not isinstance(fields.get("user_id"), str | int):
            raise RejectedError("Expected user_id in channel_data")
        member = Member(str(fields["user_id"]), fields.get("user_info"))
    if not 1 <= len(member.user_id) <= MAX_USER_ID:
        raise RejectedError(f"Expected user_id to have 1 to {MAX_USER_ID} characters")
    if measure_size(member.info) > MAX_USER_INFO:
        raise RejectedError(f"Expected user_info to have at most {MAX_USER_INFO} bytes")
    return member
