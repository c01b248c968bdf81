"""A stored JPEG looks like its upload in a browser, and contains no metadata.

The comparison is not exact, because JPEG is lossy and decoders round.
"""

import struct
from typing import Any

import pytest

from api.images.reencode.__main__ import reencode as stored
from tests import images
from tests.api.images.appearance import apart
from tests.browser import Browser
from tests.crafted import exif, exif_orientation


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
    "a grey profile": images.encoded(
        images.gradient().convert("L"), "JPEG", quality=95, icc_profile=images.grey_profile()
    ),
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
