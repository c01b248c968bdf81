"""JPEG: decoded by Pillow, turned upright, converted to sRGB, and encoded again."""

from io import BytesIO

from PIL.JpegImagePlugin import JpegImageFile

from api.images.reencode import MAX_SCANS, RefusedError, check_size
from api.images.reencode.exif import find_orientation, turn_upright
from api.images.reencode.srgb import convert_to_srgb, open_profile

EXIF = b"Exif\0"  # followed by a padding byte
SCAN = b"\xff\xda"


def reencode(upload: bytes) -> bytes:
    """Return the image as a JPEG without metadata. Raises RefusedError, or what Pillow raises."""
    image = JpegImageFile(BytesIO(upload))
    check_size(*image.size)
    if upload.count(SCAN) > MAX_SCANS:
        raise RefusedError(f"must have at most {MAX_SCANS} scans")
    exif = next((data[6:] for name, data in image.applist if name == "APP1" and data.startswith(EXIF)), b"")
    profile = open_profile(image.info.get("icc_profile", b""))
    picture = convert_to_srgb(image, profile) if profile else image
    picture = turn_upright(picture, find_orientation(exif))
    picture = picture.convert("L" if picture.mode == "L" else "RGB")
    picture.info = {}  # Otherwise Pillow saves the comment.
    output = BytesIO()
    picture.save(output, "JPEG", quality=85)
    return output.getvalue()
