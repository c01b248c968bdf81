"""Any GIF or PNG that Hypothesis generates looks the same in a browser after re-encoding.

No corruption of its bytes crashes the decoder.
"""

import struct
import zlib
from contextlib import suppress

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from api.images.reencode.__main__ import reencode
from tests.api.images.appearance import assert_looks_alike
from tests.api.images.small_images import HDR, P3_PRIMARIES, SRGB_PRIMARIES, TEXT, Pixels, cicp, gamma, primaries
from tests.browser import Browser, NotRenderedError
from tests.crafted import (
    CHANNELS,
    DEPTHS,
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
    loop_extension,
    orientation_entry,
    png,
    row_positions,
    split,
)

EXAMPLES = settings(max_examples=80)


# GIF


@st.composite
def palettes(draw: DrawFn) -> bytes:
    """No palette, or one of up to eight colours."""
    return draw(st.binary(min_size=24, max_size=24))[: draw(st.sampled_from([0, 6, 12, 24]))]


@st.composite
def gifs(draw: DrawFn) -> bytes:
    """Any GIF of up to four frames on a small canvas."""
    small = st.integers(0, 5)
    controls = st.builds(Control, st.integers(0, 7), st.sampled_from([0, 1, 7, 65535]), st.none() | st.integers(0, 9))
    loops = st.builds(loop_extension, st.sampled_from([0, 1, 65535]), st.sampled_from([b"NETSCAPE2.0", b"ANIMEXTS1.0"]))
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
        appearance = browser.render(upload)
    except NotRenderedError:  # For instance, it has no pixels.
        return
    content = reencode(upload).content
    assert browser.render(content) == appearance


# PNG and APNG


@st.composite
def pixel_data(draw: DrawFn, box: Box, layout: tuple[int, int, bool], colours: Pixels) -> bytes:
    """Compressed pixels: of few colours without filters, or of random bytes with filters."""
    (_, _, width, height), (colour_type, depth, is_interlaced) = box, layout
    if draw(st.booleans()):
        pixels = draw(st.lists(st.sampled_from(colours), min_size=width * height, max_size=width * height))
        return compressed_pixels(pixels, width, height, depth, is_interlaced=is_interlaced)
    data = b""
    for positions in row_positions(width, height, is_interlaced=is_interlaced):
        size = (len(positions) * CHANNELS[colour_type] * depth + 7) // 8
        data += bytes([draw(st.integers(0, 4))]) + draw(st.binary(min_size=size, max_size=size))
    return zlib.compress(data)


@st.composite
def boxes(draw: DrawFn, width: int, height: int) -> Box:
    """Any box on a canvas."""
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
    """Any PNG or APNG of up to four frames on a small canvas."""
    colour_type = draw(st.sampled_from(list(DEPTHS)))
    depth, is_interlaced = draw(st.sampled_from(DEPTHS[colour_type])), draw(st.booleans())
    layout, values = (colour_type, depth, is_interlaced), st.integers(0, 2**depth - 1)
    width, height = draw(st.integers(1, 9)), draw(st.integers(1, 9))
    canvas = (0, 0, width, height)
    colours = draw(st.lists(st.tuples(*[values] * CHANNELS[colour_type]), min_size=1, max_size=3))
    # Browsers also show the lower 8 of 16 bits in HDR: a difference of at most 2 of 255 levels.
    chunks = [space for space in draw(SPACES) if depth < 16 or space != HDR]
    orientations = draw(st.lists(st.integers(0, 9), max_size=1))
    chunks += [chunk(b"eXIf", exif(orientation_entry(value))) for value in orientations]
    if colour_type == 3:
        chunks.append(chunk(b"PLTE", draw(st.binary(min_size=3, max_size=3 * 2 ** min(depth, 3) + 1))))
        opacities = st.binary(max_size=5)
    else:
        opacities = st.sampled_from(colours).map(lambda colour: struct.pack(f">{len(colour)}H", *colour))
    chunks += [chunk(b"tRNS", data) for data in draw(st.lists(opacities | st.just(b"\0"), max_size=2))]
    frames = draw(st.integers(0, 4))
    is_still_frame_shown = draw(st.booleans())
    if frames:
        plays = draw(st.sampled_from([0, 1, 2, 9]))
        chunks.append(animation_control(draw(st.sampled_from([frames, 1, max(frames - 1, 1)])), plays))
    sequence = 0
    if not frames or not is_still_frame_shown:
        chunks.append(chunk(b"IDAT", draw(pixel_data(canvas, layout, colours))))
    for number in range(frames):
        is_default = is_still_frame_shown and number == 0
        box = canvas if is_default else draw(boxes(width, height))
        delay = draw(st.tuples(st.sampled_from([0, 1, 5, 65535]), st.sampled_from([0, 1, 3, 1000])))
        chunks.append(frame_control(sequence, box, delay, draw(st.integers(0, 2)), draw(st.integers(0, 1))))
        sequence += 1
        for piece in split(draw(pixel_data(box, layout, colours)), draw(st.sampled_from([9, 1000]))):
            chunks.append(chunk(b"IDAT", piece) if is_default else frame_data(sequence, piece))
            sequence += not is_default
    return png(width, height, colour_type, depth, *chunks, TEXT, is_interlaced=is_interlaced)


@EXAMPLES
@given(upload=pngs())
def test_any_png_looks_like_its_upload(browser: Browser, upload: bytes) -> None:
    assert_looks_alike(browser, upload)


# Both formats


@given(upload=gifs() | pngs(), changes=st.lists(st.tuples(st.integers(0, 2000), st.binary(max_size=3)), min_size=1))
def test_corrupted_image_does_not_crash_the_decoder(upload: bytes, changes: list[tuple[int, bytes]]) -> None:
    content = bytearray(upload)
    for position, data in changes:
        content[position % len(content) : position % len(content) + 1] = data
    with suppress(Exception):  # The program responds to each with a validation error.
        reencode(bytes(content))
