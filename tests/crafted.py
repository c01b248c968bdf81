"""GIFs and PNGs built byte by byte: variants that encoders do not write, and violations of the formats."""

import struct
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by colour type of a PNG
DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
# The passes of an interlaced PNG: left, top, steps to the right and down.
PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
MAX_CODES = 4096  # of the LZW table of a GIF

Box = tuple[int, int, int, int]  # left, top, width, height


def split(data: bytes, size: int) -> list[bytes]:
    """Split the data into pieces of `size` bytes; the last may be shorter."""
    return [data[start : start + size] for start in range(0, len(data), size)]


# GIF


@dataclass(frozen=True, slots=True)
class Control:
    """A graphic control extension."""

    disposal: int = 0
    delay: int = 0
    transparent: int | None = None

    def __bytes__(self) -> bytes:
        flags = self.disposal << 2 | (self.transparent is not None)
        return b"!\xf9\x04" + struct.pack("<BHBB", flags, self.delay, self.transparent or 0, 0)


def lzw_codes(pixels: Iterable[int], code_bits: int, *, is_cleared: bool) -> Iterator[tuple[int, int]]:
    """Yield LZW codes with their widths in bits. `is_cleared`: a full table is cleared, instead of used to the end."""
    clear = 1 << code_bits
    table: dict[tuple[int, ...], int] = {}
    prefix: tuple[int, ...] = ()
    width = code_bits + 1
    yield clear, width
    for pixel in pixels:
        longer = (*prefix, pixel)
        if not prefix or longer in table:
            prefix = longer
            continue
        yield table.get(prefix, prefix[0]), width
        prefix = (pixel,)
        code = clear + 2 + len(table)
        if code < MAX_CODES:
            table[longer] = code
            width += code == 1 << width
        elif is_cleared:
            yield clear, width
            table, width = {}, code_bits + 1
    if prefix:
        yield table.get(prefix, prefix[0]), width
    code = clear + 2 + len(table)
    yield clear + 1, width + (bool(prefix) and code == 1 << width and code < MAX_CODES)


def lzw_blocks(pixels: Iterable[int], code_bits: int, *, is_cleared: bool = True) -> bytes:
    """LZW-compressed pixels in blocks, each preceded by its length."""
    bits = count = 0
    for code, width in lzw_codes(pixels, code_bits, is_cleared=is_cleared):
        bits |= code << count
        count += width
    data = bits.to_bytes((count + 7) // 8, "little")
    return b"".join(bytes([len(piece)]) + piece for piece in split(data, 255)) + b"\0"


def palette_flags(palette: bytes) -> int:
    """The flags that announce a palette of 2, 4, 8, … colours."""
    return 0x80 | (len(palette) // 3).bit_length() - 2 if palette else 0


def gif(
    width: int,
    height: int,
    *parts: bytes | Control,
    palette: bytes = b"",
    version: bytes = b"GIF89a",
    end: bytes = b";",
) -> bytes:
    """A GIF of these parts, with the second colour as background."""
    head = version + struct.pack("<HHBBB", width, height, 0x70 | palette_flags(palette), 1, 0)
    return b"".join([head, palette, *map(bytes, parts), end])


def gif_frame(
    box: Box, pixels: Sequence[int] = (), *, palette: bytes = b"", code_bits: int = 2, flags: int = 0, data: bytes = b""
) -> bytes:
    """A frame of a GIF; `data` replaces its compressed pixels."""
    head = b"," + struct.pack("<HHHHB", *box, palette_flags(palette) | flags)
    return head + palette + bytes([code_bits]) + (data or lzw_blocks(pixels, code_bits))


def loop_extension(count: int, name: bytes = b"NETSCAPE2.0") -> bytes:
    """The application extension with a loop count."""
    return b"!\xff\x0b" + name + b"\x03\x01" + struct.pack("<H", count) + b"\0"


# PNG


def chunk(kind: bytes, data: bytes = b"") -> bytes:
    """A chunk with its length and checksum."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, colour_type: int, depth: int, *chunks: bytes, is_interlaced: bool = False) -> bytes:
    """A PNG with these chunks between IHDR and IEND."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, is_interlaced)
    return b"".join([b"\x89PNG\r\n\x1a\n", chunk(b"IHDR", header), *chunks, chunk(b"IEND")])


def row_positions(width: int, height: int, *, is_interlaced: bool) -> Iterator[list[int]]:
    """Yield, for each row in the file, the positions of its pixels in the image."""
    for left, top, right, down in PASSES if is_interlaced else ((0, 0, 1, 1),):
        for y in range(top, height, down):
            if left < width:
                yield [y * width + x for x in range(left, width, right)]


def pack_row(pixels: Iterable[Sequence[int]], depth: int) -> bytes:
    """Pack a row of pixels into bytes."""
    bits = "".join(f"{value:0{depth}b}" for pixel in pixels for value in pixel)
    size = (len(bits) + 7) // 8
    return int(bits.ljust(8 * size, "0"), 2).to_bytes(size, "big")


def compressed_pixels(
    pixels: Sequence[Sequence[int]], width: int, height: int, depth: int, *, is_interlaced: bool = False
) -> bytes:
    """The content of IDAT chunks, without filters."""
    rows = row_positions(width, height, is_interlaced=is_interlaced)
    return zlib.compress(b"".join(b"\0" + pack_row([pixels[position] for position in row], depth) for row in rows))


def animation_control(frames: int, plays: int = 0) -> bytes:
    """The acTL chunk, which makes a PNG an animation."""
    return chunk(b"acTL", struct.pack(">II", frames, plays))


def frame_control(
    sequence: int, box: Box, delay: tuple[int, int] = (1, 10), disposal: int = 0, blending: int = 0
) -> bytes:
    """The fcTL chunk, which precedes a frame."""
    left, top, *size = box
    return chunk(b"fcTL", struct.pack(">IIIIIHHBB", sequence, *size, left, top, *delay, disposal, blending))


def frame_data(sequence: int, data: bytes) -> bytes:
    """An fdAT chunk: compressed pixels of a frame, or a part of them."""
    return chunk(b"fdAT", struct.pack(">I", sequence) + data)


def exif(*entries: bytes, order: str = ">", directory: int = 8) -> bytes:
    """Exif metadata with these entries."""
    head = (b"MM\0*" if order == ">" else b"II*\0") + struct.pack(f"{order}I", directory)
    return head.ljust(directory, b"\0") + struct.pack(f"{order}H", len(entries)) + b"".join(entries) + bytes(4)


def orientation_entry(value: int, *, order: str = ">", kind: int = 3, count: int = 1) -> bytes:
    """The entry with the orientation; `kind` is its type, by default SHORT as in the standard."""
    field = struct.pack(f"{order}I" if kind == 4 else f"{order}Hxx", value)
    return struct.pack(f"{order}HHI", 0x0112, kind, count) + field
