"""Chromium as the judge of how an image looks: tests get every frame, delay and loop count that it shows.

The page, browser.html, fetches images from a server in this process, and posts what it sees of each.
"""

import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import SimpleQueue
from tempfile import TemporaryDirectory
from threading import Thread
from typing import Any

import pytest

PAGE = Path(__file__).with_suffix(".html")
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = ("--headless=new", "--no-sandbox", "--no-first-run", "--disable-gpu", "--disable-background-networking",
         "--disable-component-update", "--disable-sync")  # fmt: skip
SECONDS = 60
TYPES = {b"GIF": "image/gif", b"\x89PN": "image/png", b"\xff\xd8\xff": "image/jpeg"}


@dataclass(frozen=True, slots=True)
class Picture:
    """RGBA pixels; the colour of fully transparent ones is black."""

    size: tuple[int, int]
    pixels: bytes


@dataclass(frozen=True, slots=True)
class Sight:
    """How an image looks: as an <img> at first, and, if it moves, frame by frame with microseconds."""

    still: Picture
    frames: list[tuple[Picture, int]]
    repetitions: str


class UnseenError(Exception):
    """The browser does not show the image, or not all of it."""


class Browser:
    """A page that shows one image after the other."""

    def __init__(self) -> None:
        self._images, self._sights = SimpleQueue[bytes](), SimpleQueue[bytes]()

    def look_at(self, content: bytes) -> Sight:
        """How an image looks. Raises UnseenError."""
        self._images.put(content)
        seen = json.loads(self._sights.get(timeout=SECONDS))
        if "error" in seen:
            raise UnseenError(seen["error"])
        still, frames = picture(seen["still"]), seen["frames"]
        if len(frames) == 1:
            return Sight(still, [], "")
        return Sight(still, [(picture(frame), frame["microseconds"]) for frame in frames], seen["repetitions"])

    def new_handler(self) -> type[BaseHTTPRequestHandler]:
        """A class of handlers for the requests of the page."""
        images, sights = self._images, self._sights

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_GET(self) -> None:
                self._respond("text/html", PAGE.read_bytes())

            def do_POST(self) -> None:
                if body := self.rfile.read(int(self.headers["Content-Length"])):
                    sights.put(body)
                if content := images.get():
                    self._respond(TYPES[content[:3]], content)

            def _respond(self, content_type: str, content: bytes) -> None:
                self.send_response(200)
                self.send_header("Content-Type", content_type)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                pass

        return Handler

    def stop_waiting(self) -> None:
        """Ends the page's request for another image."""
        self._images.put(b"")


def picture(seen: dict[str, Any]) -> Picture:
    """A picture as the page describes it."""
    width, height = seen["size"]
    return Picture((width, height), bytes.fromhex(seen["pixels"]))


def find_program() -> str:
    """The path of a browser; skips the test where none is installed."""
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if not found:
        pytest.skip("there is no Chromium")
    return found


@contextmanager
def running_browser() -> Iterator[Browser]:
    """A browser for the block; skips the test where none is installed."""
    program, browser = find_program(), Browser()
    with (
        TemporaryDirectory(prefix="parley-browser-", ignore_cleanup_errors=True) as directory,
        ThreadingHTTPServer(("127.0.0.1", 0), browser.new_handler()) as server,
    ):
        Thread(target=server.serve_forever).start()
        url = f"http://127.0.0.1:{server.server_port}/"
        command = [program, *FLAGS, f"--user-data-dir={directory}", url]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            try:
                yield browser
            finally:
                browser.stop_waiting()
                process.terminate()
                process.wait()
                server.shutdown()
