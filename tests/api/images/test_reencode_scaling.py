"""Images larger than 2048 by 2048 pixels are scaled down on request: their size, their appearance, and the limits."""

import os
import subprocess
import sys
from collections.abc import Callable

import pytest
from PIL import Image

from api.images.reencode import limits
from api.images.reencode.__main__ import reencode
from api.images.reencode_process import PROGRAM
from tests import ROOT, crafted, images
from tests.api.images.small_images import rgby_gif
from tests.crafted import animation_control, chunk, frame_control, frame_data, gif_frame

SIDE = limits.MAX_SIDE
SQUARE = (2 * SIDE, 2 * SIDE)
HALVES = images.draw_gradient(2100, 1050)


def scale_down(content: bytes) -> Image.Image:
    """Return the re-encoded image, scaled down; assert that its size is reported."""
    result = reencode(content, scale_down=True)
    image = images.decode(result.content)
    assert (result.width, result.height) == image.size
    assert result.content_type == Image.MIME[image.format or ""]
    return image


def encode_gif(width: int, height: int, *frames: bytes) -> bytes:
    """Return a GIF in one colour, or with these frames."""
    black = Image.new("L", (width, height)).tobytes("gif", "L", 2) + b"\0"
    return rgby_gif(*frames or [gif_frame((0, 0, width, height), data=black)], size=(width, height))


def encode_jpeg(width: int, height: int, **options: object) -> bytes:
    """Return a grey JPEG."""
    return images.encode(Image.new("L", (width, height)), "JPEG", **options)


BUILDERS = pytest.mark.parametrize("build", [images.build_png, encode_gif, encode_jpeg], ids=["PNG", "GIF", "JPEG"])


@BUILDERS
@pytest.mark.parametrize(
    ("size", "scaled"),
    [
        ((1, 1), (1, 1)),
        ((SIDE, SIDE), (SIDE, SIDE)),
        ((SIDE, 9), (SIDE, 9)),
        ((SIDE + 1, SIDE), (SIDE, SIDE - 1)),
        ((9, SIDE + 1), (9, SIDE)),
        ((4000, 3000), (2048, 1536)),
        ((3000, 4000), (1536, 2048)),
        ((1, 60_000), (1, SIDE)),
        ((60_000, 1), (SIDE, 1)),
        ((65_500, 40), (SIDE, 1)),
    ],
)
def test_image_is_scaled_down_to_fit_and_never_up(
    build: Callable[[int, int], bytes], size: tuple[int, int], scaled: tuple[int, int]
) -> None:
    content = build(*size)
    assert scale_down(content).size == scaled
    if scaled == size:
        assert reencode(content, scale_down=True) == reencode(content)
    else:
        with pytest.raises(limits.RejectedError, match=f"must be at most 2048 by 2048 pixels, and has {size[0]} by"):
            reencode(content)


@pytest.mark.parametrize(
    ("build", "widest"),
    [(images.build_png, limits.MAX_PIXELS), (encode_gif, limits.MAX_PIXELS), (encode_jpeg, limits.MAX_JPEG_PIXELS)],
    ids=["PNG", "GIF", "JPEG"],
)
def test_pixels_of_an_image_to_scale_down_are_limited(build: Callable[[int, int], bytes], widest: int) -> None:
    width, height = 8192, widest // 8192
    assert scale_down(build(width, height)).width == SIDE
    with pytest.raises(
        limits.RejectedError, match=f"must have at most {widest} pixels, and has {width * height + width}"
    ):
        reencode(build(width, height + 1), scale_down=True)


def test_sides_of_an_image_to_scale_down_are_limited() -> None:
    with pytest.raises(limits.RejectedError, match="must be at most 65535 by 65535 pixels, and has 65536 by 1"):
        reencode(images.build_png(limits.MAX_SOURCE_SIDE + 1, 1), scale_down=True)


def test_scans_of_an_image_to_scale_down_are_limited_by_its_pixels() -> None:
    photo = encode_jpeg(8192, 6144, progressive=True)
    last = photo[photo.rindex(b"\xff\xda") : -2]
    most = 16 - photo.count(b"\xff\xda")
    assert scale_down(photo[:-2] + most * last + photo[-2:]).size == (2048, 1536)
    with pytest.raises(limits.RejectedError, match="must have at most 16 scans"):
        reencode(photo[:-2] + (most + 1) * last + photo[-2:], scale_down=True)


@pytest.mark.parametrize(
    ("content", "mode"),
    [
        (images.encode(HALVES, "JPEG", quality=95), "RGB"),
        (images.encode(HALVES, "JPEG", quality=95, progressive=True), "RGB"),
        (images.encode(HALVES.convert("L"), "JPEG", quality=95), "L"),
        (images.encode(HALVES.convert("CMYK"), "JPEG", quality=95), "RGB"),
        (images.encode(HALVES, "PNG"), "RGB"),
        (images.encode(HALVES.convert("1"), "PNG"), "L"),
        (images.encode(HALVES.convert("L"), "PNG"), "L"),
        (images.encode(HALVES.convert("LA"), "PNG"), "LA"),
        (images.encode(HALVES.convert("RGBA"), "PNG"), "RGBA"),
        (images.encode(HALVES.quantize(200), "PNG"), "RGB"),
        (images.encode(HALVES.quantize(200), "PNG", transparency=3), "RGBA"),
        (images.encode(HALVES, "PNG", transparency=(255, 0, 0)), "RGBA"),
        (images.encode(HALVES.convert("L").convert("I;16").point(lambda value: value * 257), "PNG"), "L"),
        (images.encode(HALVES.quantize(200), "GIF"), "RGB"),
        (images.encode(HALVES.quantize(200), "GIF", transparency=3), "RGBA"),
    ],
    ids=["JPEG", "progressive JPEG", "grey JPEG", "CMYK", "RGB", "bits", "grey", "grey, alpha", "alpha", "palette",
         "palette with a hole", "colour key", "16 bits", "GIF", "GIF with a hole"],
)  # fmt: skip
def test_scaled_image_of_each_kind_looks_like_its_upload(content: bytes, mode: str) -> None:
    image = scale_down(content)
    assert (image.mode, image.size) == (mode, (2048, 1024))
    upload = images.decode(content)
    upload = HALVES.convert("L") if upload.mode == "I;16" else upload.convert("RGBA")
    expected = upload.resize(image.size, Image.Resampling.LANCZOS)
    assert images.measure_difference(image, expected) < 3


def test_colours_of_transparent_pixels_do_not_bleed_into_a_scaled_image() -> None:
    stripes = Image.new("RGBA", (SIDE * 2, 2), (255, 0, 0, 0))
    for x in range(0, stripes.width, 4):
        stripes.paste((0, 0, 255, 255), (x, 0, x + 2, 2))
    image = scale_down(images.encode(stripes, "PNG"))
    red, _, blue, alpha = (channel.getextrema() for channel in image.split())
    assert (red, blue) == ((0, 0), (255, 255))
    assert alpha != (255, 255)


def test_still_gif_that_does_not_cover_its_canvas_is_transparent_outside_the_frame() -> None:
    red = Image.new("L", (SIDE, SIDE)).tobytes("gif", "L", 2) + b"\0"
    image = scale_down(encode_gif(*SQUARE, gif_frame((SIDE, SIDE, SIDE, SIDE), data=red)))
    assert image.size == (SIDE, SIDE)
    assert [image.getpixel(position) for position in ((9, 9), (2000, 9), (9, 2000), (2000, 2000))] == [
        (0, 0, 0, 0), (0, 0, 0, 0), (0, 0, 0, 0), (255, 0, 0, 255),
    ]  # fmt: skip


@pytest.mark.parametrize("file_format", ["JPEG", "PNG"])
def test_orientation_of_a_scaled_image_is_applied(file_format: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    image = scale_down(images.encode(HALVES, file_format, exif=exif))
    assert image.size == (1024, 2048)
    assert not image.getexif()
    expected = HALVES.transpose(Image.Transpose.ROTATE_270).resize(image.size)
    assert images.measure_difference(image, expected) < 3


@pytest.mark.parametrize("file_format", ["JPEG", "PNG"])
@pytest.mark.parametrize("mode", ["RGB", "P"])
def test_colour_profile_of_a_scaled_image_is_converted(file_format: str, mode: str) -> None:
    if file_format == "JPEG":
        mode = "RGB"
    red = Image.new("RGB", (SIDE + 2, 2), "red").convert(mode)
    image = scale_down(images.encode(red, file_format, icc_profile=images.build_swapped_profile()))
    assert images.measure_difference(image, Image.new("RGB", (SIDE, 2), "lime")) < 3


def encode_apng(width: int, height: int) -> bytes:
    """Return an animation of two frames in one colour."""
    pixels = next(data for kind, data in images.split_chunks(images.build_png(width, height)) if kind == b"IDAT")
    box = (0, 0, width, height)
    frames = [frame_control(0, box), chunk(b"IDAT", pixels), frame_control(1, box), frame_data(2, pixels)]
    return crafted.png(width, height, 0, 1, animation_control(2), *frames)


@pytest.mark.parametrize(
    "build",
    [encode_apng, lambda width, height: encode_gif(width, height, *[gif_frame((0, 0, 1, 1), [0])] * 2)],
    ids=["APNG", "GIF"],
)
def test_animation_is_not_scaled(build: Callable[[int, int], bytes]) -> None:
    assert len(images.decode_frames(reencode(build(SIDE, SIDE), scale_down=True).content)) == 2
    with pytest.raises(limits.RejectedError, match="must be at most 2048 by 2048 pixels if it is animated"):
        reencode(build(SIDE + 1, SIDE), scale_down=True)


def test_truncated_image_to_scale_down_is_rejected() -> None:
    for content in (images.encode(HALVES, "JPEG"), images.encode(HALVES, "PNG"), images.encode(HALVES, "GIF")):
        with pytest.raises(Exception, match=r"."):
            reencode(content[: len(content) // 2], scale_down=True)


def run_program(content: bytes, *arguments: str) -> tuple[int, str]:
    """Run the program in its limits; return its exit status and the first line of its output."""
    command = [sys.executable, "-I", str(PROGRAM), str(os.getpid()), *arguments]
    done = subprocess.run(command, input=content, capture_output=True, check=False)
    return done.returncode, done.stdout.partition(b"\n")[0].decode()


def test_program_scales_down_only_with_its_argument() -> None:
    content = images.build_png(4096, 2048)
    assert run_program(content, "--scale-down") == (0, "image/png 2048 1024")
    assert run_program(content) == (3, "must be at most 2048 by 2048 pixels, and has 4096 by 2048")


def test_image_that_takes_too_much_memory_is_rejected_with_that_reason() -> None:
    program = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r})\n"
        "from api.images.reencode import __main__ as program, limits\n"
        "limits.MEMORY_BYTES = 2**27\n"
        "sys.exit(program.main())"
    )
    content = images.build_costly_png(5000, 6)
    done = subprocess.run(
        [sys.executable, "-c", program, str(os.getpid()), "--scale-down"],
        input=content,
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (3, b"takes too much memory to be decoded\n")


@pytest.mark.slow
@pytest.mark.parametrize("colour_type", [2, 6])
def test_costliest_png_is_scaled_within_the_limits_of_the_process(colour_type: int) -> None:
    size = 5792
    assert size * size <= limits.MAX_PIXELS < (size + 1) * (size + 1)
    assert run_program(images.build_costly_png(size, colour_type), "--scale-down") == (0, "image/png 2048 2048")


@pytest.mark.slow
def test_costliest_jpeg_is_scaled_within_the_limits_of_the_process() -> None:
    # Three components without subsampling, which the decoder has to keep until the last scan.
    photo = images.encode(
        Image.linear_gradient("L").resize((8190, 6144)).convert("RGB"), "JPEG", progressive=True, subsampling=0
    )
    assert run_program(photo, "--scale-down") == (0, "image/jpeg 2048 1536")
