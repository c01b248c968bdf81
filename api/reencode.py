"""A program that makes an image out of an upload: standard input is the upload, standard output the image.

The image has the upload's pixels and nothing else of it: no metadata, no profile, no trailing data. api/images.py runs
this in a process for each upload, because decoders take wrong and hostile input badly: what crashes, hangs or eats
memory here is this process, which limits itself before it reads a byte. It knows no secret.

Exit status 0: the first line of the output is the content type, the rest the image. REFUSED: the output is what is
wrong with the upload, as errors say it of a field. Anything else is a crash.
"""

import contextlib
import os
import resource
import sys
import warnings
from collections.abc import Iterator
from io import BytesIO

from PIL import GifImagePlugin, Image, ImageCms, ImageOps

REFUSED = 3
MAX_SIDE = 2048
TOO_LARGE = f"must be at most {MAX_SIDE} by {MAX_SIDE} pixels"
MAX_FRAMES = 1000
MAX_PIXELS = 8 * MAX_SIDE * MAX_SIDE  # of all frames together: at most some four seconds of CPU
CPU_SECONDS = 10
MEMORY_BYTES = 512 * 1024 * 1024
OUTPUT_BYTES = 16 * 1024 * 1024

TYPES = {"JPEG": "image/jpeg", "MPO": "image/jpeg", "PNG": "image/png", "GIF": "image/gif"}
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
    # Frames that share a palette keep it; Pillow would else choose colours anew for each, slowly and less well.
    GifImagePlugin.LOADING_STRATEGY = GifImagePlugin.LoadingStrategy.RGB_AFTER_DIFFERENT_PALETTE_ONLY


def reencode(upload: bytes) -> tuple[str, bytes]:
    """The content type and the content of the image in an upload. Raises RefusedError, or whatever Pillow raises."""
    image = Image.open(BytesIO(upload), formats=["JPEG", "PNG", "GIF"])
    if max(image.size) > MAX_SIDE:
        raise RefusedError(f"{TOO_LARGE}, and has {image.width} by {image.height}")
    output = BytesIO()
    if image.format in {"GIF", "PNG"} and getattr(image, "n_frames", 1) > 1:
        save_animation(image, output)
    elif image.format == "GIF":
        clean(image).save(output, "GIF")
    elif image.format == "PNG":
        clean(upright(image)).save(output, "PNG", compress_level=1)
    else:
        clean(upright(image).convert("L" if image.mode == "L" else "RGB")).save(output, "JPEG", quality=85)
    if output.tell() > OUTPUT_BYTES:
        raise RefusedError("is too intricate to be stored")
    return TYPES[image.format or ""], output.getvalue()


def save_animation(image: Image.Image, output: BytesIO) -> None:
    """Saves all frames with their times."""
    frames: int = image.n_frames  # type: ignore[attr-defined]
    if frames > MAX_FRAMES:
        raise RefusedError(f"must have at most {MAX_FRAMES} frames, and has {frames}")
    if frames * image.width * image.height > MAX_PIXELS:
        raise RefusedError(f"must have at most {MAX_PIXELS} pixels in all its {frames} frames together")
    images, durations = [], []
    for frame in frames_of(image):
        durations.append(frame.info.get("duration", 0))
        images.append(clean(frame))
    options = {"loop": image.info["loop"]} if "loop" in image.info else {}
    if image.format == "PNG":
        options["compress_level"] = 1
    elif any(frame.has_transparency_data for frame in images):
        options["disposal"] = 2  # so that no frame is seen through the next one's holes
    images[0].save(output, image.format, save_all=True, append_images=images[1:], duration=durations, **options)


def frames_of(image: Image.Image) -> Iterator[Image.Image]:
    """Each frame as it is seen."""
    size = image.size
    for number in range(image.n_frames):  # type: ignore[attr-defined]
        image.seek(number)
        if image.size != size:  # as a GIF may claim, and then what was counted does not hold
            raise RefusedError("must have no frame that is larger than the first")
        image.load()
        yield image


def upright(image: Image.Image) -> Image.Image:
    """The image turned as its metadata say, in the colours of sRGB."""
    image.load()
    profile = image.info.get("icc_profile")
    with contextlib.suppress(Exception):  # what is no Exif says nothing
        image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I"):  # 16 bits of grey
        return image.point(lambda grey: grey * (1 / 256)).convert("L")
    if profile and image.mode in {"RGB", "RGBA", "CMYK"}:
        mode = "RGB" if image.mode == "CMYK" else image.mode
        try:
            source = ImageCms.ImageCmsProfile(BytesIO(profile))
            return ImageCms.profileToProfile(image, source, SRGB, outputMode=mode) or image
        except (ImageCms.PyCMSError, OSError):  # of no use: the numbers are taken for sRGB
            pass
    return image


def clean(image: Image.Image) -> Image.Image:
    """A copy with nothing but pixels."""
    if image.mode != "P" and "transparency" in image.info:
        image = image.convert("LA" if image.mode in {"1", "L"} else "RGBA")
    copy = image.copy()
    copy.info = {name: value for name, value in image.info.items() if name == "transparency" and copy.mode == "P"}
    return copy


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
