"""JPEG: decode with Pillow, scale down, apply the orientation, convert to sRGB, and encode again."""

import re
import struct
from io import BytesIO

from PIL.JpegImagePlugin import JpegImageFile

from api.images.reencode.encoded_image import EncodedImage
from api.images.reencode.exif import apply_orientation, read_orientation
from api.images.reencode.limits import MAX_JPEG_PIXELS, MAX_SCANNED_PIXELS, MAX_SCANS, RejectedError
from api.images.reencode.scaling import choose_size, resize_to
from api.images.reencode.srgb import convert_to_srgb, open_profile

CONTENT_TYPE = "image/jpeg"
SIGNATURE = b"\xff\xd8\xff"  # a start-of-image marker, and the first byte of the next marker
EXIF = b"Exif\0"  # starts an APP1 segment; a padding byte follows
START_OF_SCAN, END_OF_IMAGE = 0xDA, 0xD9
# The next marker outside of compressed data, in which \xff\0 is an escaped byte and \xd0 to \xd7 are restarts.
MARKER = re.compile(rb"\xff([^\0\xd0-\xd7\xff])")
SEGMENTS = {*range(0xC0, 0xD0), *range(0xDA, 0xF0), 0xFE}  # markers that the length of a segment follows
QUALITY = 85  # 0 to 95; the only loss of quality in all of re-encoding


def reencode(upload: bytes, *, scale_down: bool = False) -> EncodedImage:
    """Return the image as a JPEG without metadata. Raises RejectedError, or an exception of Pillow's."""
    image = JpegImageFile(BytesIO(upload))
    size = choose_size(*image.size, scale_down=scale_down, max_pixels=MAX_JPEG_PIXELS)
    max_scans = min(MAX_SCANS, MAX_SCANNED_PIXELS // (image.width * image.height))
    if count_scans(upload) > max_scans:
        raise RejectedError(f"must have at most {max_scans} scans")
    image.draft(None, size)  # Decode at a half, a quarter or an eighth of the size if that is not below `size`.
    exif = next((data[6:] for name, data in image.applist if name == "APP1" and data.startswith(EXIF)), b"")
    profile = open_profile(image.info.get("icc_profile", b""))
    picture = resize_to(image, size)
    picture = convert_to_srgb(picture, profile) if profile else picture
    picture = apply_orientation(picture, read_orientation(exif))
    picture = picture.convert("L" if picture.mode == "L" else "RGB")
    picture.info = {}  # Pillow would write the comment.
    output = BytesIO()
    picture.save(output, "JPEG", quality=QUALITY)
    return EncodedImage(CONTENT_TYPE, *picture.size, output.getvalue())


def count_scans(content: bytes) -> int:
    """Return the number of scans up to the end of the image; those of thumbnails and of trailing data do not count."""
    scans, offset = 0, len(SIGNATURE) - 1
    while (found := MARKER.search(content, offset)) and (marker := found[1][0]) != END_OF_IMAGE:
        scans += marker == START_OF_SCAN
        offset = found.end()
        if marker in SEGMENTS:
            offset += struct.unpack_from(">H", content, offset)[0]
    return scans
