"""Malformed and truncated GIFs and PNGs are rejected.

A truncated GIF may be accepted instead if the re-encoded image looks like the upload in a browser.
"""

import zlib
from contextlib import suppress
from tempfile import TemporaryFile

import pytest

from api.http.errors import ApiError
from api.images.kinds import PROFILE_IMAGE
from api.images.reencode.__main__ import reencode
from api.images.reencode_process import run_reencoder
from tests.api.images.appearance import assert_looks_alike
from tests.api.images.small_images import DOT, FOUR, RED, RGBY, TEXT, apng, coloured_png, frame, indexed_png, rgby_gif
from tests.browser import Browser
from tests.crafted import Control, chunk, compressed_pixels, frame_control, frame_data, gif_frame, loop_extension, png

MALFORMED_GIFS = {
    "no frame": rgby_gif(),
    "no pixel": rgby_gif(gif_frame((0, 0, 0, 0)), size=(0, 0)),
    "too few pixels": rgby_gif(gif_frame((0, 0, 4, 1), [0, 1])),
    "a code behind the table": rgby_gif(gif_frame((0, 0, 4, 1), data=b"\2\xc4\1\0")),
    "a small code size": rgby_gif(gif_frame((0, 0, 4, 1), [0, 1, 0, 1], code_bits=1)),
    "a large code size": rgby_gif(gif_frame((0, 0, 4, 1), [0, 1, 2, 3], code_bits=9)),
    "a long control": rgby_gif(b"!\xf9\5\0\0\0\0\0\0", FOUR),
    "a broken frame outside": rgby_gif(FOUR, gif_frame((9, 9, 4, 1), [0, 1])),
}
MALFORMED_PNGS = {
    "no palette": indexed_png(),
    "two palettes": indexed_png(chunk(b"PLTE", RGBY), chunk(b"PLTE", RGBY)),
    "an unknown critical chunk": coloured_png(2, chunk(b"ABCD")),
    "no pixel": png(0, 1, 2, 8, chunk(b"IDAT", zlib.compress(b"\0"))),
    "too few pixels": png(9, 1, 2, 8, chunk(b"IDAT", zlib.compress(b"\0"))),
    "an unknown depth": png(1, 1, 2, 4, chunk(b"IDAT", zlib.compress(bytes(9)))),
    "an unknown filter": png(1, 1, 2, 8, chunk(b"IDAT", zlib.compress(b"\7\0\0\0"))),
    "a bad checksum": coloured_png(2).replace(b"IDAT", b"idAT"),
    "pixels apart": png(1, 1, 2, 8, chunk(b"IDAT", zlib.compress(bytes(4))), TEXT, chunk(b"IDAT")),
    "a frame outside": apng(frame(1, 2, [RED, RED])),
    "a frame of no size": apng(frame_control(1, (0, 0, 0, 1)), frame_data(2, zlib.compress(b""))),
    "a small first frame": apng(frame(1, 1, [RED]), first=frame_control(0, (0, 0, 1, 1))),
    "a missing number": apng(frame(2, 1, [RED])),
    "an unknown disposal": apng(frame(1, 1, [RED], disposal=3)),
    "an unknown blending": apng(frame(1, 1, [RED], blending=2)),
    "pixels without a control": apng(frame_data(1, compressed_pixels([RED], 1, 1, 8))),
    "an animation without frames": apng(first=b""),
}


@pytest.mark.parametrize(
    "upload", [*MALFORMED_GIFS.values(), *MALFORMED_PNGS.values()], ids=[*MALFORMED_GIFS, *MALFORMED_PNGS]
)
def test_malformed_image_is_rejected(upload: bytes) -> None:
    with TemporaryFile() as file:
        file.write(upload)
        file.seek(0)
        with pytest.raises(ApiError) as caught:
            run_reencoder(file, PROFILE_IMAGE)
    assert caught.value.details == {"fields": {"image": "must be a complete JPEG, PNG or GIF image"}}


def test_truncated_gif_is_rejected_or_looks_like_its_upload(browser: Browser) -> None:
    upload = rgby_gif(loop_extension(3), Control(0, 10), FOUR, Control(0, 10), DOT)
    for size in range(len(upload)):
        with suppress(Exception):  # The program responds to each with a validation error.
            reencode(upload[:size])
            assert_looks_alike(browser, upload[:size])


def test_truncated_apng_is_rejected() -> None:
    upload = apng(frame(1, 1, [RED]), frame(3, 2, [RED]), frames=3)
    for size in range(len(upload)):
        with pytest.raises(Exception):  # noqa: B017, PT011 (The program responds to each with a validation error.)
            reencode(upload[:size])
