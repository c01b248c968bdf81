"""pusher-js as a client in its own process, with its users and servers."""

import json
import os
import signal
import subprocess
import threading
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path
from typing import Any, Self

import psycopg

from api.dev.postgres import Postgres
from api.dev.pusher_process import PusherProcess
from tests.api_process import Api, running
from tests.database import Connection
from tests.e2e.soketi import Soketi
from tests.listener.process import Listener, running_listener
from tests.tokens import new_user, token
from tests.waiting import wait_until

CLIENT = Path(__file__).with_name("pusher_client.js")
PAUSE = 0.02  # seconds between two changes of a user
TERMINATED = 4009  # the code with which Pusher closes connections of a terminated user
Event = tuple[str, str, Any]


class LineProcess:
    """A JavaScript program with the line protocol of pusher_client.js."""

    def __init__(self, program: Path, environment: Mapping[str, str]) -> None:
        self._lines: list[tuple[str | None, str, Any]] = []
        self._process = subprocess.Popen(
            ["node", program],
            env={"PATH": os.environ["PATH"], **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def do(self, command: str, *values: Any) -> None:
        """Send a command; its effects are read later."""
        assert self._process.stdin
        self._process.stdin.write(json.dumps([command, *values]) + "\n")
        self._process.stdin.flush()

    def wait_for(self, event: str, channel: str | None = None, times: int = 1) -> Any:
        """Wait until an event was received a number of times; return the data of the last one."""
        wait_until(lambda: len(self.find(event, channel)) >= times or self._process.poll() is not None)
        return self.find(event, channel)[times - 1]

    def find(self, event: str, channel: str | None = None) -> list[Any]:
        """Return the data of each event of this name that was received."""
        return [line[2] for line in list(self._lines) if line[:2] == (channel, event)]

    @property
    def pid(self) -> int:
        """The id of the process."""
        return self._process.pid

    def _read(self) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            channel, event, data = json.loads(line)
            self._lines.append((channel, event, data))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with self._process:
            self._process.kill()
            self._thread.join()


class PusherJsClient(LineProcess):
    """pusher-js in a process of its own, with the headers of its requests to the API."""

    def __init__(self, modules: Path, api_url: str, pusher: Mapping[str, str], headers: Mapping[str, str]) -> None:
        super().__init__(CLIENT, {"NODE_PATH": str(modules)})
        if "Cookie" in headers:
            self.do("allowCookies")
        authorization = {"transport": "ajax", "headers": dict(headers)}
        options = {
            "wsHost": pusher["PUSHER_HOST"],
            "wsPort": int(pusher["PUSHER_PORT"]),
            "cluster": "",
            "forceTLS": False,
            "enabledTransports": ["ws"],  # with others it would connect to Pusher itself while our server is down
            "channelAuthorization": authorization | {"endpoint": f"{api_url}/api/pusher/auth"},
            "userAuthentication": authorization | {"endpoint": f"{api_url}/api/pusher/user-auth"},
        }
        self.do("open", pusher["PUSHER_KEY"], options)

    def sign_in(self) -> Self:
        """Sign in; return after the response."""
        self.do("signin")
        self.wait_for("pusher:signin_success")
        return self

    def subscribe(self, *channels: str) -> Self:
        """Subscribe to channels; return after the responses."""
        for channel in channels:
            self.do("subscribe", channel)
        for channel in channels:
            self.wait_for("pusher:subscription_succeeded", channel)
        return self

    def is_rejected(self, channel: str, status: int = 403) -> bool:
        """Wait for the rejection of a subscription; return whether it has this status."""
        return bool(self.wait_for("pusher:subscription_error", channel)["status"] == status)

    def ping(self) -> None:
        """Wait until the server has sent all pending events."""
        pongs = sum(line[1] == "pusher:pong" for line in list(self._lines))
        self.do("ping")
        self.wait_for("pusher:pong", times=pongs + 1)

    @property
    def received(self) -> list[Event]:
        """The events so far that arrived under their own names, each as (channel, name, data)."""
        return [event for event in self._events if event[1] != "chat:event"]

    @property
    def entries(self) -> list[Any]:
        """The entries of logs so far, which arrived as `chat:event`."""
        return [data for _, name, data in self._events if name == "chat:event"]

    @property
    def _events(self) -> list[Event]:
        return [
            (channel, name, data)
            for channel, name, data in list(self._lines)
            if channel and not name.startswith("pusher:")
        ]


@contextmanager
def frozen(pid: int) -> Iterator[None]:
    """Stop a process for the block, by SIGSTOP."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


class Servers:
    """A Pusher server, an API and a listener, with their users."""

    def __init__(self, api: Api, pusher: PusherProcess, listener: Listener, dba: Connection, modules: Path) -> None:
        self.api, self.pusher, self.listener, self.dba, self.modules = api, pusher, listener, dba, modules
        self.stack = ExitStack()

    def new_user(self, name: str) -> "User":
        return User(self, name)

    def new_chat(self, owner: "User", *members: "User") -> str:
        """Create a chat of these users; return its id."""
        chat: str = owner.request("POST", "chats", {"title": "Plans"})["id"]
        for member in members:
            member.request("GET", "chats")  # so that the user exists
            owner.request("POST", f"chats/{chat}/members", {"userId": member.id})
        return chat

    def settle(self, *clients: PusherJsClient) -> None:
        """Return when all events are published and these clients have received theirs."""
        wait_until(lambda: not self.fetch_number("count(*) from parley.outbox_queue"))
        assert not self.fetch_number("count(*) from parley.outbox where dead_lettered_at is not null")
        for client in clients:
            client.ping()

    def fetch_number(self, expression: str) -> int:
        """Return the value of an SQL expression, as a superuser."""
        row = self.dba.execute(f"select {expression}").fetchone()
        assert row
        return int(row[0])


@contextmanager
def running_servers(
    kind: str,
    directory: Path,
    modules: Path,
    postgres: Postgres,
    new_database: Callable[[str], str],
    new_api: Callable[..., Api],
) -> Iterator[Servers]:
    """Run servers with their files in a directory; the Pusher server is the local one, or `soketi`."""
    database = new_database(f"parley_{directory.name.replace('-', '_')}")
    pusher = Soketi(directory, modules) if kind == "soketi" else PusherProcess(directory)
    with psycopg.connect(postgres.url(database), autocommit=True) as dba, pusher:
        settings = {"PUSHER_KEY": pusher.key, "PUSHER_SECRET": pusher.secret, "RATE_LIMIT_REQUESTS": "1000"}
        listener = Listener(directory, postgres.url(database, "events", "events"), pusher)
        with running(new_api(database, **settings)) as api, running_listener(listener):
            yield Servers(api, pusher, listener, dba, modules)


class User:
    """A user with a session, whose id in base64url differs from that in base64."""

    def __init__(self, servers: Servers, name: str) -> None:
        self.id = new_user(f"~~~???{name}")
        self.pusher_id = urlsafe_b64encode(self.id.encode()).rstrip(b"=").decode()
        self.channel = f"private-user-{self.pusher_id}"
        self.token = token(self.id, name=name)
        self._servers = servers
        self._http = servers.stack.enter_context(servers.api.client("", Authorization=f"Bearer {self.token}"))

    def request(self, method: str, path: str, body: Any = None) -> Any:
        """Send a request; return the body of the response."""
        response = self._http.request(method, f"/api/{path}", json=body)
        assert response.is_success, response.text
        return response.json() if response.content else None

    def send(self, chat: str, content: str) -> Event:
        """Send a message; return the event that subscribers receive."""
        sent = self.request("POST", f"chats/{chat}/messages", {"content": content})
        return f"private-chat-{chat}", "message:sent", sent

    def write_until(self, stop: threading.Event, chat: str) -> None:
        """Send messages, and edit and delete some of them, until the event is set."""
        for number in count():
            _, _, message = self.send(chat, f"{self.id} {number}")
            path = f"chats/{chat}/messages/{message['id']}"
            if number % 3 == 0:
                self.request("PUT", path, {"content": f"{self.id} {number}, edited"})
            if number % 4 == 0:
                self.request("DELETE", path)
            if stop.wait(PAUSE):
                return

    def open_client(self, **headers: str) -> PusherJsClient:
        """Open a client, with the user's token unless other headers are given."""
        headers = headers or {"Authorization": f"Bearer {self.token}"}
        servers = self._servers
        client = PusherJsClient(servers.modules, servers.api.url, servers.pusher.environment, headers)
        return servers.stack.enter_context(client)
