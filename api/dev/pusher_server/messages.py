"""Validation of messages from clients and of requests from servers."""

import json
import re
from typing import Any, NamedTuple

from aiohttp import web

from api.dev.pusher_server.limits import MAX_CHANNEL_NAME, MAX_DATA, MAX_NAME

USER_CHANNEL_PREFIX = "#server-to-user-"
CHANNEL_NAME = re.compile(rf"(?:{USER_CHANNEL_PREFIX})?[-a-zA-Z0-9_=@,.;]+")
SOCKET_ID = re.compile(r"[0-9]+\.[0-9]+")


class RejectedError(Exception):
    """A client's message is rejected; the error message and the code are sent to the client."""

    def __init__(self, message: str, code: int | None = None) -> None:
        super().__init__(message)
        self.code = code


class Event(NamedTuple):
    """A valid event to publish on one channel."""

    name: str
    channel: str
    data: str
    excluded_socket_id: str | None


def parse_object(content: Any) -> dict[str, Any]:
    """Return the JSON object in a client's message. Raises RejectedError."""
    try:
        value = json.loads(content)
    except (TypeError, ValueError, RecursionError):
        raise RejectedError("Invalid JSON") from None
    if not isinstance(value, dict):
        raise RejectedError("Expected an object")
    return value


def parse_body(body: bytes) -> dict[str, Any]:
    """Return the JSON object in the body of a request. Raises HTTPBadRequest."""
    try:
        return parse_object(body)
    except RejectedError as error:
        raise web.HTTPBadRequest(text=f"Bad body: {error}\n") from None


def parse_event(fields: dict[str, Any], channel: Any) -> Event:
    """Return a valid event for a channel. Raises HTTPBadRequest or HTTPRequestEntityTooLarge."""
    name, data, excluded_socket_id = fields.get("name"), fields.get("data"), fields.get("socket_id")
    if not isinstance(name, str) or not 1 <= len(name) <= MAX_NAME:
        raise web.HTTPBadRequest(text=f"Expected name to be a string of 1 to {MAX_NAME} characters\n")
    if not isinstance(data, str):
        raise web.HTTPBadRequest(text="Expected data to be a string\n")
    if not isinstance(channel, str) or not is_channel_name(channel):
        raise web.HTTPBadRequest(text="Invalid channel name\n")
    if excluded_socket_id is not None and not is_socket_id(excluded_socket_id):
        raise web.HTTPBadRequest(text="Invalid socket_id\n")
    if (size := measure_size(data)) > MAX_DATA:
        raise web.HTTPRequestEntityTooLarge(MAX_DATA, size, text=f"The data exceeds {MAX_DATA} bytes\n")
    return Event(name, channel, data, excluded_socket_id)


def get_string(data: dict[str, Any], name: str) -> str:
    """Return a field that must be a string. Raises RejectedError."""
    value = data.get(name)
    if not isinstance(value, str):
        raise RejectedError(f"Expected {name} to be a string")
    return value


def measure_size(data: Any) -> int:
    """Return the size of an event's data in bytes; data other than strings is counted as JSON."""
    return len((data if isinstance(data, str) else json.dumps(data)).encode(errors="surrogatepass"))


def is_channel_name(name: str) -> bool:
    """Return whether a channel may have this name."""
    return len(name) <= MAX_CHANNEL_NAME and CHANNEL_NAME.fullmatch(name) is not None


def is_socket_id(value: Any) -> bool:
    """Return whether a value has the form of a socket ID."""
    return isinstance(value, str) and SOCKET_ID.fullmatch(value) is not None
