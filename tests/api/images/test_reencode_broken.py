"""Broken and truncated GIFs and PNGs are refused.

A truncated GIF may be stored instead, if the stored image looks like the upload in a browser.
"""

import zlib
from contextlib import suppress
from tempfile import TemporaryFile

import pytest

from api.http.errors import ApiError
from api.images.reencode.__main__ import reencode as stored
from api.images.service import run_program
from tests.api.images.appearance import assert_looks_alike
from tests.api.images.small_images import DOT, FOUR, RED, RGBY, TEXT, apng, coloured, frame, indexed, rgby
from tests.browser import Browser
from tests.crafted import Control, chunk, frame_control, frame_data, gif_frame, loop, png, samples

REFUSED_GIFS = {
    "no frame": rgby(),
    "no pixel": rgby(gif_frame((0, 0, 0, 0)), size=(0, 0)),
    "too few pixels": rgby(gif_frame((0, 0, 4, 1), [0, 1])),
    "a code behind the table": rgby(gif_frame((0, 0, 4, 1), data=b"\2\xc4\1\0")),
    "a small code size": rgby(gif_frame((0, 0, 4, 1), [0, 1, 0, 1], code_bits=1)),
    "a large code size": rgby(gif_frame((0, 0, 4, 1), [0, 1, 2, 3], code_bits=9)),
    "a long control": rgby(b"!\xf9\5\0\0\0\0\0\0", FOUR),
    "a broken frame outside": rgby(FOUR, gif_frame((9, 9, 4, 1), [0, 1])),
}
REFUSED_PNGS = {
    "no palette": indexed(),
    "two palettes": indexed(chunk(b"PLTE", RGBY), chunk(b"PLTE", RGBY)),
    "an unknown critical chunk": coloured(2, chunk(b"ABCD")),
    "no pixel": png(0, 1, 2, 8, chunk(b"IDAT", zlib.compress(b"\0"))),
    "too few pixels": png(9, 1, 2, 8, chunk(b"IDAT", zlib.compress(b"\0"))),
    "an unknown depth": png(1, 1, 2, 4, chunk(b"IDAT", zlib.compress(bytes(9)))),
    "an unknown filter": png(1, 1, 2, 8, chunk(b"IDAT", zlib.compress(b"\7\0\0\0"))),
    "a bad checksum": coloured(2).replace(b"IDAT", b"idAT"),
    "pixels apart": png(1, 1, 2, 8, chunk(b"IDAT", zlib.compress(bytes(4))), TEXT, chunk(b"IDAT")),
    "a frame outside": apng(frame(1, 2, [RED, RED])),
    "a frame of no size": apng(frame_control(1, (0, 0, 0, 1)), frame_data(2, zlib.compress(b""))),
    "a small first frame": apng(frame(1, 1, [RED]), first=frame_control(0, (0, 0, 1, 1))),
    "a missing number": apng(frame(2, 1, [RED])),
    "an unknown disposal": apng(frame(1, 1, [RED], disposal=3)),
    "an unknown blending": apng(frame(1, 1, [RED], blending=2)),
    "pixels without a control": apng(frame_data(1, samples([RED], 1, 1, 8))),
    "an animation without frames": apng(first=b""),
}


@pytest.mark.parametrize("upload", [*REFUSED_GIFS.values(), *REFUSED_PNGS.values()], ids=[*REFUSED_GIFS, *REFUSED_PNGS])
def test_broken_image_is_refused(upload: bytes) -> None:
    with TemporaryFile() as file:
        file.write(upload)
        file.seek(0)
        with pytest.raises(ApiError) as caught:
            run_program(file)
    assert caught.value.details == {"fields": {"image": "must be a whole JPEG, PNG or GIF image"}}


def test_gif_that_ends_too_early_is_refused_or_looks_like_that(browser: Browser) -> None:
    upload = rgby(loop(3), Control(0, 10), FOUR, Control(0, 10), DOT)
    for size in range(len(upload)):
        with suppress(Exception):  # The program makes a validation error of each.
            stored(upload[:size])
            assert_looks_alike(browser, upload[:size])


def test_apng_that_ends_too_early_is_refused() -> None:
    upload = apng(frame(1, 1, [RED]), frame(3, 2, [RED]), frames=3)
    for size in range(len(upload)):
        with pytest.raises(Exception):  # noqa: B017, PT011 (The program makes a validation error of each.)
            stored(upload[:size])
