"""Limits on an image, on the program's output and on its process, and the errors that reject an upload."""

import contextlib
import os
import resource
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

SCALE_DOWN = "--scale-down"  # the program's argument for scaling large still images down
EXIT_REJECTED = 3  # the program's exit status for an upload that is not a valid image; Python itself uses 1 and 2
MAX_SIDE = 2048  # pixels
MAX_SOURCE_SIDE = 65_535  # pixels of an image to scale down: the most that a JPEG or GIF can have
MAX_FRAMES = 1000
MAX_PIXELS = 8 * MAX_SIDE * MAX_SIDE  # of all frames together
# Of a JPEG to scale down: the 50 megapixels of phones. A progressive CMYK image then takes 470 MB.
MAX_JPEG_PIXELS = 12 * MAX_SIDE * MAX_SIDE
MAX_SCANS = 200  # A progressive JPEG has about ten, and decoding each costs as much as a baseline image.
MAX_SCANNED_PIXELS = MAX_SCANS * MAX_SIDE * MAX_SIDE  # of all scans together
CPU_SECONDS = 6  # twice what the costliest image within these limits takes
KILL_AFTER_SECONDS = 1  # of CPU time beyond CPU_SECONDS, if SIGXCPU has not ended the process
MEMORY_BYTES = 512 * 1024 * 1024
MAX_OUTPUT_BYTES = 16 * 1024 * 1024
LOWEST_PRIORITY = 19  # nice value
OOM_SCORE_ADJUSTMENT = "1000"  # If memory runs out, the kernel kills this process before all others.


class RejectedError(Exception):
    """The upload exceeds a limit; the message is the validation error for the client."""


class MalformedError(Exception):
    """The upload violates its format, or is truncated."""


def limit_process() -> None:
    """Limit the memory, CPU time and output of this process, and lower its priority."""
    # At the soft limit of CPU time, the kernel sends SIGXCPU. SIGKILL comes from the API or the kernel's OOM killer.
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS + KILL_AFTER_SECONDS))
    resource.setrlimit(resource.RLIMIT_FSIZE, (MAX_OUTPUT_BYTES, MAX_OUTPUT_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":  # macOS rejects a limit on the address space.
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
        with contextlib.suppress(OSError):  # /proc may be read-only or not mounted.
            Path("/proc/self/oom_score_adj").write_text(OOM_SCORE_ADJUSTMENT)
    os.nice(LOWEST_PRIORITY)


def check_size(width: int, height: int, frames: int = 1) -> None:
    """Raise RejectedError if the image is too large or has too many frames."""
    if max(width, height) > MAX_SIDE:
        raise RejectedError(f"must be at most {MAX_SIDE} by {MAX_SIDE} pixels, and has {width} by {height}")
    if frames > MAX_FRAMES:
        raise RejectedError(f"must have at most {MAX_FRAMES} frames, and has {frames}")
    check_pixels(width * height * frames, frames)


def check_pixels(pixels: int, frames: int) -> None:
    """Raise RejectedError if the frames of an animation have too many pixels in total."""
    if pixels > MAX_PIXELS:
        raise RejectedError(f"must have at most {MAX_PIXELS} pixels in all its {frames} frames together")


def limit_output(parts: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the parts of an output. Raises RejectedError as soon as their total size exceeds MAX_OUTPUT_BYTES."""
    size = 0
    for part in parts:
        size += len(part)
        if size > MAX_OUTPUT_BYTES:
            raise RejectedError("is too complex to be stored")
        yield part
