"""Compare a re-encoded image with its upload, as Chromium shows both."""

from PIL import Image, ImageChops

from api.images.reencode.__main__ import reencode
from tests import images
from tests.browser import Browser, Picture


def assert_looks_alike(browser: Browser, upload: bytes) -> None:
    """Assert that the re-encoded upload has the same frames in Chromium, and that Pillow can decode it."""
    content = reencode(upload).content
    assert browser.render(content) == browser.render(upload)
    images.decode_frames(content)


def measure_max_difference(one: Picture, other: Picture) -> int:
    """Return the largest difference of any pixel and channel, 0 to 255."""
    assert one.size == other.size
    difference = ImageChops.difference(
        *(Image.frombytes("RGBA", picture.size, picture.pixels) for picture in (one, other))
    )
    return max(high for _, high in difference.getextrema())  # type: ignore[misc]
