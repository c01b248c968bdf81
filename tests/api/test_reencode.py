"""A stored picture looks as its upload does in a browser, frame by frame, and contains nothing that is not seen."""

import struct
import zlib
from collections.abc import Iterator
from contextlib import suppress
from tempfile import TemporaryFile
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn
from PIL import Image, ImageChops, ImageCms

from api import reencode
from api.errors import ApiError
from api.images import run_program
from api.reencode.__main__ import reencode as stored
from tests import images
from tests.browser import Browser, Picture, UnseenError, running_browser
from tests.crafted import (
    CHANNELS,
    DEPTHS,
    Box,
    Control,
    animation_control,
    chunk,
    exif,
    exif_orientation,
    frame_control,
    frame_data,
    gif,
    gif_frame,
    loop,
    lzw,
    pieces,
    png,
    rows,
    samples,
)

EXAMPLES = settings(max_examples=80)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One for all images."""
    with running_browser() as browser:
        yield browser


def assert_looks_alike(browser: Browser, upload: bytes) -> None:
    """What is stored of an upload is seen as that is; Pillow reads it, too."""
    _, content = stored(upload)
    assert browser.look_at(content) == browser.look_at(upload)
    images.frames_of(content)


# GIF

RGBY = bytes.fromhex("ff0000 00ff00 0000ff ffff00")
CYAN_MAGENTA = bytes.fromhex("00ffff ff00ff")
FOUR = gif_frame((0, 0, 4, 1), [0, 1, 2, 3])
DOT = gif_frame((0, 0, 1, 1), [3])
NEXT_DOT = gif_frame((1, 0, 1, 1), [3])


def rgby(*parts: bytes | Control, size: tuple[int, int] = (4, 1), **options: Any) -> bytes:
    """A GIF in red, green, blue and yellow."""
    return gif(*size, *parts, **{"palette": RGBY} | options)


def noisy_row(top: int) -> bytes:
    """A frame of 256 colours."""
    return gif_frame((0, top, 256, 1), range(256), palette=images.noise(256, 1, top).tobytes(), code_bits=8)


def noisy_gif(*, is_cleared: bool) -> bytes:
    """A GIF with more strings than a table of codes has room for."""
    palette, data = images.noise(256, 1).tobytes(), lzw(images.noise(99, 33).tobytes(), 8, is_cleared=is_cleared)
    return gif(99, 99, gif_frame((0, 0, 99, 99), palette=palette, code_bits=8, data=data))


GIFS = {
    "a small frame": bytes.fromhex("47494638396103000100800000ff0000ffffff2c01000000010001000002024c01003b"),
    "no palette": rgby(FOUR, palette=b""),
    "no palette after one of a frame": rgby(gif_frame((0, 0, 1, 1), [3], palette=RGBY), FOUR, palette=b""),
    "a palette of the first frame": rgby(gif_frame((0, 0, 1, 1), [3], palette=CYAN_MAGENTA * 2), FOUR),
    "a palette of the second frame": rgby(FOUR, gif_frame((0, 0, 1, 1), [3], palette=CYAN_MAGENTA * 2)),
    "colours behind the palette": rgby(FOUR, palette=CYAN_MAGENTA),
    "colours behind the frame's palette": rgby(gif_frame((0, 0, 4, 1), [0, 1, 2, 3], palette=CYAN_MAGENTA)),
    "a transparent colour behind the palette": rgby(Control(0, 0, 3), FOUR, palette=CYAN_MAGENTA),
    "a transparent colour of no pixel": rgby(Control(0, 0, 200), FOUR),
    "two transparent colours": rgby(Control(1, 10, 0), FOUR, Control(1, 10, 3), FOUR),
    "a transparent colour of the first frame": rgby(Control(0, 10, 0), FOUR, gif_frame((0, 0, 2, 1), [0, 0])),
    "two controls": rgby(Control(2, 30, 0), Control(0, 10), FOUR, DOT),
    "a control before a comment": rgby(Control(2, 30, 0), b"!\xfe\x02hi\0", FOUR, DOT),
    "more than 256 colours": gif(256, 2, noisy_row(0), noisy_row(1)),
    "a frame outside": rgby(FOUR, gif_frame((5, 5, 1, 1), [3]), DOT),
    "a frame partly outside": rgby(FOUR, gif_frame((3, 0, 2, 2), [3, 2, 1, 0]), DOT),
    "a frame larger than the canvas": rgby(FOUR, gif_frame((0, 0, 9, 9), [3] * 81)),
    "a frame of no size": rgby(FOUR, Control(2, 7), gif_frame((0, 0, 0, 0)), DOT),
    "a first frame of no size": rgby(Control(2, 7), gif_frame((0, 0, 0, 1)), DOT),
    "a canvas smaller than the first frame": rgby(gif_frame((1, 1, 2, 2), [0, 1, 2, 3]), DOT, size=(1, 1)),
    "a canvas of no size": rgby(gif_frame((1, 0, 2, 2), [0, 1, 2, 3]), size=(0, 0)),
    "GIF87a": rgby(NEXT_DOT, version=b"GIF87a"),
    "interlaced": rgby(gif_frame((0, 0, 2, 9), [n // 2 % 4 for n in range(18)], flags=0x40), size=(2, 9)),
    "interlaced, two rows": rgby(gif_frame((0, 0, 2, 2), [0, 1, 2, 3], flags=0x40), size=(2, 2)),
    "bytes between frames": rgby(FOUR, b"\0", DOT),
    "no trailer": rgby(FOUR, end=b""),
    "long pauses": rgby(Control(0, 65535), FOUR, Control(0, 65535), DOT, Control(0, 65535), DOT),
    "no pauses": rgby(Control(0, 0), FOUR, Control(0, 1), DOT, Control(0, 0), NEXT_DOT),
    "a table used on": noisy_gif(is_cleared=False),
    "a table cleared": noisy_gif(is_cleared=True),
}  # fmt: skip
GIFS |= {
    f"disposal {disposal}, transparent: {transparent}": rgby(
        Control(1, 10), FOUR,
        Control(disposal, 20, transparent), gif_frame((1, 0, 2, 1), [0, 3]),
        Control(0, 30), gif_frame((2, 0, 2, 1), [0, 0]),
    )
    for disposal in range(8)
    for transparent in (None, 0)
}  # fmt: skip
GIFS |= {
    f"disposal {disposal} of the first frame": rgby(
        Control(disposal, 10), gif_frame((0, 0, 2, 1), [0, 1]), Control(0, 10), gif_frame((2, 0, 1, 1), [3])
    )
    for disposal in range(8)
}
GIFS |= {
    f"{name.decode()} {count}": rgby(loop(count, name), FOUR, DOT)
    for count in (0, 1, 3, 65535)
    for name in (b"NETSCAPE2.0", b"ANIMEXTS1.0", b"NETSCAPE1.0")
}


@pytest.mark.parametrize("name", GIFS)
def test_gif_looks_like_its_upload(browser: Browser, name: str) -> None:
    assert_looks_alike(browser, GIFS[name])


@st.composite
def palettes(draw: DrawFn) -> bytes:
    """None, or one of up to eight colours."""
    return draw(st.binary(min_size=24, max_size=24))[: draw(st.sampled_from([0, 6, 12, 24]))]


@st.composite
def gifs(draw: DrawFn) -> bytes:
    """Any of up to four frames on a small canvas."""
    small = st.integers(0, 5)
    controls = st.builds(Control, st.integers(0, 7), st.sampled_from([0, 1, 7, 65535]), st.none() | st.integers(0, 9))
    loops = st.builds(loop, st.sampled_from([0, 1, 65535]), st.sampled_from([b"NETSCAPE2.0", b"ANIMEXTS1.0"]))
    others = st.sampled_from([b"!\xfe\x02hi\0", b"!\x01\x02hi\0", b"!\xff\x05hello\0"])
    parts: list[bytes | Control] = []
    for _ in range(draw(st.integers(1, 4))):
        parts += draw(st.lists(controls | loops | others, max_size=3))
        box, code_bits = draw(st.tuples(small, small, small, small)), draw(st.integers(2, 8))
        size, indices = box[2] * box[3], st.integers(0, min(9, 2**code_bits - 1))
        pixels, flags = draw(st.lists(indices, min_size=size, max_size=size)), draw(st.sampled_from([0, 0x40]))
        parts.append(gif_frame(box, pixels, palette=draw(palettes()), code_bits=code_bits, flags=flags))
    version, end = draw(st.sampled_from([b"GIF87a", b"GIF89a"])), draw(st.sampled_from([b";", b"", b";junk", b"\0,"]))
    return gif(draw(small), draw(small), *parts, palette=draw(palettes()), version=version, end=end)


@EXAMPLES
@given(upload=gifs())
def test_any_gif_looks_like_its_upload(browser: Browser, upload: bytes) -> None:
    try:
        seen = browser.look_at(upload)
    except UnseenError:  # such as one without a pixel
        return
    _, content = stored(upload)
    assert browser.look_at(content) == seen


def test_gif_keeps_nothing_that_is_not_seen() -> None:
    hidden, shown = b"secret", (b"\xff\0\0", b"\0\xff\0")
    palette = shown[0] + hidden + shown[1] + hidden + hidden
    visible = gif_frame((0, 0, 3, 1), [0, 3, 6], code_bits=3)
    partly_outside = gif_frame((2, 0, 6, 1), [0, *hidden[:5]], palette=bytes(768), code_bits=8)
    wholly_outside = gif_frame((3, 0, 6, 1), [*hidden], palette=bytes(768), code_bits=8)
    comment, application = b"!\xfe\x06" + hidden + b"\0", b"!\xff\x0bXMP DataXMP\x06" + hidden + b"\0"
    upload = gif(
        3, 1,
        comment, application, Control(0, 1, 6), visible, partly_outside, Control(2, 9), wholly_outside,
        palette=palette, end=b";" + hidden,
    )  # fmt: skip
    _, content = stored(upload)
    table, no_table = shown[0] + bytes(6) + shown[1] + bytes(12), b"\x80" + bytes(6)
    assert content == b"".join([
        b"GIF89a", struct.pack("<HHBBB", 3, 1, 0x82, 0, 0), table,
        b"!\xf9\4\1\1\0\6\0,", struct.pack("<HHHHB", 0, 0, 3, 1, 0), b"\3", lzw([0, 3, 6], 3),
        b"!\xf9\4\0\0\0\0\0,", struct.pack("<HHHHB", 2, 0, 1, 1, 0x80), bytes(6), b"\2", lzw([0], 2),
        b"!\xf9\4\1\x09\0\0\0,", struct.pack("<HHHH", 0, 0, 1, 1), no_table, b"\2", lzw([0], 2),
        b";",
    ])  # fmt: skip


# PNG and APNG

Pixels = list[tuple[int, ...]]
RED, GREEN, BLUE, YELLOW, CLEAR = (255, 0, 0, 255), (0, 255, 0, 255), (0, 0, 255, 255), (255, 255, 0, 255), (9, 9, 9, 0)
CANVAS: Box = (0, 0, 3, 1)
SRGB_PRIMARIES = (31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000)
P3_PRIMARIES = (31270, 32900, 68000, 32000, 26500, 69000, 15000, 6000)
TURNED = chunk(b"eXIf", exif(exif_orientation(6)))
TEXT = chunk(b"tEXt", b"Comment\0hi")


def row(colour_type: int, depth: int, pixels: Pixels, *chunks: bytes) -> bytes:
    """A PNG of one row, with chunks before it."""
    return png(len(pixels), 1, colour_type, depth, *chunks, chunk(b"IDAT", samples(pixels, len(pixels), 1, depth)))


def keyed(colour_type: int, depth: int, values: tuple[int, ...], *key: int) -> bytes:
    """A PNG of greys, one of which a tRNS chunk makes transparent."""
    pixels = [(value,) * CHANNELS[colour_type] for value in values]
    return row(colour_type, depth, pixels, chunk(b"tRNS", struct.pack(f">{len(key)}H", *key)))


def indexed(*chunks: bytes) -> bytes:
    """The first four places in a palette."""
    return row(3, 2, [(0,), (1,), (2,), (3,)], *chunks)


def coloured(colour_type: int, *chunks: bytes) -> bytes:
    """A PNG in a colour space that chunks name."""
    colours = [(255, 0, 0), (200, 100, 50), (10, 20, 30), (128, 128, 128)]
    if colour_type == 3:
        return row(3, 8, [(0,), (1,), (2,), (3,)], chunk(b"PLTE", bytes(sum(colours, ()))), *chunks)
    return row(colour_type, 8, [(*colour, 255)[: CHANNELS[colour_type]] for colour in colours], *chunks)


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
    """A frame of an APNG of one row, behind the first."""
    control = frame_control(sequence, (left, 0, len(pixels), 1), disposal=disposal, blending=blending, **delay)
    return control + frame_data(sequence + 1, samples(pixels, len(pixels), 1, 8))


def apng(*chunks: bytes, frames: int = 2, plays: int = 0, first: bytes = frame_control(0, CANVAS)) -> bytes:
    """An APNG of one row, which begins in red, green and blue."""
    return row(6, 8, [RED, GREEN, BLUE], animation_control(frames, plays), first).replace(
        chunk(b"IEND"), b"".join([*chunks, chunk(b"IEND")])
    )


PNGS = {
    f"{depth} bits of grey, key {key}": keyed(0, depth, values, key)
    for depth, values, key in [
        (1, (0, 1), 1), (1, (0, 1), 0x101), (1, (0, 1), 3), (2, (0, 1, 3), 1), (4, (0, 1, 15), 1), (8, (0, 1, 255), 1),
        (8, (0, 1, 255), 0x101), (16, (0x1234, 0x1235, 0x1134, 0x12FF), 0x1234),
    ]
} | {
    f"{depth} bits of RGB, key {key}": keyed(2, depth, values, *key)
    for depth, values, key in [
        (8, (0, 1, 2), (1, 1, 1)), (8, (0, 1, 2), (1, 1, 2)), (8, (0, 1, 2), (0x101, 1, 1)),
        (16, (0x1234, 0x1235, 0x1134), (0x1234,) * 3), (16, (0x1234, 0x1235), (0x1234, 0x1234, 0x1235)),
    ]
} | {
    "a key too short": keyed(2, 8, (0, 1), 1, 1),
    "a key after one too short": row(
        2, 8, [(0, 0, 0), (1, 1, 1)], chunk(b"tRNS", b"\0"), chunk(b"tRNS", b"\0\1" * 3)
    ),
    "code points after too few": coloured(2, cicp(1, 13), cicp(12, 13, 0, 1)),
    "a gamma after none": coloured(2, gamma(0), gamma(100_000)),
    "an announcement too short": apng(frame(1, 1, [RED])).replace(animation_control(2), chunk(b"acTL", bytes(4))),
    "a key of what has alpha": keyed(4, 8, (0, 1), 1),
    "palette too short": indexed(chunk(b"PLTE", RGBY[:6])),
    "palette too short, transparent": indexed(chunk(b"PLTE", RGBY[:6]), chunk(b"tRNS", b"\x80\x40\x20")),
    "few opacities": indexed(chunk(b"PLTE", RGBY), chunk(b"tRNS", b"\x80\0")),
    "opacities before the palette": indexed(chunk(b"tRNS", b"\x80\0"), chunk(b"PLTE", RGBY)),
    "opacities behind the pixels": indexed(chunk(b"PLTE", RGBY)).replace(
        chunk(b"IEND"), chunk(b"tRNS", b"\x80\0") + chunk(b"IEND")
    ),
    "palette with half a colour": indexed(chunk(b"PLTE", RGBY[:8])),
    "orientation": coloured(2, TURNED),
    "orientation, of two the first": coloured(2, TURNED, chunk(b"eXIf", exif(exif_orientation(3)))),
    "orientation behind the pixels": coloured(2).replace(chunk(b"IEND"), TURNED + chunk(b"IEND")),
    "orientation in a text": coloured(2, chunk(b"tEXt", b"Raw profile type exif\0\nexif\n 32\n" + (
        b"Exif\0\0" + exif(exif_orientation(6))).hex().encode() + b"\n")),
    "16 bits": row(2, 16, [(value,) * 3 for value in (0, 127, 128, 255, 256, 383, 384, 0x80FF, 0xFF00, 0xFFFF)]),
} | {
    f"{names} of colour type {colour_type}": coloured(colour_type, *chunks)
    for colour_type in (0, 2, 3, 6)
    for names, chunks in {
        "gamma": [gamma(100_000)],
        "usual gamma": [gamma(45_455)],
        "usual gamma and primaries": [gamma(45_455), primaries(SRGB_PRIMARIES)],
        "gamma and wide primaries": [gamma(55_556), primaries(P3_PRIMARIES)],
        "primaries": [primaries(P3_PRIMARIES)],
        "sRGB and gamma": [chunk(b"sRGB", b"\0"), gamma(100_000), primaries(P3_PRIMARIES)],
        "an unknown intent and gamma": [chunk(b"sRGB", b"\4"), gamma(100_000)],
        "code points": [cicp(12, 13, 0, 1)],
        "code points of HDR": [HDR],
        "code points of video and gamma": [cicp(1, 13, 0, 0), gamma(100_000)],
        "unknown code points and gamma": [cicp(2, 2, 0, 1), gamma(100_000)],
        "code points and a profile": [cicp(12, 13, 0, 1), iccp(images.with_red_for_green())],
        "no profile but gamma": [iccp(b"nothing"), gamma(100_000)],
    }.items()
} | {
    f"disposal {disposal}, blending {blending}": apng(
        frame(1, 0, [CLEAR, YELLOW], disposal=disposal, blending=blending), frame(3, 2, [RED]), frames=3
    )
    for disposal in range(3) for blending in range(2)
} | {
    f"first disposal {disposal}": apng(frame(1, 1, [RED]), first=frame_control(0, CANVAS, disposal=disposal))
    for disposal in range(3)
} | {
    f"{plays} plays": apng(frame(1, 1, [RED]), plays=plays) for plays in (0, 1, 2, 2**31 - 1)
} | {
    f"delay {delay}": apng(frame(1, 1, [RED], delay=delay), frame(3, 0, [RED]), frames=3)
    for delay in [(0, 0), (1, 0), (0, 5), (1, 1000), (1, 3), (65535, 1), (65535, 65535)]
} | {
    "fewer frames than announced": apng(frame(1, 1, [RED]), frames=5),
    "more frames than announced": apng(frame(1, 1, [RED]), frame(3, 2, [RED]), frame(5, 0, [GREEN]), frames=3),
    "one frame of an animation": apng(frame(1, 1, [RED]), frames=1),
    "two controls of a frame": apng(frame_control(1, CANVAS, (9, 1)), frame(2, 1, [RED]), frame(4, 2, [RED]), frames=3),
    "a still image": apng(frame(0, 0, [YELLOW] * 3), frame(2, 1, [RED]), first=b""),
    "a still image and a small first frame": apng(frame(0, 1, [YELLOW]), frame(2, 2, [RED]), first=b""),
    "a still image and one frame": apng(frame(0, 0, [YELLOW] * 3), frames=1, first=b""),
    "frames without an animation": apng(frame(1, 1, [RED]), frames=0),
    "an animation, turned": apng(frame(1, 1, [RED]), first=TURNED + frame_control(0, CANVAS)),
    "translucent colours over others": apng(frame(1, 0, [(200, 100, 50, 40), (9, 8, 7, 3)], blending=1)),
}  # fmt: skip


@pytest.mark.parametrize("name", PNGS)
def test_png_looks_like_its_upload(browser: Browser, name: str) -> None:
    assert_looks_alike(browser, PNGS[name])


@st.composite
def pixel_data(draw: DrawFn, box: Box, layout: tuple[int, int, bool], colours: Pixels) -> bytes:
    """Compressed pixels: of few colours, or of all, with filters."""
    (_, _, width, height), (colour_type, depth, is_interlaced) = box, layout
    if draw(st.booleans()):
        pixels = draw(st.lists(st.sampled_from(colours), min_size=width * height, max_size=width * height))
        return samples(pixels, width, height, depth, is_interlaced=is_interlaced)
    data = b""
    for places in rows(width, height, is_interlaced=is_interlaced):
        size = (len(places) * CHANNELS[colour_type] * depth + 7) // 8
        data += bytes([draw(st.integers(0, 4))]) + draw(st.binary(min_size=size, max_size=size))
    return zlib.compress(data)


@st.composite
def boxes(draw: DrawFn, width: int, height: int) -> Box:
    """Any on a canvas."""
    left, top = draw(st.integers(0, width - 1)), draw(st.integers(0, height - 1))
    return left, top, draw(st.integers(1, width - left)), draw(st.integers(1, height - top))


SPACES = st.lists(
    st.sampled_from([
        gamma(0), gamma(45_455), gamma(100_000), primaries(P3_PRIMARIES), primaries(SRGB_PRIMARIES),
        *(chunk(b"sRGB", bytes([intent])) for intent in (0, 4)),
        *(cicp(*values) for values in [(12, 13, 0, 1), (2, 2, 0, 1), (1, 13, 0, 0), (1, 1)]),
        HDR,
        *(chunk(kind, bytes(7)) for kind in (b"gAMA", b"cHRM", b"sRGB", b"acTL")),
    ]),
    max_size=4,
)  # fmt: skip


@st.composite
def pngs(draw: DrawFn) -> bytes:
    """Any still image or animation of up to four frames, on a small canvas."""
    colour_type = draw(st.sampled_from(list(DEPTHS)))
    depth, is_interlaced = draw(st.sampled_from(DEPTHS[colour_type])), draw(st.booleans())
    layout, values = (colour_type, depth, is_interlaced), st.integers(0, 2**depth - 1)
    width, height = draw(st.integers(1, 9)), draw(st.integers(1, 9))
    canvas = (0, 0, width, height)
    colours = draw(st.lists(st.tuples(*[values] * CHANNELS[colour_type]), min_size=1, max_size=3))
    # With 16 bits of HDR browsers also show the lower ones: 2 of 255 levels at most.
    chunks = [space for space in draw(SPACES) if depth < 16 or space != HDR]
    chunks += [chunk(b"eXIf", exif(exif_orientation(value))) for value in draw(st.lists(st.integers(0, 9), max_size=1))]
    if colour_type == 3:
        chunks.append(chunk(b"PLTE", draw(st.binary(min_size=3, max_size=3 * 2 ** min(depth, 3) + 1))))
        opacities = st.binary(max_size=5)
    else:
        opacities = st.sampled_from(colours).map(lambda colour: struct.pack(f">{len(colour)}H", *colour))
    chunks += [chunk(b"tRNS", data) for data in draw(st.lists(opacities | st.just(b"\0"), max_size=2))]
    frames = draw(st.integers(0, 4))
    is_first = draw(st.booleans())
    if frames:
        plays = draw(st.sampled_from([0, 1, 2, 9]))
        chunks.append(animation_control(draw(st.sampled_from([frames, 1, max(frames - 1, 1)])), plays))
    sequence = 0
    if not frames or not is_first:
        chunks.append(chunk(b"IDAT", draw(pixel_data(canvas, layout, colours))))
    for number in range(frames):
        is_default = is_first and number == 0
        box = canvas if is_default else draw(boxes(width, height))
        delay = draw(st.tuples(st.sampled_from([0, 1, 5, 65535]), st.sampled_from([0, 1, 3, 1000])))
        chunks.append(frame_control(sequence, box, delay, draw(st.integers(0, 2)), draw(st.integers(0, 1))))
        sequence += 1
        for piece in pieces(draw(pixel_data(box, layout, colours)), draw(st.sampled_from([9, 1000]))):
            chunks.append(chunk(b"IDAT", piece) if is_default else frame_data(sequence, piece))
            sequence += not is_default
    return png(width, height, colour_type, depth, *chunks, TEXT, is_interlaced=is_interlaced)


@EXAMPLES
@given(upload=pngs())
def test_any_png_looks_like_its_upload(browser: Browser, upload: bytes) -> None:
    assert_looks_alike(browser, upload)


def chunks_of(content: bytes) -> list[tuple[bytes, bytes]]:
    """The chunks of a PNG."""
    place, found = 8, []
    while place < len(content):
        length, kind = struct.unpack_from(">I4s", content, place)
        found.append((kind, content[place + 8 : place + 8 + length]))
        place += 12 + length
    return found


def test_png_keeps_nothing_that_is_not_seen() -> None:
    hidden = (115, 101, 99)
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    head = [TEXT, iccp(profile), chunk(b"eXIf", exif(exif_orientation(1))), chunk(b"tIME", bytes(7))]
    _, content = stored(row(6, 8, [RED, (*hidden, 0), (*hidden, 0)], *head) + bytes(hidden))
    assert [kind for kind, _ in chunks_of(content)] == [b"IHDR", b"IDAT", b"IEND"]
    assert images.decoded(content).tobytes() == bytes(RED) + bytes(8)


def test_palette_keeps_the_colours_that_are_seen() -> None:
    palette = chunk(b"PLTE", b"\xff\0\0" + b"secret" + b"\0\xff\0" + b"secret")
    _, content = stored(row(3, 4, [(0,), (1,), (3,)], palette, chunk(b"tRNS", b"\xff\0\x20\x80\x20")))
    found = dict(chunks_of(content))
    assert found[b"PLTE"] == b"\xff\0\0" + bytes(6) + b"\0\xff\0"
    assert found[b"tRNS"] == b"\xff\0\xff\x80"


def test_still_image_of_an_animation_is_kept_only_before_a_small_first_frame() -> None:
    for box, is_kept in ((CANVAS, False), ((1, 0, 1, 1), True)):
        first = frame(0, box[0], [YELLOW] * box[2])
        _, content = stored(apng(first, frame(2, 1, [RED]), first=b""))
        kinds = [kind for kind, _ in chunks_of(content) if kind in {b"IDAT", b"fcTL"}]
        assert kinds == ([b"IDAT", b"fcTL", b"fcTL"] if is_kept else [b"fcTL", b"IDAT", b"fcTL"])


# Colour profiles and JPEG: not exact, for decoders round, and JPEG loses


def apart(one: Picture, other: Picture) -> int:
    """How far two pictures are apart where they are farthest."""
    assert one.size == other.size
    difference = ImageChops.difference(*(Image.frombytes("RGBA", seen.size, seen.pixels) for seen in (one, other)))
    return max(high for _, high in difference.getextrema())  # type: ignore[misc]


def grey_profile() -> bytes:
    """A profile for greys that are proportional to light."""
    white = b"XYZ \0\0\0\0" + struct.pack(">3i", 63190, 65536, 54061)
    curve = b"curv" + bytes(8)
    tags = [(b"wtpt", white), (b"kTRC", curve)]
    place, table, body = 128 + 4 + 12 * len(tags), struct.pack(">I", len(tags)), b""
    for name, data in tags:
        table += name + struct.pack(">II", place + len(body), len(data))
        body += data
    head = struct.pack(">I4x4s4s4s4s12x4s", place + len(body), b"\2\x40\0\0", b"mntr", b"GRAY", b"XYZ ", b"acsp")
    return (head.ljust(68, b"\0") + white[8:]).ljust(128, b"\0") + table + body


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "L", "LA", "1"])
@pytest.mark.parametrize("profile", [images.with_red_for_green(), grey_profile()], ids=["RGB", "grey"])
def test_profile_of_a_png_is_applied(browser: Browser, mode: str, profile: bytes) -> None:
    upload = images.encoded(images.gradient().convert(mode), "PNG", icc_profile=profile)
    _, content = stored(upload)
    assert apart(browser.look_at(content).still, browser.look_at(upload).still) <= 2
    assert b"iCCP" not in content


def jpeg(*segments: bytes, **options: Any) -> bytes:
    """A photo with segments before the others."""
    content = images.encoded(images.gradient(), "JPEG", quality=95, **options)
    return content[:2] + b"".join(segments) + content[2:]


def app1(data: bytes) -> bytes:
    """A segment with metadata."""
    return b"\xff\xe1" + struct.pack(">H", 2 + len(data)) + data


XMP = app1(b'http://ns.adobe.com/xap/1.0/\0<rdf:Description tiff:Orientation="6"/>')
CMYK = images.encoded(images.gradient().convert("CMYK"), "JPEG", quality=95)
ADOBE = CMYK.index(b"Adobe")
JPEGS = {
    "grey": images.encoded(images.gradient().convert("L"), "JPEG", quality=95),
    "progressive": jpeg(progressive=True),
    "4:4:4": jpeg(subsampling=0),
    "RGB": jpeg(keep_rgb=True),
    "CMYK": CMYK,
    "YCCK": CMYK[: ADOBE + 11] + b"\2" + CMYK[ADOBE + 12 :],
    "CMYK without Adobe": CMYK[: ADOBE - 4] + CMYK[ADOBE + 12 :],
    "a profile": jpeg(icc_profile=images.with_red_for_green()),
    "a grey profile": images.encoded(images.gradient().convert("L"), "JPEG", quality=95, icc_profile=grey_profile()),
    "XMP": jpeg(XMP),
    "Exif and XMP": jpeg(app1(b"Exif\0\0" + exif(exif_orientation(3))), XMP),
    "two of Exif": jpeg(*(app1(b"Exif\0\0" + exif(exif_orientation(value))) for value in (6, 3))),
} | {
    f"Exif, {name}": jpeg(app1(b"Exif\0\0" + data))
    for name, data in {
        **{f"orientation {value}": exif(exif_orientation(value)) for value in range(10)},
        "little-endian": exif(exif_orientation(6, order="<"), order="<"),
        "further on": exif(exif_orientation(6), directory=20),
        "a LONG": exif(exif_orientation(6, kind=4)),
        "a signed number": exif(exif_orientation(6, kind=8)),
        "two numbers": exif(exif_orientation(6, count=2)),
        "a wrong one first": exif(exif_orientation(9), exif_orientation(3)),
        "two": exif(exif_orientation(6), exif_orientation(3)),
        "bad magic number": exif(exif_orientation(6)).replace(b"\0*", b"\0+"),
        "truncated": exif(exif_orientation(6))[:-6],
    }.items()
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")  # Pillow reads the resolution from it
@pytest.mark.parametrize("name", JPEGS)
def test_jpeg_looks_like_its_upload(browser: Browser, name: str) -> None:
    _, content = stored(JPEGS[name])
    after, before = browser.look_at(content).still, browser.look_at(JPEGS[name]).still
    assert apart(after, before) < 30  # each corner has a colour of its own
    assert not images.decoded(content).info.keys() & {"exif", "icc_profile", "comment", "xmp"}


# What is refused


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


@pytest.mark.parametrize("name", [*REFUSED_GIFS, *REFUSED_PNGS])
def test_broken_image_is_refused(name: str) -> None:
    with TemporaryFile() as file:
        file.write((REFUSED_GIFS | REFUSED_PNGS)[name])
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


@given(upload=gifs() | pngs(), changes=st.lists(st.tuples(st.integers(0, 2000), st.binary(max_size=3)), min_size=1))
def test_changed_bytes_crash_nothing(upload: bytes, changes: list[tuple[int, bytes]]) -> None:
    content = bytearray(upload)
    for place, data in changes:
        content[place % len(content) : place % len(content) + 1] = data
    with suppress(Exception):  # The program makes a validation error of each.
        stored(bytes(content))


# Bounds


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
