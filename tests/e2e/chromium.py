"""Chromium with tabs, by playwright-core, and the requests that each tab sends to other origins than its own."""

import itertools
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple, Self

from tests.browser import find_program
from tests.e2e.npm import Npm, Program
from tests.waiting import wait_until

PROGRAM = Path(__file__).with_suffix(".mjs")
PACKAGES = {"playwright-core": "1.65.1", "pusher-js": "8.6.0", "axe-core": "4.14.1"}


class Response(NamedTuple):
    """A response to a tab."""

    method: str
    path: str
    query: str
    status: int
    remaining: int | None  # X-RateLimit-Remaining

    @property
    def request(self) -> str:
        """The request, without the id of a chat."""
        return f"{self.method} {re.sub(r'/[0-9a-f-]{36}', '/{id}', self.path)}"


class Chromium:
    """Chromium, and optionally a server of files."""

    def __init__(self, npm: Npm) -> None:
        chromium, self.modules = find_program(), npm.install(PACKAGES)
        self._program, self._names = Program(PROGRAM, self.modules), itertools.count()
        self.do("launch", chromium)

    def do(self, command: str, *values: Any) -> Any:
        """Run a command of the program; return its result. Fails the test if the command fails."""
        response = self._program.do(command, *values)
        assert "error" not in response, f"{command}: {response['error']}"
        return response["result"]

    def serve(self, files: Mapping[str, Path], port: int) -> None:
        """Serve files by their names in URLs."""
        self.do("serve", {name: str(file) for name, file in files.items()}, port)

    def new_name(self) -> str:
        """Return the name of another tab."""
        return str(next(self._names))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        with suppress(OSError, ValueError):  # The program has ended with an error.
            self._program.do("quit")
        self._program.__exit__(*exception)


class Tab:
    """A tab of a profile, which has its own cookies and storage. `options` are Playwright's for a new profile."""

    def __init__(self, chromium: Chromium, profile: str, url: str, **options: Any) -> None:
        self._chromium, self._name, self._counted = chromium, chromium.new_name(), 0
        chromium.do("open", self._name, profile, url, options)

    def evaluate(self, expression: str) -> Any:
        """Return the value of an expression in the page, or of the promise that it returns."""
        return self._chromium.do("evaluate", self._name, expression)

    def run(self, code: str, value: Any = None) -> Any:
        """Run JavaScript that uses Playwright's `page` and the `value`; return its result."""
        return self._chromium.do("run", self._name, code, value)

    def wait_until(self, expression: str) -> None:
        """Wait until an expression is true."""
        wait_until(lambda: self.evaluate(expression))

    @property
    def responses(self) -> list[Response]:
        """All responses to this tab from other origins, in their order."""
        return [Response(**response) for response in self._chromium.do("responses", self._name)]

    def count_new_requests(self) -> list[str]:
        """Return the requests since the last call, sorted."""
        responses = self.responses[self._counted :]
        self._counted += len(responses)
        return sorted(response.request for response in responses)

    @property
    def errors(self) -> list[str]:
        """The errors of the page, and in its console."""
        errors: list[str] = self._chromium.do("errors", self._name)
        return errors

    def close(self) -> None:
        """Close the tab."""
        self._chromium.do("close", self._name)
