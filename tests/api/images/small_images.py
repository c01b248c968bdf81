"""Small GIFs and PNGs in few colours, still and animated, for the tests of re-encoding.

They consist of the parts of the two formats in tests/crafted.py.
"""

import struct
import zlib
from typing import Any

from tests.crafted import (
    CHANNELS,
    Box,
    Control,
    animation_control,
    chunk,
    compressed_pixels,
    exif,
    frame_control,
    frame_data,
    gif,
    gif_frame,
    orientation_entry,
    png,
)

# GIF

RGBY = bytes.fromhex("ff0000 00ff00 0000ff ffff00")
CYAN_MAGENTA = bytes.fromhex("00ffff ff00ff")
FOUR = gif_frame((0, 0, 4, 1), [0, 1, 2, 3])
DOT = gif_frame((0, 0, 1, 1), [3])
NEXT_DOT = gif_frame((1, 0, 1, 1), [3])


def rgby_gif(*parts: bytes | Control, size: tuple[int, int] = (4, 1), **options: Any) -> bytes:
    """A GIF in red, green, blue and yellow."""
    return gif(*size, *parts, **{"palette": RGBY} | options)


# PNG and APNG

Pixels = list[tuple[int, ...]]
RED, GREEN, BLUE, YELLOW, CLEAR = (255, 0, 0, 255), (0, 255, 0, 255), (0, 0, 255, 255), (255, 255, 0, 255), (9, 9, 9, 0)
CANVAS: Box = (0, 0, 3, 1)
SRGB_PRIMARIES = (31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000)
P3_PRIMARIES = (31270, 32900, 68000, 32000, 26500, 69000, 15000, 6000)
TURNED = chunk(b"eXIf", exif(orientation_entry(6)))
TEXT = chunk(b"tEXt", b"Comment\0hi")


def row_png(colour_type: int, depth: int, pixels: Pixels, *chunks: bytes) -> bytes:
    """A PNG of one row; `chunks` precede its pixels."""
    data = compressed_pixels(pixels, len(pixels), 1, depth)
    return png(len(pixels), 1, colour_type, depth, *chunks, chunk(b"IDAT", data))


def indexed_png(*chunks: bytes) -> bytes:
    """A PNG of the first four colours of a palette."""
    return row_png(3, 2, [(0,), (1,), (2,), (3,)], *chunks)


def coloured_png(colour_type: int, *chunks: bytes) -> bytes:
    """A PNG of four colours; `chunks` set its colour space."""
    colours = [(255, 0, 0), (200, 100, 50), (10, 20, 30), (128, 128, 128)]
    if colour_type == 3:
        return row_png(3, 8, [(0,), (1,), (2,), (3,)], chunk(b"PLTE", bytes(sum(colours, ()))), *chunks)
    return row_png(colour_type, 8, [(*colour, 255)[: CHANNELS[colour_type]] for colour in colours], *chunks)


def gamma(value: int) -> bytes:
    """The chunk gAMA."""
    return chunk(b"gAMA", struct.pack(">I", value))


def primaries(values: tuple[int, ...]) -> bytes:
    """The chunk cHRM."""
    return chunk(b"cHRM", struct.pack(">8I", *values))


def cicp(*values: int) -> bytes:
    """The chunk cICP."""
    return chunk(b"cICP", bytes(values))


HDR = cicp(9, 16, 0, 1)


def iccp(profile: bytes) -> bytes:
    """The chunk iCCP."""
    return chunk(b"iCCP", b"x\0\0" + zlib.compress(profile))


def frame(sequence: int, left: int, pixels: Pixels, *, disposal: int = 0, blending: int = 0, **delay: Any) -> bytes:
    """A frame of a one-row APNG, other than the first."""
    control = frame_control(sequence, (left, 0, len(pixels), 1), disposal=disposal, blending=blending, **delay)
    return control + frame_data(sequence + 1, compressed_pixels(pixels, len(pixels), 1, 8))


def apng(*chunks: bytes, frames: int = 2, plays: int = 0, first: bytes = frame_control(0, CANVAS)) -> bytes:
    """A one-row APNG whose first frame is red, green and blue."""
    return row_png(6, 8, [RED, GREEN, BLUE], animation_control(frames, plays), first).replace(
        chunk(b"IEND"), b"".join([*chunks, chunk(b"IEND")])
    )
