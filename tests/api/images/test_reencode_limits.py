"""The limits on the pixels and frames of an upload and the bytes of the output, each tested on both sides."""

import pytest
from PIL import Image

from api.images.reencode import limits
from api.images.reencode.__main__ import reencode
from tests.api.images.small_images import DOT, RED, apng, frame, rgby_gif
from tests.crafted import gif_frame


def black(width: int, height: int) -> bytes:
    """A frame of a GIF in one colour: many pixels in few bytes."""
    return gif_frame((0, 0, width, height), data=Image.new("L", (width, height)).tobytes("gif", "L", 2) + b"\0")


def test_total_pixels_are_limited_on_the_canvas_and_outside() -> None:
    width, height = 18_631, 1_801
    assert width * height == limits.MAX_PIXELS - 1
    reencode(rgby_gif(black(1, 1), black(width, height), size=(1, 1)))
    reencode(rgby_gif(*[DOT] * 8, size=(2048, 2048)))
    for upload in (
        rgby_gif(black(1, 1), black(1, 1), black(width, height), size=(1, 1)),
        rgby_gif(*[DOT] * 9, size=(2048, 2048)),
    ):
        with pytest.raises(limits.RejectedError, match=f"at most {limits.MAX_PIXELS} pixels in all its"):
            reencode(upload)


def test_frames_are_limited() -> None:
    dots = [frame(2 * number + 1, 0, [RED]) for number in range(limits.MAX_FRAMES)]
    reencode(rgby_gif(*[DOT] * 1000))
    reencode(apng(*dots[:-1], frames=1000))
    for upload in (rgby_gif(*[DOT] * 1001), apng(*dots, frames=1001)):
        with pytest.raises(limits.RejectedError, match="must have at most 1000 frames, and has 1001"):
            reencode(upload)


def test_output_is_limited() -> None:
    largest = [bytes(limits.MAX_OUTPUT_BYTES - 1), b"x"]
    assert list(limits.limit_output(largest)) == largest
    with pytest.raises(limits.RejectedError, match="is too complex to be stored"):
        list(limits.limit_output([*largest, b"x"]))
