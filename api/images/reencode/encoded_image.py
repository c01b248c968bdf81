"""The result of re-encoding an image."""

from typing import NamedTuple


class EncodedImage(NamedTuple):
    """A re-encoded image, with its size in pixels."""

    content_type: str
    width: int
    height: int
    content: bytes
