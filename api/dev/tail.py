"""`parley listen CHAT`: print a chat's events as they are published, one JSON object per line.

This is an ordinary client of the API and of Pusher.
"""

import asyncio
import json
import sys
from dataclasses import dataclass
from typing import Any

import aiohttp
from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

RECONNECT_SECONDS = 1
REQUEST_TIMEOUT_SECONDS = 10
FATAL_CLOSE_CODES = range(4000, 4100)  # Pusher's protocol: do not reconnect with the same parameters
MAX_ERROR_CHARACTERS = 500  # of a response's body in an error message


class Endpoints(BaseSettings):
    """The addresses of the API and Pusher, from the environment or from a file of variables."""

    model_config = SettingsConfigDict(env_ignore_empty=True, hide_input_in_errors=True, extra="ignore")

    public_url: str = "http://127.0.0.1:8000"
    pusher_key: str = Field(min_length=1)
    pusher_cluster: str = "mt1"
    pusher_host: str | None = None
    pusher_port: int | None = None
    pusher_use_tls: bool = True

    @property
    def socket_url(self) -> str:
        """The URL of a WebSocket connection to Pusher."""
        host = self.pusher_host or f"ws-{self.pusher_cluster}.pusher.com"
        port = f":{self.pusher_port}" if self.pusher_port else ""
        scheme = "wss" if self.pusher_use_tls else "ws"
        return f"{scheme}://{host}{port}/app/{self.pusher_key}?protocol=7&client=parley-listen&version=1"


class FatalError(Exception):
    """Retrying is useless; the message is one line."""


@dataclass
class EventTail:
    """A user's subscription to the events of a chat."""

    endpoints: Endpoints
    token: str
    chat_id: str
    session: aiohttp.ClientSession

    async def follow(self) -> None:
        """Print events, and reconnect after interruptions. Raises FatalError."""
        while True:
            try:
                async with self.session.ws_connect(self.endpoints.socket_url) as socket:
                    await self._print_events(socket)
            except BrokenPipeError:
                raise FatalError("the output is closed") from None
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                print(f"Disconnected, reconnecting: {error}", file=sys.stderr, flush=True)
            await asyncio.sleep(RECONNECT_SECONDS)

    async def _print_events(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        """Print events until the connection closes."""
        async for frame in socket:
            message = json.loads(frame.data)
            event, data = message["event"], message.get("data")
            match event:
                case "pusher:connection_established":
                    await self._subscribe(socket, json.loads(data)["socket_id"])
                case "pusher:ping":
                    await socket.send_json({"event": "pusher:pong", "data": {}})
                case "pusher:error" | "pusher:subscription_error":
                    print(f"Error from Pusher: {data}", file=sys.stderr, flush=True)
                case "pusher_internal:subscription_succeeded":
                    print(f"Listening to {message['channel']}", file=sys.stderr, flush=True)
                case _ if not event.startswith(("pusher:", "pusher_internal:")):
                    line = {"event": event, "data": json.loads(data) if isinstance(data, str) else data}
                    print(json.dumps(line, ensure_ascii=False), flush=True)
        if socket.close_code in FATAL_CLOSE_CODES:
            raise FatalError(f"Pusher closed the connection ({socket.close_code}); is the user still in the chat?")

    async def _subscribe(self, socket: aiohttp.ClientWebSocketResponse, socket_id: str) -> None:
        """Sign in, so that the connection is closed when the user is removed from the chat; then subscribe."""
        user = await self._authorize("user-auth", socket_id=socket_id)
        await socket.send_json({"event": "pusher:signin", "data": user})
        channel = f"private-chat-{self.chat_id}"
        authorization = await self._authorize("auth", socket_id=socket_id, channel_name=channel)
        await socket.send_json({"event": "pusher:subscribe", "data": {**authorization, "channel": channel}})

    async def _authorize(self, operation: str, **form: str) -> dict[str, Any]:
        """Return the response of an operation of /api/pusher. Raises FatalError, or ClientError if a retry may help."""
        url = f"{self.endpoints.public_url}/api/pusher/{operation}"
        async with self.session.post(url, data=form, headers={"Authorization": f"Bearer {self.token}"}) as response:
            if response.status == 429 or response.status >= 500:
                raise aiohttp.ClientError(f"{url} returned {response.status}")
            if response.status != 200:
                text = (await response.text())[:MAX_ERROR_CHARACTERS]
                raise FatalError(f"{url} returned {response.status}: {text}")
            body: dict[str, Any] = await response.json()
            return body


async def follow_events(endpoints: Endpoints, token: str, chat_id: str) -> None:
    """Print a chat's events until cancelled. Raises FatalError."""
    timeout = aiohttp.ClientTimeout(total=REQUEST_TIMEOUT_SECONDS)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        await EventTail(endpoints, token, chat_id, session).follow()
