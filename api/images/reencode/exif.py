"""The orientation in Exif metadata, read as browsers read it: nothing else in a file rotates or mirrors an image.

Pillow also reads it from XMP and PNG text chunks, and from entries of types that browsers ignore.
"""

import struct
from collections.abc import Sequence

from PIL import Image

BYTE_ORDERS = {b"II*\0": "<", b"MM\0*": ">"}
ORIENTATION = 0x0112  # the entry's tag
SHORT = 3  # the entry's type
UPRIGHT = 1
TRANSPOSITIONS = {  # by orientation
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def read_orientation(exif: bytes) -> int:
    """Return the orientation in the first valid entry, 1 to 8; UPRIGHT if there is none."""
    order = BYTE_ORDERS.get(exif[:4])
    if not order:
        return UPRIGHT
    try:
        (directory,) = struct.unpack_from(f"{order}I", exif, 4)
        (entries,) = struct.unpack_from(f"{order}H", exif, directory)
        for number in range(entries):
            entry = struct.unpack_from(f"{order}HHIH2x", exif, directory + 2 + 12 * number)
            if entry[:3] == (ORIENTATION, SHORT, 1) and entry[3] in TRANSPOSITIONS:
                return int(entry[3])
    except struct.error:  # The metadata is truncated.
        pass
    return UPRIGHT


def apply_orientation(image: Image.Image, orientation: int) -> Image.Image:
    """Return the image rotated and mirrored as browsers show it."""
    return image.transpose(TRANSPOSITIONS[orientation]) if orientation in TRANSPOSITIONS else image


def transpose_box(box: Sequence[int], canvas: Sequence[int], orientation: int) -> tuple[int, int, int, int]:
    """Return a box (left, top, width, height) after the orientation is applied to its canvas (width, height)."""
    left, top, width, height = box
    if orientation in {2, 3, 7, 8}:
        left = canvas[0] - left - width
    if orientation in {3, 4, 6, 7}:
        top = canvas[1] - top - height
    return (top, left, height, width) if orientation >= 5 else (left, top, width, height)
