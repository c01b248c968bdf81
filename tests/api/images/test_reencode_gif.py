"""A re-encoded GIF looks like its upload in a browser, frame by frame, and has only visible pixels and colours."""

import struct

import pytest

from api.images.reencode.__main__ import reencode
from tests import images
from tests.api.images.appearance import assert_looks_alike
from tests.api.images.small_images import CYAN_MAGENTA, DOT, FOUR, NEXT_DOT, RGBY, rgby_gif
from tests.browser import Browser
from tests.crafted import Control, gif, gif_frame, loop_extension, lzw_blocks


def noisy_row(top: int) -> bytes:
    """A frame of 256 colours."""
    return gif_frame((0, top, 256, 1), range(256), palette=images.draw_noise(256, 1, top).tobytes(), code_bits=8)


def noisy_gif(*, is_cleared: bool) -> bytes:
    """A GIF whose pixels fill the LZW table."""
    palette = images.draw_noise(256, 1).tobytes()
    data = lzw_blocks(images.draw_noise(99, 33).tobytes(), 8, is_cleared=is_cleared)
    return gif(99, 99, gif_frame((0, 0, 99, 99), palette=palette, code_bits=8, data=data))


GIFS = {
    "a small frame": bytes.fromhex("47494638396103000100800000ff0000ffffff2c01000000010001000002024c01003b"),
    "no palette": rgby_gif(FOUR, palette=b""),
    "no palette after one of a frame": rgby_gif(gif_frame((0, 0, 1, 1), [3], palette=RGBY), FOUR, palette=b""),
    "a palette of the first frame": rgby_gif(gif_frame((0, 0, 1, 1), [3], palette=CYAN_MAGENTA * 2), FOUR),
    "a palette of the second frame": rgby_gif(FOUR, gif_frame((0, 0, 1, 1), [3], palette=CYAN_MAGENTA * 2)),
    "colours behind the palette": rgby_gif(FOUR, palette=CYAN_MAGENTA),
    "colours behind the frame's palette": rgby_gif(gif_frame((0, 0, 4, 1), [0, 1, 2, 3], palette=CYAN_MAGENTA)),
    "a transparent colour behind the palette": rgby_gif(Control(0, 0, 3), FOUR, palette=CYAN_MAGENTA),
    "a transparent colour of no pixel": rgby_gif(Control(0, 0, 200), FOUR),
    "two transparent colours": rgby_gif(Control(1, 10, 0), FOUR, Control(1, 10, 3), FOUR),
    "a transparent colour of the first frame": rgby_gif(Control(0, 10, 0), FOUR, gif_frame((0, 0, 2, 1), [0, 0])),
    "two controls": rgby_gif(Control(2, 30, 0), Control(0, 10), FOUR, DOT),
    "a control before a comment": rgby_gif(Control(2, 30, 0), b"!\xfe\x02hi\0", FOUR, DOT),
    "more than 256 colours": gif(256, 2, noisy_row(0), noisy_row(1)),
    "a frame outside": rgby_gif(FOUR, gif_frame((5, 5, 1, 1), [3]), DOT),
    "a frame partly outside": rgby_gif(FOUR, gif_frame((3, 0, 2, 2), [3, 2, 1, 0]), DOT),
    "a frame larger than the canvas": rgby_gif(FOUR, gif_frame((0, 0, 9, 9), [3] * 81)),
    "a frame of no size": rgby_gif(FOUR, Control(2, 7), gif_frame((0, 0, 0, 0)), DOT),
    "a first frame of no size": rgby_gif(Control(2, 7), gif_frame((0, 0, 0, 1)), DOT),
    "a canvas smaller than the first frame": rgby_gif(gif_frame((1, 1, 2, 2), [0, 1, 2, 3]), DOT, size=(1, 1)),
    "a canvas of no size": rgby_gif(gif_frame((1, 0, 2, 2), [0, 1, 2, 3]), size=(0, 0)),
    "GIF87a": rgby_gif(NEXT_DOT, version=b"GIF87a"),
    "interlaced": rgby_gif(gif_frame((0, 0, 2, 9), [n // 2 % 4 for n in range(18)], flags=0x40), size=(2, 9)),
    "interlaced, two rows": rgby_gif(gif_frame((0, 0, 2, 2), [0, 1, 2, 3], flags=0x40), size=(2, 2)),
    "bytes between frames": rgby_gif(FOUR, b"\0", DOT),
    "no trailer": rgby_gif(FOUR, end=b""),
    "long pauses": rgby_gif(Control(0, 65535), FOUR, Control(0, 65535), DOT, Control(0, 65535), DOT),
    "no pauses": rgby_gif(Control(0, 0), FOUR, Control(0, 1), DOT, Control(0, 0), NEXT_DOT),
    "a table used on": noisy_gif(is_cleared=False),
    "a table cleared": noisy_gif(is_cleared=True),
}  # fmt: skip
GIFS |= {
    f"disposal {disposal}, transparent: {transparent}": rgby_gif(
        Control(1, 10), FOUR,
        Control(disposal, 20, transparent), gif_frame((1, 0, 2, 1), [0, 3]),
        Control(0, 30), gif_frame((2, 0, 2, 1), [0, 0]),
    )
    for disposal in range(8)
    for transparent in (None, 0)
}  # fmt: skip
GIFS |= {
    f"disposal {disposal} of the first frame": rgby_gif(
        Control(disposal, 10), gif_frame((0, 0, 2, 1), [0, 1]), Control(0, 10), gif_frame((2, 0, 1, 1), [3])
    )
    for disposal in range(8)
}
GIFS |= {
    f"{name.decode()} {count}": rgby_gif(loop_extension(count, name), FOUR, DOT)
    for count in (0, 1, 3, 65535)
    for name in (b"NETSCAPE2.0", b"ANIMEXTS1.0", b"NETSCAPE1.0")
}


@pytest.mark.parametrize("name", GIFS)
def test_gif_looks_like_its_upload(browser: Browser, name: str) -> None:
    assert_looks_alike(browser, GIFS[name])


def test_gif_keeps_only_visible_data() -> None:
    hidden, colours = b"secret", (b"\xff\0\0", b"\0\xff\0")
    palette = colours[0] + hidden + colours[1] + hidden + hidden
    visible = gif_frame((0, 0, 3, 1), [0, 3, 6], code_bits=3)
    partly_outside = gif_frame((2, 0, 6, 1), [0, *hidden[:5]], palette=bytes(768), code_bits=8)
    wholly_outside = gif_frame((3, 0, 6, 1), [*hidden], palette=bytes(768), code_bits=8)
    comment, application = b"!\xfe\x06" + hidden + b"\0", b"!\xff\x0bXMP DataXMP\x06" + hidden + b"\0"
    upload = gif(
        3, 1,
        comment, application, Control(0, 1, 6), visible, partly_outside, Control(2, 9), wholly_outside,
        palette=palette, end=b";" + hidden,
    )  # fmt: skip
    content = reencode(upload).content
    table, no_table = colours[0] + bytes(6) + colours[1] + bytes(12), b"\x80" + bytes(6)
    assert content == b"".join([
        b"GIF89a", struct.pack("<HHBBB", 3, 1, 0x82, 0, 0), table,
        b"!\xf9\4\1\1\0\6\0,", struct.pack("<HHHHB", 0, 0, 3, 1, 0), b"\3", lzw_blocks([0, 3, 6], 3),
        b"!\xf9\4\0\0\0\0\0,", struct.pack("<HHHHB", 2, 0, 1, 1, 0x80), bytes(6), b"\2", lzw_blocks([0], 2),
        b"!\xf9\4\1\x09\0\0\0,", struct.pack("<HHHH", 0, 0, 1, 1), no_table, b"\2", lzw_blocks([0], 2),
        b";",
    ])  # fmt: skip
