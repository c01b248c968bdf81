"""What the tests of real time say often: a listener as a process, a subscriber that keeps what it hears."""

import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Self

from pusher.signature import sign
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from api.dev.process import ChildProcess
from api.dev.pusher_process import PusherProcess
from tests import ROOT
from tests.waiting import wait_until

LEADS = "This listener is the leader"


class Listener:
    """`python -m listener` as a process; `options` are further environment variables."""

    def __init__(self, directory: Path, database_url: str, pusher: PusherProcess, **options: str) -> None:
        self.log = directory / f"listener-{id(self)}.log"
        self.environment = {
            "PATH": os.environ["PATH"],
            "DATABASE_URL": database_url,
            **pusher.environment,
            **options,
        }
        self.spawn_child: Callable[..., ChildProcess] = ChildProcess
        self.child: ChildProcess | None = None

    def start(self) -> Self:
        """Returns when it publishes."""
        self.spawn().child_until(LEADS)
        return self

    def spawn(self) -> Self:
        """Returns at once."""
        command = [sys.executable, "-W", "error", "-m", "listener"]
        self.log.write_bytes(b"")  # The process may open it later than a test reads it.
        self.child = self.spawn_child("listener", command, log=self.log, cwd=ROOT, env=self.environment)
        return self

    def child_until(self, words: str, seconds: float = 20) -> None:
        """Waits until it has logged these words."""
        assert self.child is not None
        self.child.wait_until_ready(lambda: words in self.log.read_text(), seconds=seconds)

    def stop(self) -> int | None:
        """Ends it by SIGTERM; answers its exit code."""
        return self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Ends it by SIGKILL."""
        self._end()

    def pause(self) -> None:
        """Makes it hang, by SIGSTOP."""
        assert self.child is not None
        os.kill(self.child.pid, signal.SIGSTOP)

    def go_on(self) -> None:
        """Ends that, by SIGCONT."""
        assert self.child is not None
        os.kill(self.child.pid, signal.SIGCONT)

    def _end(self, *signals: signal.Signals) -> int | None:
        if self.child is None:
            return None
        self.child.stop(*signals)
        code, self.child = self.child.exit_code, None
        return code


@contextmanager
def listening(listener: Listener) -> Iterator[Listener]:
    """The listener, started and in the end stopped."""
    try:
        yield listener.start()
    finally:
        listener.stop()


class Subscriber:
    """A connection to Pusher that keeps the events it hears, each as (name, data)."""

    def __init__(self, pusher: PusherProcess, *channels: str, user: str = "") -> None:
        self._pusher = pusher
        url = f"ws://127.0.0.1:{pusher.port}/app/{pusher.key}?protocol=7&client=test&version=1"
        self._stack = ExitStack()
        self._socket = self._stack.enter_context(connect(url, max_size=None, compression=None))
        self.socket_id: str = json.loads(json.loads(self._socket.recv())["data"])["socket_id"]
        self.events: list[tuple[str, Any]] = []
        self.heard_on: list[str] = []
        self.closed = threading.Event()
        self._succeeded = 0
        if user:
            self._sign_in(user)
        self._thread = threading.Thread(target=self._listen)
        self._thread.start()
        for channel in channels:
            self.subscribe(channel)
        wait_until(lambda: self._succeeded == len(channels))

    def subscribe(self, channel: str, auth: str = "", channel_data: str | None = None) -> None:
        """Asks for a channel, with a signature of our own unless there is another."""
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

    def _listen(self) -> None:
        try:
            for frame in self._socket:
                message = json.loads(frame)
                if message["event"] == "pusher_internal:subscription_succeeded":
                    self._succeeded += 1
                elif ":" in message["event"] and not message["event"].startswith("pusher"):
                    self.hear(message["channel"], message["event"], json.loads(message["data"]))
        except ConnectionClosed:
            pass
        self.closed.set()

    def hear(self, channel: str, name: str, data: Any) -> None:
        """Notes an event as soon as it comes."""
        self.heard_on.append(channel)
        self.events.append((name, data))

    def heard(self, name: str) -> list[Any]:
        """The data of the events of this name."""
        return [data for event, data in list(self.events) if event == name]

    def close(self) -> None:
        """Ends the connection."""
        self._stack.close()
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
