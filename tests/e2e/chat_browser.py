"""Chromium with the page of a chat app in tabs, and the requests that each tab sends to the API."""

import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple, Self

from api.dev.process import find_free_port
from tests import ROOT
from tests.browser import find_program
from tests.e2e.npm import Npm, Program
from tests.waiting import wait_until

PROGRAM = Path(__file__).with_name("chat_browser.mjs")
PAGE = Path(__file__).with_name("chat_page")
PACKAGES = {"playwright-core": "1.65.1", "pusher-js": "8.6.0"}
(EXAMPLE,) = re.findall(r"```js\n(const request = .*?)```", (ROOT / "README.md").read_text(), flags=re.DOTALL)
# The values that the example has from the web app.
VALUES = "const { api, token, userId, key, options } = JSON.parse(decodeURIComponent(location.hash.slice(1)))\n"
ROWS = "[...document.querySelectorAll('#{} > li')].map((row) => [...row.children].map((cell) => cell.textContent))"


class Response(NamedTuple):
    """A response of the API."""

    method: str
    path: str
    status: int
    remaining: int | None  # X-RateLimit-Remaining

    @property
    def request(self) -> str:
        """The request, without the id of a chat."""
        return f"{self.method} {re.sub(r'/[0-9a-f-]{36}', '/{id}', self.path)}"


class Tab:
    """A tab with the page of a chat app."""

    def __init__(self, program: Program, name: str) -> None:
        self._program, self._name, self._counted = program, name, 0

    def evaluate(self, expression: str) -> Any:
        """Return the value of an expression, or of the promise that it returns."""
        return self._program.do("evaluate", self._name, expression)

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

    def wait_until(self, expression: str) -> None:
        """Wait until an expression is true."""
        wait_until(lambda: self.evaluate(expression))

    @property
    def responses(self) -> list[Response]:
        """All responses of the API to this tab, in their order."""
        return [Response(**response) for response in self._program.do("responses", self._name)]

    def new_requests(self) -> list[str]:
        """Return the requests since the last call, sorted, when the page has handled all events so far."""
        self.evaluate("queue")
        responses = self.responses[self._counted :]
        self._counted += len(responses)
        return sorted(response.request for response in responses)

    @property
    def errors(self) -> list[str]:
        """The errors of the page."""
        errors: list[str] = self._program.do("errors", self._name)
        return errors

    def close(self) -> None:
        """Close the tab."""
        self._program.do("close", self._name)


class ChatBrowser:
    """Chromium, and a server with the page: the README's example, and the client's own part.

    `files` are further files by their names in URLs.
    """

    def __init__(self, npm: Npm, directory: Path, **files: Path) -> None:
        chromium, modules = find_program(), npm.install(PACKAGES)
        live = directory / "live.js"
        live.write_text(VALUES + EXAMPLE)
        served = {file.name: file for file in PAGE.iterdir()} | files
        served |= {"live.js": live, "pusher.js": modules / "pusher-js/dist/web/pusher.js"}
        port = find_free_port()
        self.origin = f"http://127.0.0.1:{port}"
        self._program = Program(PROGRAM, modules)
        self._program.do("launch", chromium, {name: str(file) for name, file in served.items()}, port)
        self._tabs: list[Tab] = []

    def open(self, profile: str, api: str, pusher: Mapping[str, str], page: str = "index.html", **values: str) -> Tab:
        """Open the page in a new tab of a profile. `values` are those of the web app: userId and token."""
        options = {
            "cluster": "",
            "wsHost": pusher["PUSHER_HOST"],
            "wsPort": int(pusher["PUSHER_PORT"]),
            "forceTLS": False,
            "enabledTransports": ["ws"],
        }
        name = str(len(self._tabs))
        app = {"api": api, "key": pusher["PUSHER_KEY"], "options": options}
        self._program.do("open", name, profile, page, app | values)
        self._tabs.append(Tab(self._program, name))
        return self._tabs[-1]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        with suppress(OSError, ValueError):  # The program has ended with an error.
            self._program.do("quit")
        self._program.__exit__(*exception)


def count_by_headers(*tabs: Tab) -> int:
    """Return how many requests the rate limiter has counted, by the lowest X-RateLimit-Remaining of 10."""
    responses = list(chain.from_iterable(tab.responses for tab in tabs))
    assert all(response.status < 400 for response in responses), responses
    remaining = [response.remaining for response in responses if response.remaining is not None]
    assert len(remaining) == len(responses)
    assert sorted(remaining, reverse=True) == list(range(9, 9 - len(remaining), -1))
    return 10 - min(remaining, default=10)
