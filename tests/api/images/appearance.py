"""Compare a stored image with its upload, as Chromium shows both."""

from PIL import Image, ImageChops

from api.images.reencode.__main__ import reencode as stored
from tests import images
from tests.browser import Browser, Picture


def assert_looks_alike(browser: Browser, upload: bytes) -> None:
    """What is stored of an upload is seen as that is; Pillow reads it, too."""
    _, content = stored(upload)
    assert browser.look_at(content) == browser.look_at(upload)
    images.frames_of(content)


def apart(one: Picture, other: Picture) -> int:
    """How far two pictures are apart where they are farthest."""
    assert one.size == other.size
    difference = ImageChops.difference(*(Image.frombytes("RGBA", seen.size, seen.pixels) for seen in (one, other)))
    return max(high for _, high in difference.getextrema())  # type: ignore[misc]
