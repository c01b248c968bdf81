"""GIF: decode each frame and encode it again with its own box, palette, transparency, disposal and delay.

Frames are not composited, so no colour or delay changes. Data that no browser shows is removed: comments, other
extensions, unused colours, pixels outside the canvas, and data after the last frame. A still image that is scaled down
becomes a PNG, because its colours no longer fit into a palette.
"""

import struct
from dataclasses import dataclass, replace
from typing import Any

from PIL import Image

from api.images.reencode import png
from api.images.reencode.encoded_image import EncodedImage
from api.images.reencode.limits import MalformedError, check_pixels, limit_output
from api.images.reencode.pixels import MAX_COLOURS, OPAQUE, apply_palette
from api.images.reencode.scaling import choose_size, resize_to

CONTENT_TYPE = "image/gif"
SIGNATURES = (b"GIF87a", b"GIF89a")
EXTENSION, IMAGE, TRAILER = b"!", b",", b";"  # introducers of what follows
GRAPHIC_CONTROL, APPLICATION = b"\xf9", b"\xff"  # labels of extensions
BLOCK_TERMINATOR = b"\0"
GRAPHIC_CONTROL_BLOCK = "<BBHB"  # length, flags, delay, transparent colour
LOOP_HEADER = b"\x0bNETSCAPE2.0\x03\x01"
LOOP_HEADERS = (LOOP_HEADER, b"\x0bANIMEXTS1.0\x03\x01")
HAS_PALETTE, IS_INTERLACED, HAS_TRANSPARENCY = 0x80, 0x40, 0x01  # flags
DISPOSALS = (0, 1, 2, 3, 3, 0, 0, 0)  # browsers' interpretation of the values 0 to 7
MIN_CODE_SIZES = range(2, 9)  # bits; Pillow decodes 0 and 1 wrongly, and no browser decodes more than 8
BLACK = b"\0\0\0"


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame as it is in the file."""

    box: tuple[int, int, int, int]  # left, top, width, height
    palette: bytes | None  # None: the palette of the file
    is_interlaced: bool
    min_code_size: int  # bits
    data: bytes  # LZW-compressed, in blocks that each begin with their length
    transparent: int | None  # index of a colour
    disposal: int
    delay: int  # hundredths of a second


# Replaces a frame outside the canvas, so that the animation keeps its delay.
TRANSPARENT_PIXEL = Frame((0, 0, 1, 1), b"", False, 2, b"\2\x44\1", transparent=0, disposal=0, delay=0)


class Reader:
    """A file that is read from its beginning."""

    def __init__(self, content: bytes) -> None:
        self.content, self.offset = content, len(SIGNATURES[0])

    def unpack(self, layout: str) -> tuple[Any, ...]:
        """Return the next values. Raises struct.error at the end of the file."""
        values = struct.unpack_from(layout, self.content, self.offset)
        self.offset += struct.calcsize(layout)
        return values

    def read_palette(self, flags: int) -> bytes | None:
        """Return the palette, if the flags announce one."""
        return bytes(self.unpack(f"{6 << (flags & 7)}s")[0]) if flags & HAS_PALETTE else None

    def read_blocks(self) -> bytes:
        """Return the blocks up to the empty one that ends them. Raises IndexError at the end of the file."""
        start = end = self.offset
        while length := self.content[end]:
            end += 1 + length
        self.offset = end + 1
        return self.content[start:end]


class UsedPalette:
    """A palette with only its used colours: the others, and those past its end, become black."""

    def __init__(self, colours: bytes) -> None:
        self._colours, self._used = colours, dict[int, bytes]()

    def add(self, indices: set[int], transparent: int | None) -> None:
        """Mark these indices as used; a transparent one becomes black unless another frame shows its colour."""
        for index in indices:
            if index == transparent:
                self._used.setdefault(index, BLACK)
            else:
                self._used[index] = self._colours[3 * index : 3 * index + 3] or BLACK

    def encode(self) -> tuple[int, bytes]:
        """Return the flags that announce the palette, and the palette."""
        if not self._used:
            return 0, b""
        bits = max(1, max(self._used).bit_length())
        return HAS_PALETTE | bits - 1, b"".join(self._used.get(index, BLACK) for index in range(1 << bits))


def reencode(upload: bytes, *, scale_down: bool = False) -> EncodedImage:
    """Return the image as a GIF or, scaled down, as a PNG.

    Raises RejectedError, or any other exception for an incomplete GIF.
    """
    size, colours, frames, loops = parse(upload)
    output_size = choose_size(*size, len(frames), scale_down=scale_down)
    check_pixels(sum(frame.box[2] * frame.box[3] for frame in frames), len(frames))
    if output_size != size:
        return png.encode(resize_to(compose(frames[0], size, colours), output_size))
    palette = UsedPalette(colours)
    parts = list(limit_output(encode(frame, size, palette) for frame in frames))
    flags, table = palette.encode()
    header = SIGNATURES[1] + struct.pack("<HHBBB", *size, flags, 0, 0) + table
    if loops is not None:
        header += EXTENSION + APPLICATION + LOOP_HEADER + struct.pack("<H", loops) + BLOCK_TERMINATOR
    return EncodedImage(CONTENT_TYPE, *size, b"".join([header, *parts, TRAILER]))


def parse(upload: bytes) -> tuple[tuple[int, int], bytes, list[Frame], int | None]:
    """Return the size, the palette, the frames, and the loop count or None."""
    reader = Reader(upload)
    width, height, flags = reader.unpack("<HHBxx")
    palette = reader.read_palette(flags) or b""
    frames: list[Frame] = []
    loops, control = None, (0, 0, 0)
    # As in browsers, anything but an extension or an image ends the file.
    while (introducer := upload[reader.offset : reader.offset + 1]) in {EXTENSION, IMAGE}:
        reader.offset += 1
        if introducer == IMAGE:
            frames.append(parse_frame(reader, *control))
            control = (0, 0, 0)
            continue
        (label,) = reader.unpack("c")
        blocks = reader.read_blocks()
        if label == GRAPHIC_CONTROL:
            length, *values = struct.unpack(GRAPHIC_CONTROL_BLOCK, blocks)
            if length != 4:
                raise MalformedError("graphic control extension")
            control = (values[0], values[1], values[2])
        elif label == APPLICATION and blocks.startswith(LOOP_HEADERS):
            (loops,) = struct.unpack_from("<H", blocks, len(LOOP_HEADER))
    # Browsers extend the canvas to the first frame and crop the others.
    left, top, frame_width, frame_height = frames[0].box
    width, height = max(width, left + frame_width), max(height, top + frame_height)
    if not width or not height:
        raise MalformedError("no pixel")
    return (width, height), palette, frames, loops


def parse_frame(reader: Reader, control: int, delay: int, transparent: int) -> Frame:
    """Return the next frame, with the flags, delay and transparent colour of its graphic control extension."""
    *box, flags = reader.unpack("<HHHHB")
    palette = reader.read_palette(flags)
    (min_code_size,) = reader.unpack("B")
    return Frame(
        box=(box[0], box[1], box[2], box[3]),
        palette=palette,
        is_interlaced=bool(flags & IS_INTERLACED),
        min_code_size=min_code_size,
        data=reader.read_blocks(),
        transparent=transparent if control & HAS_TRANSPARENCY else None,
        disposal=DISPOSALS[control >> 2 & 7],
        delay=delay,
    )


def encode(frame: Frame, canvas: tuple[int, int], palette: UsedPalette) -> bytes:
    """Return the encoded frame, and add its colours to the file's palette unless it has its own."""
    left, top, width, height = frame.box
    width, height = min(width, canvas[0] - left), min(height, canvas[1] - top)
    pixels = decode(frame)
    if width <= 0 or height <= 0:
        return encode(replace(TRANSPARENT_PIXEL, delay=frame.delay), canvas, palette)
    pixels = pixels.crop((0, 0, width, height))
    indices = {index for index, count in enumerate(pixels.histogram()) if count}
    if frame.palette is not None:
        palette = UsedPalette(frame.palette)
    palette.add(indices, frame.transparent)
    flags, table = palette.encode() if frame.palette is not None else (0, b"")
    is_transparent = frame.transparent in indices
    control = frame.disposal << 2 | is_transparent
    min_code_size = max(MIN_CODE_SIZES[0], max(indices).bit_length())
    return b"".join([
        EXTENSION + GRAPHIC_CONTROL,
        struct.pack(GRAPHIC_CONTROL_BLOCK, 4, control, frame.delay, frame.transparent if is_transparent else 0),
        BLOCK_TERMINATOR + IMAGE,
        struct.pack("<HHHHB", left, top, width, height, flags),
        table,
        bytes([min_code_size]),
        pixels.tobytes("gif", "L", min_code_size),
        BLOCK_TERMINATOR,
    ])  # fmt: skip


def compose(frame: Frame, canvas: tuple[int, int], colours: bytes) -> Image.Image:
    """Return the canvas of a still image in its colours; it is transparent outside the frame."""
    left, top, *_ = frame.box
    colours = (colours if frame.palette is None else frame.palette).ljust(3 * MAX_COLOURS, b"\0")
    alphas = bytes(0 if index == frame.transparent else OPAQUE for index in range(MAX_COLOURS))
    picture = apply_palette(decode(frame), colours, alphas)
    if frame.box == (0, 0, *canvas):
        return picture
    image = Image.new("RGBA", canvas)
    image.paste(picture, (left, top))
    return image


def decode(frame: Frame) -> Image.Image:
    """Return the frame's colour indices. Raises ValueError if there are fewer than the box has pixels."""
    if frame.min_code_size not in MIN_CODE_SIZES:
        raise MalformedError("minimum code size")
    return Image.frombytes("L", frame.box[2:], frame.data, "gif", frame.min_code_size, frame.is_interlaced)
