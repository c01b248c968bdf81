"""The example app: its build, its server with all servers of Parley, and its users in Chromium."""

import fcntl
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg

from api.dev.node import build_environment
from api.dev.postgres import Postgres
from api.dev.process import find_free_port
from api.dev.pusher_process import PusherProcess
from api.dev.web_app import WebApp, build_variables
from tests.api.support import unlimited_client
from tests.api_process import Api, running
from tests.database import Connection, call
from tests.e2e.chromium import Chromium
from tests.listener.process import Listener, running_listener
from tests.tokens import SECRET
from tests.waiting import wait_until

BUILD_SECONDS = 300


def build_example(client: Path) -> Path:
    """Build the client and the example in a copy of `api/client` with its packages, once for all workers."""
    with (client / "build.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # waits for another worker that builds it
        if not (client / "example/.next/BUILD_ID").exists():
            for command in (["npm", "run", "build"], ["npm", "run", "build", "--workspace", "example"]):
                done = subprocess.run(
                    command, cwd=client, env=build_environment({}), capture_output=True, text=True, check=False,
                    timeout=BUILD_SECONDS,
                )  # fmt: skip
                assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return client


class User:
    """A user with a new ID, who also sends requests from other addresses than the browser's."""

    def __init__(self, example: "Example", name: str) -> None:
        self.name = f"{name} {uuid4().hex[:6]}"  # as entered at the sign-in
        self.id = self.name.lower().replace(" ", "-")
        self._example = example
        call(example.dba, self.id, "update_profile", {"name": self.name})

    def request(self, method: str, path: str, body: Any = None, **options: Any) -> Any:
        """Send a request; return the body of the response."""
        with unlimited_client(self._example.api, self.id) as client:
            response = client.request(method, f"/api/{path}", json=body, **options)
        assert response.is_success, response.text
        return response.json() if response.content else None


@dataclass
class Example:
    """The example app with its servers. All tabs have one address."""

    dba: Connection
    pusher: PusherProcess
    listener: Listener
    api: Api
    url: str
    browser: Chromium
    stack: ExitStack = field(default_factory=ExitStack)  # of a test

    def settle(self) -> None:
        """Return when all events are published."""
        wait_until(lambda: self.dba.execute("select from parley.outbox_queue limit 1").rowcount == 0)

    def restart_api(self, **settings: str) -> None:
        """Restart the API, with other settings."""
        self.api.stop()
        self.api.environment |= settings
        self.api.start()


@contextmanager
def running_example(
    client: Path,
    browser: Chromium,
    directory: Path,
    postgres: Postgres,
    database: str,
    new_api: Callable[..., Api],
) -> Iterator[Example]:
    """Start the example, with the servers of Parley on a database."""
    port = find_free_port()
    url = f"http://localhost:{port}"
    with ExitStack() as stack:
        pusher = stack.enter_context(PusherProcess(directory / "pusher"))
        listener = Listener(directory, postgres.url(database, "events", "events"), pusher)
        settings = {"ALLOWED_ORIGINS": url, "PUSHER_KEY": pusher.key, "PUSHER_SECRET": pusher.secret}
        api = stack.enter_context(running(new_api(database, RATE_LIMIT_REQUESTS="100000", **settings)))
        stack.enter_context(running_listener(listener))
        environment = {**pusher.environment, "PUBLIC_URL": api.url, "NEXTAUTH_SECRET": SECRET}
        variables = build_variables(environment, port)
        stack.enter_context(WebApp(directory / "web", port, variables, command="start", client=client))
        dba = stack.enter_context(psycopg.connect(postgres.url(database), autocommit=True))
        yield Example(dba, pusher, listener, api, url, browser)
