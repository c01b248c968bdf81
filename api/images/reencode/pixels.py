"""The pixels of a PNG: decode them, scale them down, and encode them again in the colours that browsers show."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import reduce

from PIL import Image, ImageChops
from PIL.ImageCms import ImageCmsProfile

from api.images.reencode.exif import apply_orientation
from api.images.reencode.limits import MalformedError
from api.images.reencode.scaling import Size, resize_to
from api.images.reencode.srgb import convert_to_srgb

GREY, RGB, INDEXED, GREY_ALPHA, RGBA = 0, 2, 3, 4, 6  # colour types
# Pillow's mode and raw mode for a colour type and a bit depth. Browsers show the upper 8 of 16 bits.
MODES = {
    (GREY, 1): ("1", "1"),
    (GREY, 2): ("L", "L;2"),
    (GREY, 4): ("L", "L;4"),
    (GREY, 8): ("L", "L"),
    (GREY, 16): ("L", "L;16B"),
    (RGB, 8): ("RGB", "RGB"),
    (RGB, 16): ("RGB", "RGB;16B"),
    (INDEXED, 1): ("P", "P;1"),
    (INDEXED, 2): ("P", "P;2"),
    (INDEXED, 4): ("P", "P;4"),
    (INDEXED, 8): ("P", "P"),
    (GREY_ALPHA, 8): ("LA", "LA"),
    (GREY_ALPHA, 16): ("RGBA", "LA;16B"),
    (RGBA, 8): ("RGBA", "RGBA"),
    (RGBA, 16): ("RGBA", "RGBA;16B"),
}
KEY_SIZES = {GREY: 2, RGB: 6}  # bytes of the transparent colour in a tRNS chunk, by colour type
LOWER_BITS = {GREY: "L;16", RGB: "RGB;16L"}  # raw modes for the lower 8 of 16 bits, by colour type
# Colour type and bit depth of the output, by Pillow's mode.
OUTPUT_FORMATS = {"1": (GREY, 1), "L": (GREY, 8), "RGB": (RGB, 8), "LA": (GREY_ALPHA, 8), "RGBA": (RGBA, 8)}
COMPRESSION = (False, 1)  # not optimized, level 1: costs a sixth of the default's CPU time
OPAQUE = 255
MAX_COLOURS = 256  # of a palette


@dataclass(frozen=True, slots=True)
class Layout:
    """The encoding of pixels in a file."""

    colour_type: int
    depth: int
    is_interlaced: bool

    def decode(self, data: bytes, size: Size, raw_mode: str | None = None) -> Image.Image:
        """Return the decoded pixels. Raises ValueError if there are too few."""
        mode, default_raw_mode = MODES[self.colour_type, self.depth]
        return Image.frombytes(mode, size, data, "zip", raw_mode or default_raw_mode, self.is_interlaced)


def apply_palette(indices: Image.Image, colours: bytes, alphas: bytes) -> Image.Image:
    """Return the image with the colours of a palette of MAX_COLOURS, and with their opacity unless all are opaque."""
    has_alpha = alphas.count(OPAQUE) < MAX_COLOURS
    palette = Image.frombytes("RGB", (MAX_COLOURS, 1), colours)
    if has_alpha:
        palette.putalpha(Image.frombytes("L", (MAX_COLOURS, 1), alphas))
    indices.putpalette(palette.tobytes(), palette.mode)
    return indices.convert(palette.mode)


def select_level(image: Image.Image, band: int, level: int) -> Image.Image:
    """Return a mask of the pixels that have this level in a band."""
    return image.getchannel(band).point([OPAQUE * (other == level) for other in range(256)])


class DirectPixels:
    """Pixels that are colours. `key`, the content of a tRNS chunk, makes one colour transparent.

    `scaled_size` is the size of the output, if it is not that of the frame.
    """

    def __init__(
        self, layout: Layout, key: bytes, profile: ImageCmsProfile | None, scaled_size: Size | None = None
    ) -> None:
        self._layout, self._profile, self._scaled_size = layout, profile, scaled_size
        size = KEY_SIZES.get(layout.colour_type, 0) if key else 0
        self._key = struct.unpack_from(f">{size // 2}H", key)
        self.output_format = (layout.colour_type, layout.depth)

    def reencode(self, data: bytes, size: Size, orientation: int) -> bytes:
        """Return the encoded pixels of a frame. Raises ValueError if there are too few."""
        image = resize_to(self._decode(data, size), self._scaled_size or size)
        if self._profile:
            image = convert_to_srgb(image, self._profile)
        if image.mode in {"LA", "RGBA"}:
            is_transparent = image.getchannel("A").point([OPAQUE] + [0] * 255)
            image.paste((0,) * len(image.getbands()), mask=is_transparent)
        image = apply_orientation(image, orientation)
        self.output_format = OUTPUT_FORMATS[image.mode]
        return image.tobytes("zip", image.mode, *COMPRESSION)

    def _decode(self, data: bytes, size: Size) -> Image.Image:
        image = self._layout.decode(data, size)
        if self._layout.colour_type == GREY_ALPHA:
            return image.convert("LA")
        if self._key:
            if image.mode == "1":
                image = image.convert("L")
            image.putalpha(ImageChops.invert(reduce(ImageChops.darker, self._compare_with_key(image, data))))
        return image

    def _compare_with_key(self, image: Image.Image, data: bytes) -> Iterator[Image.Image]:
        """Yield masks of the pixels whose upper, and then whose lower bits in each band are those of the key.

        A generator, because all masks of a large image would take too much memory.
        """
        colour_type, depth = self._layout.colour_type, self._layout.depth
        scale = 255 // (2 ** min(depth, 8) - 1)
        for band, value in enumerate(self._key):
            yield select_level(image, band, scale * (value & 255) if depth <= 8 else value >> 8)
        if depth == 16:
            lower = self._layout.decode(data, image.size, LOWER_BITS[colour_type])
            for band, value in enumerate(self._key):
                yield select_level(lower, band, value & 255)

    def encode_tables(self) -> dict[bytes, bytes]:
        """Return the chunks that precede the pixels: none."""
        return {}


class ScaledIndexedPixels(DirectPixels):
    """Pixels that are indices of a palette, scaled down: they become colours. The arguments are as in IndexedPixels."""

    def __init__(
        self, layout: Layout, palette: bytes, alphas: bytes, profile: ImageCmsProfile | None, scaled_size: Size
    ) -> None:
        super().__init__(layout, b"", profile, scaled_size)
        size = min(len(palette) // 3, MAX_COLOURS)
        if not size:
            raise MalformedError("no palette")
        # Browsers use the last colour if a palette is too short.
        alphas = alphas[:size].ljust(size, bytes([OPAQUE]))
        self._colours = palette[: 3 * size] + palette[3 * size - 3 : 3 * size] * (MAX_COLOURS - size)
        self._alphas = alphas + alphas[-1:] * (MAX_COLOURS - size)

    def _decode(self, data: bytes, size: Size) -> Image.Image:
        return apply_palette(self._layout.decode(data, size), self._colours, self._alphas)


class IndexedPixels:
    """Pixels that are indices of a palette.

    `palette` is the content of the PLTE chunk, and `alphas`, of the tRNS chunk, the opacity of its first colours.
    """

    def __init__(self, layout: Layout, palette: bytes, alphas: bytes, profile: ImageCmsProfile | None) -> None:
        size = len(palette) // 3
        if not size:
            raise MalformedError("no palette")
        colours = Image.frombytes("RGB", (size, 1), palette)
        if profile:
            colours = convert_to_srgb(colours, profile)
        self._layout, self._palette = layout, colours.tobytes()
        self._alphas = alphas[:size].ljust(size, bytes([OPAQUE]))
        self._used: set[int] = set()
        self.output_format = (layout.colour_type, layout.depth)

    def reencode(self, data: bytes, size: Size, orientation: int) -> bytes:
        """Return the encoded pixels of a frame. Raises ValueError if there are too few."""
        image = apply_orientation(self._layout.decode(data, size), orientation)
        self._used.update(index for index, count in enumerate(image.histogram()) if count)
        _, raw_mode = MODES[self.output_format]
        return image.tobytes("zip", raw_mode, *COMPRESSION)

    def encode_tables(self) -> dict[bytes, bytes]:
        """Return the chunks that precede the pixels, with the colours of all frames encoded so far."""
        palette, alphas = bytearray(), bytearray()
        for index in range(max(self._used) + 1):
            position = min(index, len(self._alphas) - 1)  # Browsers use the last colour if a palette is too short.
            is_visible = index in self._used and self._alphas[position]
            palette += self._palette[3 * position : 3 * position + 3] if is_visible else bytes(3)
            alphas.append(self._alphas[position] if index in self._used else OPAQUE)
        alphas = alphas.rstrip(bytes([OPAQUE]))
        return {b"PLTE": bytes(palette)} | ({b"tRNS": bytes(alphas)} if alphas else {})
