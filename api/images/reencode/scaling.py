"""Scaling of still images that are larger than MAX_SIDE, if the program is to scale them down."""

from PIL import Image

from api.images.reencode.limits import MAX_PIXELS, MAX_SIDE, MAX_SOURCE_SIDE, RejectedError, check_size

Size = tuple[int, int]


def choose_size(width: int, height: int, frames: int = 1, *, scale_down: bool, max_pixels: int = MAX_PIXELS) -> Size:
    """Return the size of the output: that of the upload or, with `scale_down`, at most MAX_SIDE.

    The aspect ratio is kept. Raises RejectedError if the image is too large, also for decoding it, or has too many
    frames.
    """
    if not scale_down or max(width, height) <= MAX_SIDE:
        check_size(width, height, frames)
        return width, height
    if frames > 1:
        raise RejectedError(
            f"must be at most {MAX_SIDE} by {MAX_SIDE} pixels if it is animated, and has {width} by {height}"
        )
    if max(width, height) > MAX_SOURCE_SIDE:
        raise RejectedError(
            f"must be at most {MAX_SOURCE_SIDE} by {MAX_SOURCE_SIDE} pixels, and has {width} by {height}"
        )
    if width * height > max_pixels:
        raise RejectedError(f"must have at most {max_pixels} pixels, and has {width * height}")
    scale = MAX_SIDE / max(width, height)
    return max(1, round(width * scale)), max(1, round(height * scale))


def resize_to(image: Image.Image, size: Size) -> Image.Image:
    """Return the image in this size, unchanged if it has that size already. A bitmap becomes grey."""
    if image.size == size:
        return image
    if image.mode == "1":
        image = image.convert("L")
    return image.resize(size, Image.Resampling.LANCZOS)
