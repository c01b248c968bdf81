"""Pusher's HTTP API: signed requests of servers that publish events and query channels."""

import hashlib
import re
import time
from collections.abc import Awaitable, Callable

from aiohttp import web

from api.dev.pusher_server.channels import Channels
from api.dev.pusher_server.limits import MAX_BATCH, MAX_CHANNELS, MAX_CLOCK_SKEW_SECONDS
from api.dev.pusher_server.messages import Event, parse_body, parse_event
from api.dev.pusher_server.signatures import Credentials, is_equal, sign_request

Handler = Callable[[web.Request, bytes], web.Response]


class HttpApi:
    """The handlers of the HTTP API."""

    def __init__(self, credentials: Credentials, channels: Channels) -> None:
        self._credentials, self._channels = credentials, channels

    def list_routes(self) -> list[web.RouteDef]:
        """Return the routes."""
        authenticate = self._authenticate
        return [
            web.post("/apps/{app_id}/events", authenticate(self._publish_event)),
            web.post("/apps/{app_id}/batch_events", authenticate(self._publish_batch)),
            web.get("/apps/{app_id}/channels", authenticate(self._list_channels)),
            web.get("/apps/{app_id}/channels/{channel}", authenticate(self._get_channel)),
            web.get("/apps/{app_id}/channels/{channel}/users", authenticate(self._list_users)),
            web.post("/apps/{app_id}/users/{user_id}/terminate_connections", authenticate(self._terminate)),
        ]

    def _authenticate(self, handler: Handler) -> Callable[[web.Request], Awaitable[web.Response]]:
        """Return the handler with a check that requests are signed with the secret."""

        async def handle(request: web.Request) -> web.Response:
            if request.match_info["app_id"] != self._credentials.app_id:
                raise web.HTTPNotFound(text="Unknown app_id\n")
            body = await request.read()
            if error := self._find_signature_error(request, body):
                raise web.HTTPUnauthorized(text=f"{error}\n")
            return handler(request, body)

        return handle

    def _find_signature_error(self, request: web.Request, body: bytes) -> str | None:
        query = request.query
        signed = ((name, value) for name, value in query.items() if name != "auth_signature")
        expected = sign_request(self._credentials.secret, request.method, request.path, signed)
        digest = hashlib.md5(body, usedforsecurity=False).hexdigest()
        if not is_equal(query.get("auth_key", ""), self._credentials.key):
            return "Unknown auth_key"
        if not is_equal(query.get("auth_signature", ""), expected):
            return "Invalid signature"
        if query.get("auth_version") != "1.0":
            return "Invalid auth_version"
        if query.get("body_md5", "" if body else digest) != digest:
            return "Invalid body_md5"
        timestamp = query.get("auth_timestamp", "")
        is_timestamp = re.fullmatch(r"[0-9]{1,12}", timestamp) is not None
        if not is_timestamp or abs(time.time() - int(timestamp)) > MAX_CLOCK_SKEW_SECONDS:
            return f"Timestamp expired: not within {MAX_CLOCK_SKEW_SECONDS}s of server time"
        return None

    def _publish_event(self, _: web.Request, body: bytes) -> web.Response:
        fields = parse_body(body)
        channels = fields.get("channels", [fields.get("channel")])
        if not isinstance(channels, list) or not 1 <= len(channels) <= MAX_CHANNELS:
            raise web.HTTPBadRequest(text=f"Expected channels to be a list of 1 to {MAX_CHANNELS} names\n")
        return self._publish([parse_event(fields, channel) for channel in channels])

    def _publish_batch(self, _: web.Request, body: bytes) -> web.Response:
        batch = parse_body(body).get("batch")
        if not isinstance(batch, list) or len(batch) > MAX_BATCH or not all(isinstance(f, dict) for f in batch):
            raise web.HTTPBadRequest(text=f"Expected batch to be a list of at most {MAX_BATCH} events\n")
        return self._publish([parse_event(fields, fields.get("channel")) for fields in batch])

    def _publish(self, events: list[Event]) -> web.Response:
        for event in events:
            self._channels.publish(event)
        return web.json_response({})

    def _list_channels(self, request: web.Request, _: bytes) -> web.Response:
        prefix = request.query.get("filter_by_prefix", "")
        has_user_count = is_user_count_requested(request, prefix)
        names = [name for name in self._channels.subscribers if name.startswith(prefix)]
        return web.json_response({"channels": {name: self._get_attributes(name, has_user_count) for name in names}})

    def _get_channel(self, request: web.Request, _: bytes) -> web.Response:
        name = request.match_info["channel"]
        attributes = self._get_attributes(name, is_user_count_requested(request, name))
        return web.json_response({"occupied": name in self._channels.subscribers, **attributes})

    def _get_attributes(self, name: str, has_user_count: bool) -> dict[str, int]:
        return {"user_count": len(self._channels.get_members(name))} if has_user_count else {}

    def _list_users(self, request: web.Request, _: bytes) -> web.Response:
        name = request.match_info["channel"]
        if not name.startswith("presence-"):
            raise web.HTTPBadRequest(text="Users can only be retrieved for presence channels\n")
        return web.json_response({"users": [{"id": user_id} for user_id in self._channels.get_members(name)]})

    def _terminate(self, request: web.Request, _: bytes) -> web.Response:
        for connection in list(self._channels.connections):
            if connection.user.get("id") == request.match_info["user_id"]:
                self._channels.close(connection, 4009, "Terminated by the app")
        return web.json_response({})


def is_user_count_requested(request: web.Request, prefix: str) -> bool:
    """Return whether `info` has user_count. Raises HTTPBadRequest for other values, and for other channels."""
    info = set(filter(None, request.query.get("info", "").split(",")))
    if info - {"user_count"} or (info and not prefix.startswith("presence-")):
        raise web.HTTPBadRequest(text="Expected info to be user_count, of presence channels\n")
    return bool(info)
