"""Chromium as the reference for the appearance of images: every frame, delay and loop count that it shows.

The page browser.html fetches images from a server in this process, and posts the pixels of each.
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
TIMEOUT_SECONDS = 60
CONTENT_TYPES = {b"GIF": "image/gif", b"\x89PN": "image/png", b"\xff\xd8\xff": "image/jpeg"}


@dataclass(frozen=True, slots=True)
class Picture:
    """RGBA pixels; fully transparent ones are black."""

    size: tuple[int, int]
    pixels: bytes


@dataclass(frozen=True, slots=True)
class Appearance:
    """The appearance of an image: its first frame, and all frames of an animation with their microseconds."""

    still: Picture
    frames: list[tuple[Picture, int]]
    repetitions: str


class NotRenderedError(Exception):
    """The browser does not show the image, or only a part of it."""


class Browser:
    """A page that renders one image after another."""

    def __init__(self) -> None:
        self._images, self._results = SimpleQueue[bytes](), SimpleQueue[bytes]()

    def render(self, content: bytes) -> Appearance:
        """Return the appearance of an image. Raises NotRenderedError."""
        self._images.put(content)
        result = json.loads(self._results.get(timeout=TIMEOUT_SECONDS))
        if "error" in result:
            raise NotRenderedError(result["error"])
        still, frames = parse_picture(result["still"]), result["frames"]
        if len(frames) == 1:
            return Appearance(still, [], "")
        pictures = [(parse_picture(frame), frame["microseconds"]) for frame in frames]
        return Appearance(still, pictures, result["repetitions"])

    def create_handler_class(self) -> type[BaseHTTPRequestHandler]:
        """Return a class of handlers for the requests of the page."""
        images, results = self._images, self._results

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_GET(self) -> None:
                self._respond("text/html", PAGE.read_bytes())

            def do_POST(self) -> None:
                if body := self.rfile.read(int(self.headers["Content-Length"])):
                    results.put(body)
                if content := images.get():
                    self._respond(CONTENT_TYPES[content[:3]], content)

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
        """End the page's pending request for another image."""
        self._images.put(b"")


def parse_picture(posted: dict[str, Any]) -> Picture:
    """Return a picture that the page has posted."""
    width, height = posted["size"]
    return Picture((width, height), bytes.fromhex(posted["pixels"]))


def find_program() -> str:
    """Return the path of Chromium; skip the test if it is not installed."""
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    if not program:
        pytest.skip("Chromium is not installed")
    return program


@contextmanager
def running_browser() -> Iterator[Browser]:
    """Run Chromium for the duration of the block; skip the test if it is not installed."""
    program, browser = find_program(), Browser()
    with (
        TemporaryDirectory(prefix="parley-browser-", ignore_cleanup_errors=True) as directory,
        ThreadingHTTPServer(("127.0.0.1", 0), browser.create_handler_class()) as server,
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
