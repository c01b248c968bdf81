"""Conversion from the colours of an ICC profile to sRGB."""

from io import BytesIO

from PIL import Image, ImageCms

SRGB = ImageCms.createProfile("sRGB")


def open_profile(content: bytes) -> ImageCms.ImageCmsProfile | None:
    """Return the profile, or None if the content is not a valid one."""
    try:
        return ImageCms.ImageCmsProfile(BytesIO(content)) if content else None
    except OSError:
        return None


def convert_to_srgb(image: Image.Image, profile: ImageCms.ImageCmsProfile) -> Image.Image:
    """Return the image in sRGB, or unchanged if the profile does not apply to its mode."""
    if image.mode == "1":
        image = image.convert("L")
    alpha = image.getchannel("A") if image.mode in {"LA", "RGBA"} else None
    opaque = image.convert(image.mode.removesuffix("A")) if alpha else image
    try:
        result = ImageCms.profileToProfile(opaque, profile, SRGB, outputMode="RGB") or opaque
    except ImageCms.PyCMSError:
        return image
    if opaque.mode == "L":
        result = result.convert("L")
    if alpha:
        result.putalpha(alpha)
    return result
