"""Uploads for tests and benchmarks: images of all formats, extreme ones, and files that only look like images."""

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


def encode(image: Image.Image, file_format: str, **options: Any) -> bytes:
    """Return the image as a file."""
    output = BytesIO()
    image.save(output, file_format, **options)
    return output.getvalue()


def decode(content: bytes) -> Image.Image:
    """Return the image in a file, fully decoded."""
    image = Image.open(BytesIO(content))
    image.load()
    return image


def draw_gradient(width: int = 64, height: int = 48) -> Image.Image:
    """Draw a corner in each of four colours, so that every orientation looks different."""
    corners = Image.new("RGB", (2, 2))
    for position, colour in {(0, 0): "red", (1, 0): "lime", (0, 1): "blue", (1, 1): "white"}.items():
        corners.paste(Image.new("RGB", (1, 1), colour), position)
    return corners.resize((width, height), Image.Resampling.BICUBIC)


def draw_noise(width: int, height: int, seed: int = 1) -> Image.Image:
    """Draw random pixels, which no encoder can compress."""
    pixels = random.Random(seed).randbytes(3 * width * height)  # noqa: S311 (no secret)
    return Image.frombytes("RGB", (width, height), pixels)


def draw_animation(frames: int, side: int = 48, mode: str = "RGB") -> list[Image.Image]:
    """Draw the frames of a moving dot, all of them different; on a transparent ground if the mode allows it."""
    pictures = []
    for number in range(frames):
        picture = Image.new("RGBA", (side, side), "#0000" if mode == "RGBA" else "navy")
        x, y = number % side, number // side % side
        ImageDraw.Draw(picture).rectangle((x, y, x + 9, y + 9), fill=(255, number % 250, 40))
        pictures.append(picture.convert(mode))
    return pictures


def encode_animation(pictures: list[Image.Image], file_format: str, **options: Any) -> bytes:
    """Return the pictures as the frames of one file."""
    options = {"duration": [40 + 10 * (n % 3) for n in range(len(pictures))], "loop": 3} | options
    return encode(pictures[0], file_format, save_all=True, append_images=pictures[1:], **options)


def decode_frames(content: bytes) -> list[Image.Image]:
    """Return each frame as it is displayed."""
    image = Image.open(BytesIO(content))
    return [frame.convert("RGBA") for frame in ImageSequence.Iterator(image)]


def split_chunks(content: bytes) -> list[tuple[bytes, bytes]]:
    """Return the chunks of a PNG, each with its type and data."""
    offset, chunks = 8, []
    while offset < len(content):
        length, kind = struct.unpack_from(">I4s", content, offset)
        chunks.append((kind, content[offset + 8 : offset + 8 + length]))
        offset += 12 + length
    return chunks


def measure_difference(one: Image.Image, other: Image.Image) -> float:
    """Return the mean absolute difference of two pictures on a pink ground, 0 to 255."""
    assert one.size == other.size
    ground = Image.new("RGBA", one.size, "pink")
    flattened = [Image.alpha_composite(ground, image.convert("RGBA")).convert("RGB") for image in (one, other)]
    return sum(ImageStat.Stat(ImageChops.difference(*flattened)).mean) / 3


def encode_photo(orientation: int = 6) -> bytes:
    """Return a JPEG as cameras write it: with a location, an orientation and a comment."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    exif[0x010F] = "A Camera"
    exif.get_ifd(0x8825).update({1: "N", 2: (52.0, 31.0, 12.0), 3: "E", 4: (13.0, 24.0, 18.0)})
    return encode(draw_gradient(), "JPEG", exif=exif, comment=b"A comment", quality=95)


def build_swapped_profile() -> bytes:
    """Return a colour profile that swaps red and green."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return profile.replace(b"rXYZ", b"none").replace(b"gXYZ", b"rXYZ").replace(b"none", b"gXYZ")


def build_grey_profile() -> bytes:
    """Return a profile of linear greys."""
    white = b"XYZ \0\0\0\0" + struct.pack(">3i", 63190, 65536, 54061)
    curve = b"curv" + bytes(8)
    tags = [(b"wtpt", white), (b"kTRC", curve)]
    offset, table, body = 128 + 4 + 12 * len(tags), struct.pack(">I", len(tags)), b""
    for name, data in tags:
        table += name + struct.pack(">II", offset + len(body), len(data))
        body += data
    head = struct.pack(">I4x4s4s4s4s12x4s", offset + len(body), b"\2\x40\0\0", b"mntr", b"GRAY", b"XYZ ", b"acsp")
    return (head.ljust(68, b"\0") + white[8:]).ljust(128, b"\0") + table + body


def encode_photo_with_invalid_exif() -> bytes:
    """Return a JPEG with an orientation, and with a resolution that is not a number."""
    entries = struct.pack(">HHIHH", 0x0112, 3, 1, 6, 0) + struct.pack(">HHI4s", 0x011A, 2, 4, b"abc\0")
    exif = b"Exif\0\0MM\0*\0\0\0\x08\0\2" + entries + bytes(4)
    photo = encode(draw_gradient(), "JPEG", quality=95)
    return photo[:2] + b"\xff\xe1" + struct.pack(">H", 2 + len(exif)) + exif + photo[2:]


def encode_jpeg_with_scans(scans: int) -> bytes:
    """Return a progressive JPEG that repeats its last scan."""
    photo = encode(draw_gradient(), "JPEG", progressive=True)
    last = photo[photo.rindex(b"\xff\xda") : -2]
    return photo[:-2] + last * (scans - photo.count(b"\xff\xda")) + photo[-2:]


def build_png(width: int, height: int, chunks: Iterable[bytes] = ()) -> bytes:
    """Return a PNG of one colour at one bit per pixel; `chunks` precede its pixels."""
    packer, row = zlib.compressobj(9), bytes(1 + (width + 7) // 8)
    packed = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    return crafted.png(width, height, 0, 1, *chunks, crafted.chunk(b"IDAT", packed))


@functools.cache
def build_costly_apng(frames: int) -> bytes:
    """Return an animation in which each frame costs as much CPU time as the limits allow."""
    side = 2048
    head, pixels = build_costly_parts(side, 2)
    box = (0, 0, side, side)
    chunks = [*head, crafted.animation_control(frames)]
    chunks += [crafted.frame_control(0, box), crafted.chunk(b"IDAT", pixels)]
    for sequence in range(1, 2 * frames - 1, 2):
        chunks += [crafted.frame_control(sequence, box), crafted.frame_data(sequence + 1, pixels)]
    return crafted.png(side, side, 2, 16, *chunks, is_interlaced=True)


def build_costly_parts(side: int, colour_type: int) -> tuple[list[bytes], bytes]:
    """Return chunks and the compressed pixels of a square, interlaced PNG of 16 bits that is turned and converted."""
    profile = crafted.chunk(b"iCCP", b"x\0\0" + zlib.compress(build_swapped_profile()))
    exif = crafted.chunk(b"eXIf", crafted.exif(crafted.orientation_entry(5)))
    key = [crafted.chunk(b"tRNS", bytes(6))] if colour_type == 2 else []
    packer = zlib.compressobj(1)
    rows = (b"\4" + bytes(2 * crafted.CHANNELS[colour_type] * len(range(left, side, right)))
            for left, top, right, down in crafted.PASSES for _ in range(top, side, down))  # fmt: skip
    pixels = b"".join(map(packer.compress, rows)) + packer.flush()
    return [profile, exif, *key], pixels


def build_costly_png(side: int, colour_type: int) -> bytes:
    """Return a square PNG that costs as much memory and CPU time as its size allows."""
    head, pixels = build_costly_parts(side, colour_type)
    return crafted.png(side, side, colour_type, 16, *head, crafted.chunk(b"IDAT", pixels), is_interlaced=True)


def pad(content: bytes, size: int) -> bytes:
    """Return the file with trailing data, `size` bytes long."""
    return content + bytes(size - len(content))
