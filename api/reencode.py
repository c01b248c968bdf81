"""A program that makes an image out of an upload: standard input is the upload, standard output the image.

The image has the upload's pixels and nothing else of it: no metadata, no profile, no trailing data. api/images.py runs
this in a process for each upload, because decoders take wrong and hostile input badly: what crashes, hangs or eats
memory here is this process, which limits itself before it reads a byte. It knows no secret.

Exit status 0: the first line of the output is the content type, the rest the image. REFUSED: the output is what is
wrong with the upload, as errors say it of a field. Anything else is a crash.
"""

import contextlib
import os
import re
import resource
import sys
import warnings
from collections.abc import Callable, Iterator
from io import BytesIO
from typing import Any

from PIL import GifImagePlugin, Image, ImageCms, PngImagePlugin

REFUSED = 3
MAX_SIDE = 2048
TOO_LARGE = f"must be at most {MAX_SIDE} by {MAX_SIDE} pixels"
MAX_FRAMES = 1000
MAX_PIXELS = 8 * MAX_SIDE * MAX_SIDE  # of all frames together: at most some four seconds of CPU
MAX_SCANS = 200  # of a JPEG: a progressive one has about ten, each as dear as an image
CPU_SECONDS = 6
MEMORY_BYTES = 512 * 1024 * 1024
OUTPUT_BYTES = 16 * 1024 * 1024

TYPES = {"JPEG": "image/jpeg", "MPO": "image/jpeg", "PNG": "image/png", "GIF": "image/gif"}
ORIENTATION = 0x0112  # in Exif
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
LONGEST_GIF = 655_350  # milliseconds that equal frames, which become one, may last together
SRGB = ImageCms.createProfile("sRGB")


class RefusedError(Exception):
    """What is wrong with the upload, for its sender."""


def limit_this_process() -> None:
    """Little memory, CPU and output, and way for everybody else."""
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
    Image.MAX_IMAGE_PIXELS = MAX_SIDE * MAX_SIDE
    warnings.simplefilter("error", Image.DecompressionBombWarning)
    PngImagePlugin.MAX_TEXT_CHUNK = 16 * 1024 * 1024  # of no interest, but no reason to refuse either


def reencode(upload: bytes) -> tuple[str, bytes]:
    """The content type and the content of the image in an upload. Raises RefusedError, or whatever Pillow raises."""
    image = opened(upload)
    output = BytesIO()
    if image.format == "GIF":
        save_frames(image, output, clean)
    elif image.format == "PNG":
        save_frames(image, output, upright(image), compress_level=1)
    elif upload.count(b"\xff\xda") > MAX_SCANS:
        raise RefusedError(f"must have at most {MAX_SCANS} scans")
    else:
        picture = upright(image)(image)
        picture.convert("L" if picture.mode == "L" else "RGB").save(output, "JPEG", quality=85)
    if output.tell() > OUTPUT_BYTES:
        raise RefusedError("is too intricate to be stored")
    return TYPES[image.format or ""], output.getvalue()


def opened(upload: bytes) -> Image.Image:
    """The image in an upload, of a size that is allowed."""
    strategies = GifImagePlugin.LoadingStrategy
    GifImagePlugin.LOADING_STRATEGY = strategies.RGB_AFTER_DIFFERENT_PALETTE_ONLY
    image = Image.open(BytesIO(upload), formats=["JPEG", "PNG", "GIF"])
    if max(image.size) > MAX_SIDE:
        raise RefusedError(f"{TOO_LARGE}, and has {image.width} by {image.height}")
    if isinstance(image, GifImagePlugin.GifImageFile) and not may_keep_palette(image, upload):
        GifImagePlugin.LOADING_STRATEGY = strategies.RGB_ALWAYS
        image = Image.open(BytesIO(upload), formats=["GIF"])
    return image


def may_keep_palette(gif: GifImagePlugin.GifImageFile, upload: bytes) -> bool:
    """Whether frames can be composed in the colours of a palette, which is quick and loses nothing.

    Pillow does that wrongly where frames differ in their transparent colour or do not say which that is, or where the
    first has a palette of its own.
    """
    controls = re.findall(rb"\x21\xf9\x04(.)..(.)\x00", upload, re.DOTALL)
    transparent = {colour if flags[0] & 1 else None for flags, colour in controls}
    is_own = gif.palette and gif.global_palette and gif.palette.palette != gif.global_palette.palette
    return gif.n_frames == 1 or (len(transparent) == 1 and len(controls) >= gif.n_frames and not is_own)


def save_frames(
    image: Image.Image, output: BytesIO, treat: Callable[[Image.Image], Image.Image], **options: Any
) -> None:
    """Saves all frames, treated, with their times."""
    first = int(getattr(image, "default_image", False))  # what an animated PNG shows where it can't move
    frames: int = getattr(image, "n_frames", 1) - first
    if frames > MAX_FRAMES:
        raise RefusedError(f"must have at most {MAX_FRAMES} frames, and has {frames}")
    if frames * image.width * image.height > MAX_PIXELS:
        raise RefusedError(f"must have at most {MAX_PIXELS} pixels in all its {frames} frames together")
    images, durations = [], []
    for frame in frames_of(image, range(first, first + frames)):
        durations.append(frame.info.get("duration", 0))
        images.append(treat(frame))
    if frames > 1:
        if image.format == "GIF":
            if any(frame.has_transparency_data for frame in images):
                options["disposal"] = 2  # so that no frame is seen through the next one's holes
            if sum(durations) > LONGEST_GIF:
                durations = [min(duration, LONGEST_GIF // frames) for duration in durations]
        if "loop" in image.info:
            options["loop"] = image.info["loop"]
        options |= {"save_all": True, "append_images": images[1:], "duration": durations}
    images[0].save(output, image.format, **options)


def frames_of(image: Image.Image, numbers: range) -> Iterator[Image.Image]:
    """Each frame as it is seen."""
    size = image.size
    for number in numbers:
        image.seek(number)
        if image.size != size:  # as a GIF may claim, and then what was counted does not hold
            raise RefusedError("must have no frame that is larger than the first")
        image.load()
        yield image


def upright(image: Image.Image) -> Callable[[Image.Image], Image.Image]:
    """What turns an image, or each frame of it, as its metadata say, and makes its colours those of sRGB."""
    image.load()
    turn = None
    with contextlib.suppress(Exception):  # what is no Exif says nothing
        turn = TURNS.get(image.getexif().get(ORIENTATION, 1))
    profile = image.info.get("icc_profile")

    def treat(frame: Image.Image) -> Image.Image:
        frame = clean(frame)
        if profile:
            with contextlib.suppress(ImageCms.PyCMSError, OSError):  # of no use: the numbers are taken for sRGB
                frame = in_srgb(frame, profile)
        return frame.transpose(turn) if turn is not None else frame

    return treat


def in_srgb(image: Image.Image, profile: bytes) -> Image.Image:
    """The image in the colours of sRGB. Raises ImageCms.PyCMSError or OSError for a profile that does not fit it."""
    if image.mode in {"P", "1"}:
        image = image.convert("RGBA" if image.has_transparency_data else "L" if image.mode == "1" else "RGB")
    alpha = image.getchannel("A") if image.mode in {"LA", "RGBA"} else None
    opaque = image.convert(image.mode.removesuffix("A")) if alpha else image
    source = ImageCms.ImageCmsProfile(BytesIO(profile))
    result = ImageCms.profileToProfile(opaque, source, SRGB, outputMode="RGB") or opaque
    if image.mode in {"L", "LA"}:
        result = result.convert("L")
    if alpha:
        result.putalpha(alpha)
    result.info = {}  # it has the profile
    return result


def clean(image: Image.Image) -> Image.Image:
    """A copy with nothing but pixels, in a mode that can be saved."""
    if image.mode.startswith("I"):  # 16 bits of grey
        image = image.point(lambda grey: grey * (1 / 256)).convert("L")
        image.info = {}
    elif image.mode != "P" and "transparency" in image.info:
        image = image.convert("LA" if image.mode in {"1", "L"} else "RGBA")
    elif image.format == "GIF" and image.mode == "RGBA":
        image = with_palette(image)
    copy = image.copy()
    copy.info = {name: value for name, value in image.info.items() if name == "transparency" and copy.mode == "P"}
    return copy


def with_palette(image: Image.Image) -> Image.Image:
    """The image in 255 colours and a transparent one: Pillow's own way takes fewer."""
    holes = image.getchannel("A").point([255] * 128 + [0] * 128)
    if holes.getbbox() is None:
        return image.convert("RGB")
    result = image.convert("RGB").quantize(255)
    palette = bytes(result.getpalette() or [])
    result.putpalette(palette.ljust(3 * 256, b"\0"))
    result.paste(255, mask=holes)
    result.info["transparency"] = 255
    return result


def main() -> int:
    """Does it; the exit status."""
    limit_this_process()
    try:
        content_type, content = reencode(sys.stdin.buffer.read())
    except RefusedError as error:
        print(error)
        return REFUSED
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        print(TOO_LARGE)
        return REFUSED
    except Exception:  # Pillow raises all sorts
        print("must be a whole JPEG, PNG or GIF image")
        return REFUSED
    sys.stdout.buffer.write(content_type.encode() + b"\n" + content)
    return 0


if __name__ == "__main__":
    sys.exit(main())
