"""A program that re-encodes an uploaded image: browsers show the same, and nothing else of the upload is kept.

service.py runs `__main__.py` in a process for each upload, because hostile input can crash decoders, hang them or
exhaust their memory. The process limits itself before it reads a byte, has no secrets, and imports nothing of the API
but this package. This module has its limits.
"""

import os
import resource
import sys
from collections.abc import Iterable, Iterator

REFUSED = 3  # the exit status for an upload that is not a valid image
MAX_SIDE = 2048  # pixels
MAX_FRAMES = 1000
MAX_PIXELS = 8 * MAX_SIDE * MAX_SIDE  # of all frames together
MAX_SCANS = 200  # of a JPEG: a progressive one has about ten, and each costs as much as decoding an image
CPU_SECONDS = 6
MEMORY_BYTES = 512 * 1024 * 1024
OUTPUT_BYTES = 16 * 1024 * 1024


class RefusedError(Exception):
    """The upload is rejected; the message is the validation error for its sender."""


class BrokenError(Exception):
    """The upload violates its format, or ends too early."""


def limit_this_process() -> None:
    """Limit memory, CPU time and output, and lower the priority."""
    limits = {
        resource.RLIMIT_AS: MEMORY_BYTES,
        resource.RLIMIT_CPU: CPU_SECONDS,
        resource.RLIMIT_FSIZE: OUTPUT_BYTES,
        resource.RLIMIT_CORE: 0,
    }
    for limit, value in limits.items():
        if sys.platform == "linux" or limit != resource.RLIMIT_AS:
            resource.setrlimit(limit, (value, value))
    os.nice(19)


def check_size(width: int, height: int, frames: int = 1) -> None:
    """Raise RefusedError if the image is too large or has too many frames."""
    if max(width, height) > MAX_SIDE:
        raise RefusedError(f"must be at most {MAX_SIDE} by {MAX_SIDE} pixels, and has {width} by {height}")
    if frames > MAX_FRAMES:
        raise RefusedError(f"must have at most {MAX_FRAMES} frames, and has {frames}")
    check_pixels(width * height * frames, frames)


def check_pixels(pixels: int, frames: int) -> None:
    """Raise RefusedError if the frames of an animation have too many pixels in total."""
    if pixels > MAX_PIXELS:
        raise RefusedError(f"must have at most {MAX_PIXELS} pixels in all its {frames} frames together")


def limit_output(parts: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the parts of an output. Raises RefusedError as soon as their total is too large."""
    size = 0
    for part in parts:
        size += len(part)
        if size > OUTPUT_BYTES:
            raise RefusedError("is too intricate to be stored")
        yield part
