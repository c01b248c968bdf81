"""A connection to Pusher that records the events that it receives."""

import json
import threading
from contextlib import ExitStack
from typing import Any, Self

from pusher.signature import sign
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from api.dev.pusher_process import PusherProcess
from tests.waiting import wait_until


class Subscriber:
    """A connection to Pusher. `events` are the received events, each as (name, data); `channels` are their channels."""

    def __init__(self, pusher: PusherProcess, *channels: str, user: str = "") -> None:
        self._pusher = pusher
        url = f"ws://127.0.0.1:{pusher.port}/app/{pusher.key}?protocol=7&client=test&version=1"
        self._stack = ExitStack()
        self._socket = self._stack.enter_context(connect(url, max_size=None, compression=None))
        self.socket_id: str = json.loads(json.loads(self._socket.recv())["data"])["socket_id"]
        self.events: list[tuple[str, Any]] = []
        self.channels: list[str] = []
        self.closed = threading.Event()
        self._subscribed = 0
        if user:
            self._sign_in(user)
        self._thread = threading.Thread(target=self._receive)
        self._thread.start()
        for channel in channels:
            self.subscribe(channel)
        wait_until(lambda: self._subscribed == len(channels))

    def subscribe(self, channel: str, auth: str = "", channel_data: str | None = None) -> None:
        """Subscribe to a channel, with a valid signature unless another one is given."""
        data = {"channel": channel, "auth": auth or self._signature(f"{self.socket_id}:{channel}")}
        if channel_data is not None:
            data["channel_data"] = channel_data
        self._socket.send(json.dumps({"event": "pusher:subscribe", "data": data}))

    def _sign_in(self, user: str) -> None:
        user_data = json.dumps({"id": user})
        data = {"auth": self._signature(f"{self.socket_id}::user::{user_data}"), "user_data": user_data}
        self._socket.send(json.dumps({"event": "pusher:signin", "data": data}))
        assert json.loads(self._socket.recv())["event"] == "pusher:signin_success"

    def _signature(self, text: str) -> str:
        return f"{self._pusher.key}:{sign(self._pusher.secret, text)}"

    def _receive(self) -> None:
        try:
            for frame in self._socket:
                message = json.loads(frame)
                if message["event"] == "pusher_internal:subscription_succeeded":
                    self._subscribed += 1
                elif ":" in message["event"] and not message["event"].startswith("pusher"):
                    self.on_event(message["channel"], message["event"], json.loads(message["data"]))
        except ConnectionClosed:
            pass
        self.closed.set()

    def on_event(self, channel: str, name: str, data: Any) -> None:
        """Record an event."""
        self.channels.append(channel)
        self.events.append((name, data))

    def received(self, name: str) -> list[Any]:
        """Return the data of the events of this name."""
        return [data for event, data in list(self.events) if event == name]

    def received_on(self, channel: str) -> list[Any]:
        """Return the data of the events on a channel."""
        return [data for (_, data), on in zip(self.events, self.channels, strict=True) if on == channel]

    def close(self) -> None:
        """Close the connection."""
        self._stack.close()
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
