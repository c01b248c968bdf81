"""A subscriber that reconnects to Pusher whenever it loses its connection."""

import contextlib
import json
import threading
from collections.abc import Iterable
from typing import Self

from pusher.signature import sign
from websockets.exceptions import WebSocketException
from websockets.sync.client import connect

from api.dev.pusher_process import PusherProcess
from tests.e2e.recording_proxy import Arrival

RETRY_SECONDS = 0.02


class Subscriber:
    """Subscribes to channels, again after each lost connection; `received` has the events of each connection."""

    def __init__(self, pusher: PusherProcess, channels: Iterable[str]) -> None:
        self.received: list[list[Arrival]] = []
        self._pusher = pusher
        self._channels = list(channels)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.is_set():
            with contextlib.suppress(WebSocketException, OSError, EOFError):
                self._receive()
            self._stop.wait(RETRY_SECONDS)

    def _receive(self) -> None:
        url = f"ws://127.0.0.1:{self._pusher.port}/app/{self._pusher.key}?protocol=7&client=test&version=1"
        with connect(url, max_size=None, compression=None, open_timeout=5, close_timeout=1) as connection:
            socket_id = json.loads(json.loads(connection.recv(5))["data"])["socket_id"]
            for channel in self._channels:
                auth = f"{self._pusher.key}:{sign(self._pusher.secret, f'{socket_id}:{channel}')}"
                connection.send(json.dumps({"event": "pusher:subscribe", "data": {"channel": channel, "auth": auth}}))
            received: list[Arrival] = []
            self.received.append(received)
            while not self._stop.is_set():
                with contextlib.suppress(TimeoutError):
                    message = json.loads(connection.recv(0.1))
                    if message["event"] == "pusher:ping":
                        connection.send(json.dumps({"event": "pusher:pong", "data": {}}))
                    elif not message["event"].startswith("pusher"):
                        received.append(Arrival(message["channel"], message["event"], message["data"]))
