"""The accepted image formats. The format of an upload is detected from its first bytes, not from its name or type."""

from collections.abc import Callable
from typing import NamedTuple

from api.images.reencode import gif, jpeg, png
from api.images.reencode.encoded_image import EncodedImage
from api.images.reencode.limits import MalformedError


class ImageFormat(NamedTuple):
    """An accepted format: the bytes that a file may begin with, and its re-encoder."""

    signatures: tuple[bytes, ...]
    reencode: Callable[..., EncodedImage]


FORMATS = (
    ImageFormat(gif.SIGNATURES, gif.reencode),
    ImageFormat((jpeg.SIGNATURE,), jpeg.reencode),
    ImageFormat((png.SIGNATURE,), png.reencode),
)


def detect_format(upload: bytes) -> ImageFormat:
    """Return the format of an upload. Raises MalformedError if it is not an accepted one."""
    for image_format in FORMATS:
        if upload.startswith(image_format.signatures):
            return image_format
    raise MalformedError("unknown format")
