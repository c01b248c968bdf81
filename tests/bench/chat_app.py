"""A chat app in a browser, behind one address, with the default rate limit: how many requests it sends, and how soon it
is live. `python -m tests.bench.chat_app [--chats 30] [--seconds 120]`

Compares the README's example, which lives on one channel, with a page that subscribes to the channel of each chat: with
pusher-js alone, which gives a subscription up after the first refusal, and with requests that wait for Retry-After.
"""

import argparse
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import psycopg

from api.dev.postgres import Postgres
from api.dev.process import poll_until
from api.dev.pusher_process import PusherProcess
from api.dev.valkey import Valkey
from tests.api_process import Api, running
from tests.database import new_chat
from tests.e2e.chat_browser import ChatBrowser, ChatTab
from tests.e2e.npm import Npm
from tests.servers import migrate, open_directory
from tests.tokens import token

USERS = ("ada", "bob")
PAGES: dict[str, dict[str, Any]] = {
    "a channel for each chat": {"page": "chat_app.html"},
    "a channel for each chat, paced": {"page": "chat_app.html", "isPaced": "true"},
    "one channel": {"page": "index.html"},
}
IS_LIVE = "queue.then(() => channel.subscribed && chats.size > 0)"  # of the README's example
WINDOWS_SECONDS = 20  # after which the limiter has forgotten all requests


class App:
    """A chat app, and the servers that it needs."""

    def __init__(self, stack: ExitStack, chats: int, seconds: float) -> None:
        self.chats, self.seconds = chats, seconds
        directory = stack.enter_context(open_directory())
        postgres = stack.enter_context(Postgres(directory / "postgres"))
        valkey = stack.enter_context(Valkey(directory / "valkey"))
        self.pusher = stack.enter_context(PusherProcess(directory / "pusher"))
        own_page = {"chat_app.html": Path(__file__).with_suffix(".html")}
        self.browser = stack.enter_context(ChatBrowser(Npm(directory), directory, **own_page))
        migrate(postgres)
        with psycopg.connect(postgres.url("parley"), autocommit=True) as dba:
            for number in range(chats):
                new_chat(dba, *USERS, title=f"Chat {number}")
        settings = {"ALLOWED_ORIGINS": self.browser.origin, **self.pusher.environment}
        self._new_api: Callable[[str], Api] = lambda prefix: Api(
            directory, postgres.url("parley", "app", "app"), valkey.url(), RATE_LIMIT_PREFIX=prefix, **settings
        )

    @contextmanager
    def open_tabs(self, name: str, users: tuple[str, ...]) -> Iterator[list[ChatTab]]:
        """Open the page in a tab for each user, with a new budget, and print the cost; yield the tabs."""
        with running(self._new_api(f"{name} {users}")) as api:
            begun = time.monotonic()
            tabs = [
                self.browser.open(user, api.url, self.pusher.environment, userId=user, token=token(user), **PAGES[name])
                for user in users
            ]
            self.print_cost(name, f"start of {len(users)} tabs", tabs, begun)
            yield tabs
            for tab in tabs:
                tab.close()

    def print_cost(self, name: str, case: str, tabs: list[ChatTab], begun: float, earlier: int = 0) -> None:
        """Wait until all tabs are live; print the requests, beside earlier ones, the refusals and the seconds."""
        is_live = f"isLive({self.chats})" if "chat_app" in PAGES[name]["page"] else IS_LIVE
        are_live = poll_until(lambda: all(tab.evaluate(is_live) for tab in tabs), self.seconds, interval=0.1)
        seconds = f"{time.monotonic() - begun:.1f} s" if are_live else "never live"
        responses = [response for tab in tabs for response in tab.responses][earlier:]
        refused = sum(response.status == 429 for response in responses)
        print(f"{name}: {case}: {len(responses)} requests, {refused} refused, {seconds}", flush=True)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--chats", type=int, default=30)
    parser.add_argument("--seconds", type=float, default=120)
    arguments = parser.parse_args()
    with ExitStack() as stack:
        app = App(stack, arguments.chats, arguments.seconds)
        for name in PAGES:
            with app.open_tabs(name, USERS[:1]) as tabs:
                time.sleep(WINDOWS_SECONDS)
                earlier = len(tabs[0].responses)
                tabs[0].evaluate("pusher.disconnect()")
                tabs[0].evaluate("pusher.connect()")
                app.print_cost(name, "after a lost connection", tabs, time.monotonic(), earlier)
            with app.open_tabs(name, USERS * 2):
                pass


if __name__ == "__main__":
    main()
