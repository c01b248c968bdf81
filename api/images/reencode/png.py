"""PNG and APNG: decode the pixels of each frame and encode them again; keep its box, delay, disposal and blending.

Frames are not composited, so no blending changes. Data that no browser shows is removed: metadata, unused colours,
the colours of fully transparent pixels, and the still image for viewers that do not support animation. An image that
is not animated can be scaled down.
"""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import count

from PIL import Image
from PIL.ImageCms import ImageCmsProfile

from api.images.reencode.encoded_image import EncodedImage
from api.images.reencode.exif import read_orientation, transpose_box
from api.images.reencode.limits import MalformedError, limit_output
from api.images.reencode.pixels import (
    COMPRESSION,
    INDEXED,
    KEY_SIZES,
    OUTPUT_FORMATS,
    DirectPixels,
    IndexedPixels,
    Layout,
    ScaledIndexedPixels,
)
from api.images.reencode.scaling import choose_size
from api.images.reencode.srgb import open_profile

CONTENT_TYPE = "image/png"
SIGNATURE = b"\x89PNG\r\n\x1a\n"
HEADER = ">IIBBBBB"  # width, height, bit depth, colour type, compression, filter, interlacing
ANIMATION_CONTROL = ">II"  # frames, plays
FRAME_CONTROL = ">IIIIIHHBB"  # sequence number, width, height, left, top, delay as a fraction, disposal, blending
UINT32 = ">I"
CRITICAL = {b"PLTE", b"IDAT", b"IEND"}  # chunks that may follow the header and that browsers cannot ignore
MAX_UINT31 = 2**31 - 1  # the format's largest integer
MAX_PROFILE_BYTES = 16 * 1024 * 1024  # decompressed
SIZES = {b"acTL": 8, b"cICP": 4, b"cHRM": 32, b"gAMA": 4, b"sRGB": 1}  # bytes of the data, by type of chunk
# Values of ITU-T H.273 that browsers support in a cICP chunk.
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


def reencode(upload: bytes, *, scale_down: bool = False) -> EncodedImage:
    """Return the image as a PNG. Raises RejectedError, or any other exception for an incomplete PNG."""
    (kind, header), *chunks = read_chunks(upload)
    width, height, depth, colour_type, *methods, interlacing = struct.unpack(HEADER, header)
    if kind != b"IHDR" or any(methods) or interlacing > 1 or not width or not height:
        raise MalformedError("header")
    tables, canvas = select_tables(chunks, colour_type), (0, 0, width, height)
    plays, frames = read_frames(chunks, tables, canvas)
    size = choose_size(width, height, len(frames), scale_down=scale_down)
    colour_space, profile = find_colour_space(tables)
    layout, transparency = Layout(colour_type, depth, bool(interlacing)), tables.get(b"tRNS", b"")
    scaled_size = size if size != canvas[2:] else None
    pixels: DirectPixels | IndexedPixels
    if colour_type != INDEXED:
        pixels = DirectPixels(layout, transparency, profile, scaled_size)
    elif scaled_size:
        pixels = ScaledIndexedPixels(layout, tables[b"PLTE"], transparency, profile, scaled_size)
    else:
        pixels = IndexedPixels(layout, tables[b"PLTE"], transparency, profile)
    orientation = read_orientation(tables.get(b"eXIf", b""))
    contents = limit_output(pixels.reencode(b"".join(frame.data), frame.box[2:], orientation) for frame in frames)
    reencoded = [
        replace(frame, box=transpose_box(frame.box, canvas[2:], orientation), data=[content])
        for frame, content in zip(frames, contents, strict=True)
    ]
    colour_type, depth = pixels.output_format
    size = transpose_box((0, 0, *size), size, orientation)[2:]
    head = {b"IHDR": struct.pack(HEADER, *size, depth, colour_type, 0, 0, 0)} | colour_space
    return EncodedImage(CONTENT_TYPE, *size, assemble(head, pixels.encode_tables(), reencoded, plays))


def encode(image: Image.Image) -> EncodedImage:
    """Return an image that is in sRGB as a PNG."""
    colour_type, depth = OUTPUT_FORMATS[image.mode]
    head = {b"IHDR": struct.pack(HEADER, *image.size, depth, colour_type, 0, 0, 0)}
    frame = Frame((0, 0, *image.size), data=[image.tobytes("zip", image.mode, *COMPRESSION)])
    return EncodedImage(CONTENT_TYPE, *image.size, assemble(head, {}, [frame], plays=0))


def read_chunks(upload: bytes) -> Iterator[Chunk]:
    """Yield the chunks up to IEND. Raises MalformedError, or struct.error at the end of the file."""
    offset, kind = len(SIGNATURE), b""
    while kind != b"IEND":
        length, kind = struct.unpack_from(">I4s", upload, offset)
        end = offset + 8 + length
        if struct.unpack_from(UINT32, upload, end) != (zlib.crc32(upload[offset + 4 : end]),):
            raise MalformedError("checksum")
        yield kind, upload[offset + 8 : end]
        offset = end + 4


def select_tables(chunks: list[Chunk], colour_type: int) -> Chunks:
    """Return the first valid chunk of each type before the pixels: browsers ignore all others."""
    kinds = [kind for kind, _ in chunks]
    if kinds.count(b"PLTE") > 1 or not {kind for kind in kinds if kind[:1].isupper()} <= CRITICAL:
        raise MalformedError("critical chunks")
    tables: Chunks = {}
    for kind, data in chunks[: kinds.index(b"IDAT")]:
        if is_valid(kind, data, colour_type, has_palette=b"PLTE" in tables):
            tables.setdefault(kind, data)
    return tables


def is_valid(kind: bytes, data: bytes, colour_type: int, *, has_palette: bool) -> bool:
    """Return whether browsers accept a chunk; `has_palette` is true if it follows the palette."""
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


def read_frames(chunks: list[Chunk], tables: Chunks, canvas: Box) -> tuple[int, list[Frame]]:
    """Return how often an animation plays (0: forever) and its frames, or a still image as one frame."""
    frame_count, plays = struct.unpack(ANIMATION_CONTROL, tables.get(b"acTL", bytes(8)))
    is_animated = 0 < frame_count <= MAX_UINT31 and plays <= MAX_UINT31
    frames = split_frames(chunks, canvas, is_animated)
    if not is_animated:
        return plays, frames
    animated = [frame for frame in frames if frame.timing][:frame_count]
    # The first frame of a file must cover the canvas. If the animation's does not, keep the still image before it.
    return plays, animated if animated[0].box == canvas else [frames[0], *animated]


def split_frames(chunks: list[Chunk], canvas: Box, is_animated: bool) -> list[Frame]:
    """Return all frames; the first may be a still image. Raises MalformedError or struct.error."""
    frames: list[Frame] = []
    control, sequence, previous = None, count(), b""
    for kind, data in chunks:
        is_pixels = kind == b"IDAT" or (kind == b"fdAT" and is_animated)
        if is_animated and kind in {b"fcTL", b"fdAT"} and struct.unpack_from(UINT32, data) != (next(sequence),):
            raise MalformedError("sequence")
        if is_animated and kind == b"fcTL":
            control = read_control(data, canvas)
        elif is_pixels and kind != previous:
            frame = Frame(canvas) if kind == b"IDAT" and not control else control
            if not frame or (kind == b"IDAT") == bool(frames) or (kind == b"IDAT" and frame.box != canvas):
                raise MalformedError("order of chunks")
            frames.append(frame)
            control = None
        if is_pixels:
            frames[-1].data.append(data if kind == b"IDAT" else data[4:])
        previous = kind
    return frames


def read_control(data: bytes, canvas: Box) -> Frame:
    """Return the frame that an fcTL chunk describes, without pixels. Raises MalformedError or struct.error."""
    _, width, height, left, top, *timing = struct.unpack(FRAME_CONTROL, data)
    if not (0 < width <= canvas[2] - left and 0 < height <= canvas[3] - top) or timing[2] > 2 or timing[3] > 1:
        raise MalformedError("frame control")
    return Frame((left, top, width, height), tuple(timing))


def find_colour_space(tables: Chunks) -> tuple[Chunks, ImageCmsProfile | None]:
    """Return the colour space that browsers use: chunks to keep, a profile to convert from, or neither for sRGB."""
    primaries, transfer, matrix, is_full_range = tables.get(b"cICP", bytes(4))
    if primaries in PRIMARIES and transfer in TRANSFERS and not matrix and is_full_range:
        return {b"cICP": tables[b"cICP"]}, None
    if profile := open_profile(inflate_profile(tables.get(b"iCCP", b""))):
        return {}, profile
    if b"sRGB" in tables or b"gAMA" not in tables:
        return {}, None
    return {kind: tables[kind] for kind in (b"gAMA", b"cHRM") if kind in tables}, None


def inflate_profile(data: bytes) -> bytes:
    """Return the profile in an iCCP chunk, or b"" if it is not valid."""
    name, _, method_and_profile = data.partition(b"\0")
    if not name or method_and_profile[:1] != b"\0":
        return b""
    try:
        return zlib.decompressobj().decompress(method_and_profile[1:], MAX_PROFILE_BYTES)
    except zlib.error:
        return b""


def assemble(head: Chunks, tables: Chunks, frames: list[Frame], plays: int) -> bytes:
    """Return a file of these chunks and frames."""
    chunks = [*head.items()]
    animated = [frame for frame in frames if frame.timing] if len(frames) > 1 else []
    if animated:
        chunks.append((b"acTL", struct.pack(ANIMATION_CONTROL, len(animated), plays)))
    chunks += tables.items()
    sequence = count()
    for frame in frames:
        if animated and frame.timing:
            left, top, *size = frame.box
            chunks.append((b"fcTL", struct.pack(FRAME_CONTROL, next(sequence), *size, left, top, *frame.timing)))
        for data in frame.data:
            is_first = frame is frames[0]
            chunks.append((b"IDAT", data) if is_first else (b"fdAT", struct.pack(UINT32, next(sequence)) + data))
    chunks.append((b"IEND", b""))
    parts = [
        struct.pack(UINT32, len(data)) + kind + data + struct.pack(UINT32, zlib.crc32(kind + data))
        for kind, data in chunks
    ]
    return SIGNATURE + b"".join(parts)
