"""A stored JPEG looks like its upload in a browser, and contains no metadata.

The comparison is not exact, because JPEG is lossy and decoders round.
"""

import struct
from typing import Any

import pytest

from api.images.reencode import limits
from api.images.reencode.__main__ import reencode
from api.images.reencode.jpeg import count_scans
from tests import images
from tests.api.images.appearance import measure_max_difference
from tests.browser import Browser
from tests.crafted import exif, orientation_entry


def jpeg(*segments: bytes, **options: Any) -> bytes:
    """A photo; `segments` precede its other segments."""
    content = images.encode(images.draw_gradient(), "JPEG", quality=95, **options)
    return content[:2] + b"".join(segments) + content[2:]


def app1(data: bytes) -> bytes:
    """An APP1 segment, which holds metadata."""
    return b"\xff\xe1" + struct.pack(">H", 2 + len(data)) + data


XMP = app1(b'http://ns.adobe.com/xap/1.0/\0<rdf:Description tiff:Orientation="6"/>')
CMYK = images.encode(images.draw_gradient().convert("CMYK"), "JPEG", quality=95)
ADOBE = CMYK.index(b"Adobe")
JPEGS = {
    "grey": images.encode(images.draw_gradient().convert("L"), "JPEG", quality=95),
    "progressive": jpeg(progressive=True),
    "4:4:4": jpeg(subsampling=0),
    "RGB": jpeg(keep_rgb=True),
    "CMYK": CMYK,
    "YCCK": CMYK[: ADOBE + 11] + b"\2" + CMYK[ADOBE + 12 :],
    "CMYK without Adobe": CMYK[: ADOBE - 4] + CMYK[ADOBE + 12 :],
    "a profile": jpeg(icc_profile=images.build_swapped_profile()),
    "a grey profile": images.encode(
        images.draw_gradient().convert("L"), "JPEG", quality=95, icc_profile=images.build_grey_profile()
    ),
    "XMP": jpeg(XMP),
    "Exif and XMP": jpeg(app1(b"Exif\0\0" + exif(orientation_entry(3))), XMP),
    "two of Exif": jpeg(*(app1(b"Exif\0\0" + exif(orientation_entry(value))) for value in (6, 3))),
} | {
    f"Exif, {name}": jpeg(app1(b"Exif\0\0" + data))
    for name, data in {
        **{f"orientation {value}": exif(orientation_entry(value)) for value in range(10)},
        "little-endian": exif(orientation_entry(6, order="<"), order="<"),
        "further on": exif(orientation_entry(6), directory=20),
        "a LONG": exif(orientation_entry(6, kind=4)),
        "a signed number": exif(orientation_entry(6, kind=8)),
        "two numbers": exif(orientation_entry(6, count=2)),
        "a wrong one first": exif(orientation_entry(9), orientation_entry(3)),
        "two": exif(orientation_entry(6), orientation_entry(3)),
        "bad magic number": exif(orientation_entry(6)).replace(b"\0*", b"\0+"),
        "truncated": exif(orientation_entry(6))[:-6],
    }.items()
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")  # Pillow itself reads the resolution from Exif.
@pytest.mark.parametrize("name", JPEGS)
def test_jpeg_looks_like_its_upload(browser: Browser, name: str) -> None:
    content = reencode(JPEGS[name]).content
    after, before = browser.render(content).still, browser.render(JPEGS[name]).still
    assert measure_max_difference(after, before) < 30  # each corner has a colour of its own
    assert not images.decode(content).info.keys() & {"exif", "icc_profile", "comment", "xmp"}


def test_scans_of_thumbnails_and_trailing_data_do_not_count() -> None:
    scans = 300 * b"\xff\xda\0\2"
    for content in (jpeg(app1(scans)), jpeg(progressive=True) + scans):
        reencode(content)


@pytest.mark.parametrize("hiding", [b"", b"\xff\x02\xff\xff", b"\xff\xff", b"\xff\xd0", b"\0\xff\0"])
def test_hidden_scans_count(hiding: bytes) -> None:
    content = images.encode_jpeg_with_scans(limits.MAX_SCANS)
    assert count_scans(content) == limits.MAX_SCANS
    last = content[content.rindex(b"\xff\xda") : -2]
    assert count_scans(content[:-2] + hiding + last + content[-2:]) == limits.MAX_SCANS + 1
