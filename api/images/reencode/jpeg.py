"""JPEG: decode with Pillow, apply the orientation, convert to sRGB, and encode again."""

from io import BytesIO

from PIL.JpegImagePlugin import JpegImageFile

from api.images.reencode.exif import apply_orientation, read_orientation
from api.images.reencode.limits import MAX_SCANS, RejectedError, check_size
from api.images.reencode.srgb import convert_to_srgb, open_profile

SIGNATURE = b"\xff\xd8\xff"  # a start-of-image marker, and the first byte of the next marker
EXIF = b"Exif\0"  # starts an APP1 segment; a padding byte follows
START_OF_SCAN = b"\xff\xda"
QUALITY = 85  # 0 to 95; the only loss of quality in all of re-encoding


def reencode(upload: bytes) -> bytes:
    """Return the image as a JPEG without metadata. Raises RejectedError, or an exception of Pillow's."""
    image = JpegImageFile(BytesIO(upload))
    check_size(*image.size)
    if upload.count(START_OF_SCAN) > MAX_SCANS:
        raise RejectedError(f"must have at most {MAX_SCANS} scans")
    exif = next((data[6:] for name, data in image.applist if name == "APP1" and data.startswith(EXIF)), b"")
    profile = open_profile(image.info.get("icc_profile", b""))
    picture = convert_to_srgb(image, profile) if profile else image
    picture = apply_orientation(picture, read_orientation(exif))
    picture = picture.convert("L" if picture.mode == "L" else "RGB")
    picture.info = {}  # Pillow would write the comment.
    output = BytesIO()
    picture.save(output, "JPEG", quality=QUALITY)
    return output.getvalue()
