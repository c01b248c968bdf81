"""A re-encoded still PNG looks like its upload in a browser, and has only visible pixels and colours.

The comparison is exact except for images with a colour profile, where decoders round differently.
"""

import struct

import pytest
from PIL import ImageCms

from api.images.reencode.__main__ import reencode
from tests import images
from tests.api.images.appearance import assert_looks_alike, measure_max_difference
from tests.api.images.small_images import (
    HDR,
    P3_PRIMARIES,
    RED,
    RGBY,
    SRGB_PRIMARIES,
    TEXT,
    TURNED,
    cicp,
    coloured_png,
    gamma,
    iccp,
    indexed_png,
    primaries,
    row_png,
)
from tests.browser import Browser
from tests.crafted import CHANNELS, chunk, exif, orientation_entry


def transparent_png(colour_type: int, depth: int, values: tuple[int, ...], *key: int) -> bytes:
    """A PNG of greys with a tRNS chunk that makes one of them transparent."""
    pixels = [(value,) * CHANNELS[colour_type] for value in values]
    return row_png(colour_type, depth, pixels, chunk(b"tRNS", struct.pack(f">{len(key)}H", *key)))


PNGS = {
    f"{depth} bits of grey, key {key}": transparent_png(0, depth, values, key)
    for depth, values, key in [
        (1, (0, 1), 1), (1, (0, 1), 0x101), (1, (0, 1), 3), (2, (0, 1, 3), 1), (4, (0, 1, 15), 1), (8, (0, 1, 255), 1),
        (8, (0, 1, 255), 0x101), (16, (0x1234, 0x1235, 0x1134, 0x12FF), 0x1234),
    ]
} | {
    f"{depth} bits of RGB, key {key}": transparent_png(2, depth, values, *key)
    for depth, values, key in [
        (8, (0, 1, 2), (1, 1, 1)), (8, (0, 1, 2), (1, 1, 2)), (8, (0, 1, 2), (0x101, 1, 1)),
        (16, (0x1234, 0x1235, 0x1134), (0x1234,) * 3), (16, (0x1234, 0x1235), (0x1234, 0x1234, 0x1235)),
    ]
} | {
    "a key too short": transparent_png(2, 8, (0, 1), 1, 1),
    "a key after one too short": row_png(
        2, 8, [(0, 0, 0), (1, 1, 1)], chunk(b"tRNS", b"\0"), chunk(b"tRNS", b"\0\1" * 3)
    ),
    "code points after too few": coloured_png(2, cicp(1, 13), cicp(12, 13, 0, 1)),
    "a gamma after none": coloured_png(2, gamma(0), gamma(100_000)),
    "a key of what has alpha": transparent_png(4, 8, (0, 1), 1),
    "palette too short": indexed_png(chunk(b"PLTE", RGBY[:6])),
    "palette too short, transparent": indexed_png(chunk(b"PLTE", RGBY[:6]), chunk(b"tRNS", b"\x80\x40\x20")),
    "few opacities": indexed_png(chunk(b"PLTE", RGBY), chunk(b"tRNS", b"\x80\0")),
    "opacities before the palette": indexed_png(chunk(b"tRNS", b"\x80\0"), chunk(b"PLTE", RGBY)),
    "opacities behind the pixels": indexed_png(chunk(b"PLTE", RGBY)).replace(
        chunk(b"IEND"), chunk(b"tRNS", b"\x80\0") + chunk(b"IEND")
    ),
    "palette with half a colour": indexed_png(chunk(b"PLTE", RGBY[:8])),
    "orientation": coloured_png(2, TURNED),
    "orientation, of two the first": coloured_png(2, TURNED, chunk(b"eXIf", exif(orientation_entry(3)))),
    "orientation behind the pixels": coloured_png(2).replace(chunk(b"IEND"), TURNED + chunk(b"IEND")),
    "orientation in a text": coloured_png(2, chunk(b"tEXt", b"Raw profile type exif\0\nexif\n 32\n" + (
        b"Exif\0\0" + exif(orientation_entry(6))).hex().encode() + b"\n")),
    "16 bits": row_png(2, 16, [(value,) * 3 for value in (0, 127, 128, 255, 256, 383, 384, 0x80FF, 0xFF00, 0xFFFF)]),
} | {
    f"{names} of colour type {colour_type}": coloured_png(colour_type, *chunks)
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
        "code points and a profile": [cicp(12, 13, 0, 1), iccp(images.build_swapped_profile())],
        "no profile but gamma": [iccp(b"nothing"), gamma(100_000)],
    }.items()
}  # fmt: skip


@pytest.mark.parametrize("name", PNGS)
def test_png_looks_like_its_upload(browser: Browser, name: str) -> None:
    assert_looks_alike(browser, PNGS[name])


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "L", "LA", "1"])
@pytest.mark.parametrize("profile", [images.build_swapped_profile(), images.build_grey_profile()], ids=["RGB", "grey"])
def test_profile_of_a_png_is_applied(browser: Browser, mode: str, profile: bytes) -> None:
    upload = images.encode(images.draw_gradient().convert(mode), "PNG", icc_profile=profile)
    content = reencode(upload).content
    assert measure_max_difference(browser.render(content).still, browser.render(upload).still) <= 2
    assert b"iCCP" not in content


def test_png_keeps_only_visible_data() -> None:
    hidden = (115, 101, 99)
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    head = [TEXT, iccp(profile), chunk(b"eXIf", exif(orientation_entry(1))), chunk(b"tIME", bytes(7))]
    content = reencode(row_png(6, 8, [RED, (*hidden, 0), (*hidden, 0)], *head) + bytes(hidden)).content
    assert [kind for kind, _ in images.split_chunks(content)] == [b"IHDR", b"IDAT", b"IEND"]
    assert images.decode(content).tobytes() == bytes(RED) + bytes(8)


def test_palette_keeps_only_visible_colours() -> None:
    palette = chunk(b"PLTE", b"\xff\0\0" + b"secret" + b"\0\xff\0" + b"secret")
    content = reencode(row_png(3, 4, [(0,), (1,), (3,)], palette, chunk(b"tRNS", b"\xff\0\x20\x80\x20"))).content
    chunks = dict(images.split_chunks(content))
    assert chunks[b"PLTE"] == b"\xff\0\0" + bytes(6) + b"\0\xff\0"
    assert chunks[b"tRNS"] == b"\xff\0\xff\x80"
