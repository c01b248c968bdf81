"""PNG and APNG: the pixels of each frame are decoded and encoded again; its box, delay, disposal and blending stay.

Frames are not composed, so no blending changes. Data that no browser shows is removed: metadata, unused colours,
the colours of fully transparent pixels, and the still image for viewers that do not support animation.
"""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import count

from PIL.ImageCms import ImageCmsProfile

from api.images.reencode import BrokenError, check_size, limit_output
from api.images.reencode.exif import find_orientation, turn_box
from api.images.reencode.pixels import INDEXED, KEY_SIZES, DirectPixels, IndexedPixels, Layout
from api.images.reencode.srgb import open_profile

SIGNATURE = b"\x89PNG\r\n\x1a\n"
HEADER = ">IIBBBBB"  # width, height, bit depth, colour type, compression, filter, interlacing
ANIMATION = ">II"  # frames, plays
CONTROL = ">IIIIIHHBB"  # sequence number, width, height, left, top, the delay as a fraction, disposal, blending
NUMBER = ">I"
CRITICAL = {b"PLTE", b"IDAT", b"IEND"}
MAX_NUMBER = 2**31 - 1
MAX_PROFILE_BYTES = 16 * 1024 * 1024
SIZES = {b"acTL": 8, b"cICP": 4, b"cHRM": 32, b"gAMA": 4, b"sRGB": 1}  # of chunks
# Values of H.273 that browsers support in a cICP chunk.
PRIMARIES = {1, *range(4, 13), 22}
TRANSFERS = {1, *range(4, 9), 11, *range(13, 19)}

Box = tuple[int, int, int, int]  # left, top, width, height
Chunk = tuple[bytes, bytes]  # type, data
Chunks = dict[bytes, bytes]


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame of an animation, or a still image."""

    box: Box
    timing: tuple[int, ...] = ()  # numerator and denominator of the delay, disposal, blending; empty for a still image
    data: list[bytes] = field(default_factory=list)


def reencode(upload: bytes) -> bytes:
    """Return the image as a PNG. Raises RefusedError, or any other exception for an incomplete PNG."""
    (kind, header), *chunks = read_chunks(upload)
    width, height, depth, colour_type, *methods, interlacing = struct.unpack(HEADER, header)
    if kind != b"IHDR" or any(methods) or interlacing > 1 or not width or not height:
        raise BrokenError("header")
    found, canvas = find_chunks(chunks, colour_type), (0, 0, width, height)
    plays, frames = read_frames(chunks, found, canvas)
    check_size(width, height, len(frames))
    space, profile = find_colour_space(found)
    layout, transparency = Layout(colour_type, depth, bool(interlacing)), found.get(b"tRNS", b"")
    pixels: DirectPixels | IndexedPixels
    if colour_type == INDEXED:
        pixels = IndexedPixels(layout, found[b"PLTE"], transparency, profile)
    else:
        pixels = DirectPixels(layout, transparency, profile)
    orientation = find_orientation(found.get(b"eXIf", b""))
    contents = limit_output(pixels.reencode(b"".join(frame.data), frame.box[2:], orientation) for frame in frames)
    stored = [
        replace(frame, box=turn_box(frame.box, canvas[2:], orientation), data=[content])
        for frame, content in zip(frames, contents, strict=True)
    ]
    colour_type, depth = pixels.stored
    size = turn_box(canvas, canvas[2:], orientation)[2:]
    head = {b"IHDR": struct.pack(HEADER, *size, depth, colour_type, 0, 0, 0)} | space
    return write(head, pixels.tables(), stored, plays)


def read_chunks(upload: bytes) -> Iterator[Chunk]:
    """Yield the chunks up to IEND. Raises BrokenError, or struct.error at the end of the file."""
    place, kind = len(SIGNATURE), b""
    while kind != b"IEND":
        length, kind = struct.unpack_from(">I4s", upload, place)
        end = place + 8 + length
        if struct.unpack_from(NUMBER, upload, end) != (zlib.crc32(upload[place + 4 : end]),):
            raise BrokenError("checksum")
        yield kind, upload[place + 8 : end]
        place = end + 4


def find_chunks(chunks: list[Chunk], colour_type: int) -> Chunks:
    """Return the first valid chunk of each type before the pixels: browsers ignore all others."""
    kinds = [kind for kind, _ in chunks]
    if kinds.count(b"PLTE") > 1 or not {kind for kind in kinds if kind[:1].isupper()} <= CRITICAL:
        raise BrokenError("critical chunks")
    found: Chunks = {}
    for kind, data in chunks[: kinds.index(b"IDAT")]:
        if is_valid(kind, data, colour_type, has_palette=b"PLTE" in found):
            found.setdefault(kind, data)
    return found


def is_valid(kind: bytes, data: bytes, colour_type: int, *, has_palette: bool) -> bool:
    """Return whether browsers accept a chunk; `has_palette` if it comes after the palette."""
    if len(data) != SIZES.get(kind, len(data)):
        return False
    match kind:
        case b"cICP":
            return not has_palette
        case b"gAMA":
            return any(data)
        case b"sRGB":
            return data[0] < 4
        case b"tRNS":
            return len(data) >= KEY_SIZES.get(colour_type, 1) and (has_palette or colour_type != INDEXED)
        case _:
            return True


def read_frames(chunks: list[Chunk], found: Chunks, canvas: Box) -> tuple[int, list[Frame]]:
    """Return how often an animation plays (0: forever), and its frames; or a still image."""
    frame_count, plays = struct.unpack(ANIMATION, found.get(b"acTL", bytes(8)))
    is_animated = 0 < frame_count <= MAX_NUMBER and plays <= MAX_NUMBER
    frames = split_frames(chunks, canvas, is_animated)
    if not is_animated:
        return plays, frames
    moving = [frame for frame in frames if frame.timing][:frame_count]
    # The first frame of a file must cover the canvas. If the first moving one does not, keep the still image before it.
    return plays, moving if moving[0].box == canvas else [frames[0], *moving]


def split_frames(chunks: list[Chunk], canvas: Box, is_animated: bool) -> list[Frame]:
    """Return all frames; the first may be a still image. Raises BrokenError, struct.error."""
    frames: list[Frame] = []
    control, sequence, previous = None, count(), b""
    for kind, data in chunks:
        is_pixels = kind == b"IDAT" or (kind == b"fdAT" and is_animated)
        if is_animated and kind in {b"fcTL", b"fdAT"} and struct.unpack_from(NUMBER, data) != (next(sequence),):
            raise BrokenError("sequence")
        if is_animated and kind == b"fcTL":
            control = read_control(data, canvas)
        elif is_pixels and kind != previous:
            frame = Frame(canvas) if kind == b"IDAT" and not control else control
            if not frame or (kind == b"IDAT") == bool(frames) or (kind == b"IDAT" and frame.box != canvas):
                raise BrokenError("order of chunks")
            frames.append(frame)
            control = None
        if is_pixels:
            frames[-1].data.append(data if kind == b"IDAT" else data[4:])
        previous = kind
    return frames


def read_control(data: bytes, canvas: Box) -> Frame:
    """Return the frame that an fcTL chunk describes, without pixels. Raises BrokenError, struct.error."""
    _, width, height, left, top, *timing = struct.unpack(CONTROL, data)
    if not (0 < width <= canvas[2] - left and 0 < height <= canvas[3] - top) or timing[2] > 2 or timing[3] > 1:
        raise BrokenError("frame control")
    return Frame((left, top, width, height), tuple(timing))


def find_colour_space(found: Chunks) -> tuple[Chunks, ImageCmsProfile | None]:
    """Return the colour space that browsers use: chunks to keep, a profile to convert from, or neither for sRGB."""
    primaries, transfer, matrix, is_full_range = found.get(b"cICP", bytes(4))
    if primaries in PRIMARIES and transfer in TRANSFERS and not matrix and is_full_range:
        return {b"cICP": found[b"cICP"]}, None
    if profile := open_profile(inflate_profile(found.get(b"iCCP", b""))):
        return {}, profile
    if b"sRGB" in found or b"gAMA" not in found:
        return {}, None
    return {kind: found[kind] for kind in (b"gAMA", b"cHRM") if kind in found}, None


def inflate_profile(data: bytes) -> bytes:
    """Return the profile in an iCCP chunk, empty if it has no valid one."""
    name, _, method_and_profile = data.partition(b"\0")
    if not name or method_and_profile[:1] != b"\0":
        return b""
    try:
        return zlib.decompressobj().decompress(method_and_profile[1:], MAX_PROFILE_BYTES)
    except zlib.error:
        return b""


def write(head: Chunks, tables: Chunks, frames: list[Frame], plays: int) -> bytes:
    """Return a file of these chunks and frames."""
    chunks = [*head.items()]
    moving = [frame for frame in frames if frame.timing] if len(frames) > 1 else []
    if moving:
        chunks.append((b"acTL", struct.pack(ANIMATION, len(moving), plays)))
    chunks += tables.items()
    sequence = count()
    for frame in frames:
        if moving and frame.timing:
            left, top, *size = frame.box
            chunks.append((b"fcTL", struct.pack(CONTROL, next(sequence), *size, left, top, *frame.timing)))
        for data in frame.data:
            is_first = frame is frames[0]
            chunks.append((b"IDAT", data) if is_first else (b"fdAT", struct.pack(NUMBER, next(sequence)) + data))
    chunks.append((b"IEND", b""))
    parts = [
        struct.pack(NUMBER, len(data)) + kind + data + struct.pack(NUMBER, zlib.crc32(kind + data))
        for kind, data in chunks
    ]
    return SIGNATURE + b"".join(parts)
