"""Chromium with the page of a chat app in tabs: the README's example, and the client's own part."""

import json
import re
from collections.abc import Iterable, Mapping
from itertools import chain
from pathlib import Path
from urllib.parse import quote

from api.dev.process import find_free_port
from tests import ROOT
from tests.e2e.chromium import Chromium, Tab
from tests.e2e.npm import Npm
from tests.waiting import wait_until

PAGE = Path(__file__).with_name("chat_page")
(EXAMPLE,) = re.findall(r"```js\n(const request = .*?)```", (ROOT / "README.md").read_text(), flags=re.DOTALL)
# The values that the example has from the web app.
VALUES = "const { api, token, userId, key, options } = JSON.parse(decodeURIComponent(location.hash.slice(1)))\n"
ROWS = "[...document.querySelectorAll('#{} > li')].map((row) => [...row.children].map((cell) => cell.textContent))"


class ChatTab(Tab):
    """A tab with the page of a chat app."""

    def rows(self, of: str = "chats") -> list[list[str]]:
        """Return the texts of a list on the screen."""
        rows: list[list[str]] = self.evaluate(ROWS.format(of))
        return rows

    def wait_for_rows(self, expected: Iterable[list[str]], of: str = "chats") -> None:
        """Wait until the screen shows these rows."""
        rows = list(expected)
        try:
            wait_until(lambda: self.rows(of) == rows)
        except AssertionError:
            assert self.rows(of) == rows, (self.errors, self.responses)  # shows the difference
            raise

    def new_requests(self) -> list[str]:
        """Return the requests since the last call, sorted, when the page has handled all events so far."""
        self.evaluate("queue")
        return self.count_new_requests()


class ChatBrowser(Chromium):
    """Chromium, and a server with the page. `files` are further files by their names in URLs."""

    def __init__(self, npm: Npm, directory: Path, **files: Path) -> None:
        super().__init__(npm)
        live = directory / "live.js"
        live.write_text(VALUES + EXAMPLE)
        served = {file.name: file for file in PAGE.iterdir()} | files
        port = find_free_port()
        self.origin = f"http://127.0.0.1:{port}"
        self.serve(served | {"live.js": live, "pusher.js": self.modules / "pusher-js/dist/web/pusher.js"}, port)

    def open(
        self, profile: str, api: str, pusher: Mapping[str, str], page: str = "index.html", **values: str
    ) -> ChatTab:
        """Open the page in a new tab of a profile. `values` are those of the web app: userId and token."""
        options = {
            "cluster": "",
            "wsHost": pusher["PUSHER_HOST"],
            "wsPort": int(pusher["PUSHER_PORT"]),
            "forceTLS": False,
            "enabledTransports": ["ws"],
        }
        app = {"api": api, "key": pusher["PUSHER_KEY"], "options": options, **values}
        return ChatTab(self, profile, f"{self.origin}/{page}#{quote(json.dumps(app))}")


def count_by_headers(*tabs: Tab) -> int:
    """Return how many requests the rate limiter has counted, by the lowest X-RateLimit-Remaining of 10."""
    responses = list(chain.from_iterable(tab.responses for tab in tabs))
    assert all(response.status < 400 for response in responses), responses
    remaining = [response.remaining for response in responses if response.remaining is not None]
    assert len(remaining) == len(responses)
    assert sorted(remaining, reverse=True) == list(range(9, 9 - len(remaining), -1))
    return 10 - min(remaining, default=10)
