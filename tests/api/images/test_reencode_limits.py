"""The limits of re-encoding, each from both sides: pixels and frames of an upload, and bytes of the result."""

import pytest
from PIL import Image

from api.images import reencode
from api.images.reencode.__main__ import reencode as stored
from tests.api.images.small_images import DOT, RED, apng, frame, rgby
from tests.crafted import gif_frame


def black(width: int, height: int) -> bytes:
    """A frame of a GIF in one colour, large for its bytes."""
    return gif_frame((0, 0, width, height), data=Image.new("L", (width, height)).tobytes("gif", "L", 2) + b"\0")


def test_pixels_of_all_frames_are_bounded_on_the_canvas_and_outside() -> None:
    width, height = 18_631, 1_801
    assert width * height == reencode.MAX_PIXELS - 1
    stored(rgby(black(1, 1), black(width, height), size=(1, 1)))
    stored(rgby(*[DOT] * 8, size=(2048, 2048)))
    for upload in (
        rgby(black(1, 1), black(1, 1), black(width, height), size=(1, 1)),
        rgby(*[DOT] * 9, size=(2048, 2048)),
    ):
        with pytest.raises(reencode.RefusedError, match=f"at most {reencode.MAX_PIXELS} pixels in all its"):
            stored(upload)


def test_frames_are_bounded() -> None:
    dots = [frame(2 * number + 1, 0, [RED]) for number in range(reencode.MAX_FRAMES)]
    stored(rgby(*[DOT] * 1000))
    stored(apng(*dots[:-1], frames=1000))
    for upload in (rgby(*[DOT] * 1001), apng(*dots, frames=1001)):
        with pytest.raises(reencode.RefusedError, match="must have at most 1000 frames, and has 1001"):
            stored(upload)


def test_output_is_bounded() -> None:
    largest = [bytes(reencode.OUTPUT_BYTES - 1), b"x"]
    assert list(reencode.limit_output(largest)) == largest
    with pytest.raises(reencode.RefusedError, match="is too intricate to be stored"):
        list(reencode.limit_output([*largest, b"x"]))
