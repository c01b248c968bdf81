"""Uploads for tests and benchmarks: real images, and what only looks like one."""

import functools
import random
import struct
import zlib
from collections.abc import Iterable
from io import BytesIO
from typing import Any

from PIL import Image, ImageChops, ImageCms, ImageDraw, ImageSequence, ImageStat

from tests import crafted

MAX_BYTES = 5 * 1024 * 1024
SCRIPT = b"<html><script>alert(1)</script></html>"
SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'


def encoded(image: Image.Image, file_format: str, **options: Any) -> bytes:
    """The image as a file."""
    output = BytesIO()
    image.save(output, file_format, **options)
    return output.getvalue()


def decoded(content: bytes) -> Image.Image:
    """The image in a file, read to its end."""
    image = Image.open(BytesIO(content))
    image.load()
    return image


def gradient(width: int = 64, height: int = 48) -> Image.Image:
    """Four corners in four colours, so that one sees how it is turned."""
    corners = Image.new("RGB", (2, 2))
    for place, colour in {(0, 0): "red", (1, 0): "lime", (0, 1): "blue", (1, 1): "white"}.items():
        corners.paste(Image.new("RGB", (1, 1), colour), place)
    return corners.resize((width, height), Image.Resampling.BICUBIC)


def noise(width: int, height: int, seed: int = 1) -> Image.Image:
    """What no encoder makes smaller."""
    pixels = random.Random(seed).randbytes(3 * width * height)  # noqa: S311 (no secret)
    return Image.frombytes("RGB", (width, height), pixels)


def animation(frames: int, side: int = 48, mode: str = "RGB") -> list[Image.Image]:
    """Pictures of a dot that moves, no two alike; on nothing, where the mode has transparency."""
    pictures = []
    for number in range(frames):
        picture = Image.new("RGBA", (side, side), "#0000" if mode == "RGBA" else "navy")
        x, y = number % side, number // side % side
        ImageDraw.Draw(picture).rectangle((x, y, x + 9, y + 9), fill=(255, number % 250, 40))
        pictures.append(picture.convert(mode))
    return pictures


def animated(pictures: list[Image.Image], file_format: str, **options: Any) -> bytes:
    """The pictures as one file."""
    options = {"duration": [40 + 10 * (n % 3) for n in range(len(pictures))], "loop": 3} | options
    return encoded(pictures[0], file_format, save_all=True, append_images=pictures[1:], **options)


def frames_of(content: bytes) -> list[Image.Image]:
    """Each frame as one sees it."""
    image = Image.open(BytesIO(content))
    return [frame.convert("RGBA") for frame in ImageSequence.Iterator(image)]


def chunks_of(content: bytes) -> list[tuple[bytes, bytes]]:
    """The chunks of a PNG."""
    place, found = 8, []
    while place < len(content):
        length, kind = struct.unpack_from(">I4s", content, place)
        found.append((kind, content[place + 8 : place + 8 + length]))
        place += 12 + length
    return found


def difference(one: Image.Image, other: Image.Image) -> float:
    """How far two pictures are apart, on a pink ground: 0 to 255, on average over pixels and colours."""
    assert one.size == other.size
    ground = Image.new("RGBA", one.size, "pink")
    seen = [Image.alpha_composite(ground, image.convert("RGBA")).convert("RGB") for image in (one, other)]
    return sum(ImageStat.Stat(ImageChops.difference(*seen)).mean) / 3


def photo(orientation: int = 6) -> bytes:
    """A JPEG as of a camera: with the place where it was taken, turned on its side, with a comment."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    exif[0x010F] = "A Camera"
    exif.get_ifd(0x8825).update({1: "N", 2: (52.0, 31.0, 12.0), 3: "E", 4: (13.0, 24.0, 18.0)})
    return encoded(gradient(), "JPEG", exif=exif, comment=b"A comment", quality=95)


def with_red_for_green() -> bytes:
    """A colour profile in which the first number is that of green, and the second that of red."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return profile.replace(b"rXYZ", b"none").replace(b"gXYZ", b"rXYZ").replace(b"none", b"gXYZ")


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


def photo_with_odd_exif() -> bytes:
    """A JPEG lying on its side, whose Exif also has a resolution that is no number."""
    entries = struct.pack(">HHIHH", 0x0112, 3, 1, 6, 0) + struct.pack(">HHI4s", 0x011A, 2, 4, b"abc\0")
    exif = b"Exif\0\0MM\0*\0\0\0\x08\0\2" + entries + bytes(4)
    photo = encoded(gradient(), "JPEG", quality=95)
    return photo[:2] + b"\xff\xe1" + struct.pack(">H", 2 + len(exif)) + exif + photo[2:]


def jpeg_of_scans(scans: int) -> bytes:
    """A progressive JPEG that repeats its last scan."""
    photo = encoded(gradient(), "JPEG", progressive=True)
    last = photo[photo.rindex(b"\xff\xda") : -2]
    return photo[:-2] + last * (scans - photo.count(b"\xff\xda")) + photo[-2:]


def png(width: int, height: int, chunks: Iterable[bytes] = ()) -> bytes:
    """A PNG of one colour, a bit a pixel; further chunks come before its pixels."""
    packer, row = zlib.compressobj(9), bytes(1 + (width + 7) // 8)
    packed = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    return crafted.png(width, height, 0, 1, *chunks, crafted.chunk(b"IDAT", packed))


@functools.cache
def costly(frames: int) -> bytes:
    """An animation each of whose frames costs as much as one within the limits can."""
    side = 2048
    profile = crafted.chunk(b"iCCP", b"x\0\0" + zlib.compress(with_red_for_green()))
    exif = crafted.chunk(b"eXIf", crafted.exif(crafted.exif_orientation(5)))
    key = crafted.chunk(b"tRNS", bytes(6))
    rows = crafted.rows(side, side, is_interlaced=True)
    pixels = zlib.compress(b"".join(b"\4" + bytes(6 * len(row)) for row in rows))
    box = (0, 0, side, side)
    chunks = [profile, exif, key, crafted.animation_control(frames)]
    chunks += [crafted.frame_control(0, box), crafted.chunk(b"IDAT", pixels)]
    for sequence in range(1, 2 * frames - 1, 2):
        chunks += [crafted.frame_control(sequence, box), crafted.frame_data(sequence + 1, pixels)]
    return crafted.png(side, side, 2, 16, *chunks, is_interlaced=True)


def padded(content: bytes, size: int) -> bytes:
    """The file with trailing data, to be just so large."""
    return content + bytes(size - len(content))
