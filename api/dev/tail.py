"""`parley listen CHAT`: prints a chat's events as they come, each a line of JSON. A client like any other."""

import asyncio
import json
import sys
from dataclasses import dataclass
from typing import Any

import aiohttp
from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

RETRY_SECONDS = 1
ANSWER_SECONDS = 10
FINAL_CODES = range(4000, 4100)  # with which Pusher ends a connection that is not to be tried again as it was


class Place(BaseSettings):
    """Where the API and Pusher are: the environment, or a file of variables."""

    model_config = SettingsConfigDict(env_ignore_empty=True, hide_input_in_errors=True, extra="ignore")

    public_url: str = "http://127.0.0.1:8000"
    pusher_key: str = Field(min_length=1)
    pusher_cluster: str = "mt1"
    pusher_host: str | None = None
    pusher_port: int | None = None
    pusher_use_tls: bool = True

    @property
    def socket_url(self) -> str:
        """The URL of a connection to Pusher."""
        host = self.pusher_host or f"ws-{self.pusher_cluster}.pusher.com"
        port = f":{self.pusher_port}" if self.pusher_port else ""
        scheme = "wss" if self.pusher_use_tls else "ws"
        return f"{scheme}://{host}{port}/app/{self.pusher_key}?protocol=7&client=parley-listen&version=1"


class EndError(Exception):
    """There is no point in going on; the message is one line."""


@dataclass
class Listener:
    """A user who listens to a chat."""

    place: Place
    token: str
    chat: str
    session: aiohttp.ClientSession

    async def listen(self) -> None:
        """Prints events over all interruptions. Raises EndError."""
        while True:
            try:
                async with self.session.ws_connect(self.place.socket_url) as socket:
                    await self._print(socket)
            except BrokenPipeError:
                raise EndError("nobody reads what is printed") from None
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                print(f"No connection, which is tried again: {error}", file=sys.stderr, flush=True)
            await asyncio.sleep(RETRY_SECONDS)

    async def _print(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        async for frame in socket:
            message = json.loads(frame.data)
            event, data = message["event"], message.get("data")
            match event:
                case "pusher:connection_established":
                    await self._subscribe(socket, json.loads(data)["socket_id"])
                case "pusher:ping":
                    await socket.send_json({"event": "pusher:pong", "data": {}})
                case "pusher:error" | "pusher:subscription_error":
                    print(f"Pusher says: {data}", file=sys.stderr, flush=True)
                case "pusher_internal:subscription_succeeded":
                    print(f"Listening to {message['channel']}", file=sys.stderr, flush=True)
                case _ if not event.startswith(("pusher:", "pusher_internal:")):
                    line = {"event": event, "data": json.loads(data) if isinstance(data, str) else data}
                    print(json.dumps(line, ensure_ascii=False), flush=True)
        if socket.close_code in FINAL_CODES:
            raise EndError(f"Pusher ended the connection ({socket.close_code}); is the user still in the chat?")

    async def _subscribe(self, socket: aiohttp.ClientWebSocketResponse, socket_id: str) -> None:
        """Signs in, so that this ends when the user is removed from the chat, and subscribes."""
        user = await self._authorized("user-auth", socket_id=socket_id)
        await socket.send_json({"event": "pusher:signin", "data": user})
        channel = f"private-chat-{self.chat}"
        signed = await self._authorized("auth", socket_id=socket_id, channel_name=channel)
        await socket.send_json({"event": "pusher:subscribe", "data": {**signed, "channel": channel}})

    async def _authorized(self, what: str, **form: str) -> dict[str, Any]:
        url = f"{self.place.public_url}/api/pusher/{what}"
        async with self.session.post(url, data=form, headers={"Authorization": f"Bearer {self.token}"}) as response:
            if response.status == 429 or response.status >= 500:
                raise aiohttp.ClientError(f"{url} answers {response.status}")
            if response.status != 200:
                raise EndError(f"{url} answers {response.status}: {(await response.text())[:500]}")
            answer: dict[str, Any] = await response.json()
            return answer


async def run(place: Place, token: str, chat: str) -> None:
    """Prints events until it is cancelled. Raises EndError."""
    timeout = aiohttp.ClientTimeout(total=ANSWER_SECONDS)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        await Listener(place, token, chat, session).listen()
