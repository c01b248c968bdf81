"""An upload of each kind is stored with the same appearance and without anything that browsers do not show."""

import re
import zlib
from io import BytesIO

import httpx
import pytest
from PIL import Image

from tests import crafted, images
from tests.api.images.support import upload_and_fetch

GRADIENT = images.draw_gradient()


def test_metadata_of_a_photo_is_removed(client: httpx.Client) -> None:
    content = images.encode_photo()
    assert b"A Camera" in content
    assert images.decode(content).getexif().get_ifd(0x8825)[2] == (52.0, 31.0, 12.0)
    stored = upload_and_fetch(client, content)
    image = images.decode(stored)
    assert image.info.keys() <= {"jfif", "jfif_version", "jfif_unit", "jfif_density"}
    assert not image.getexif()
    assert not re.search(rb"Exif|A Camera|A comment|ICC", stored)
    turned = GRADIENT.transpose(Image.Transpose.ROTATE_270)
    assert images.measure_difference(image, turned) < 3


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_of_a_photo_is_applied(client: httpx.Client, orientation: int) -> None:
    upright = images.decode(upload_and_fetch(client, images.encode_photo(orientation)))
    assert upright.size == ((48, 64) if orientation > 4 else (64, 48))
    corners = {upright.getpixel((x, y)) for x in (0, upright.width - 1) for y in (0, upright.height - 1)}
    assert len(corners) == 4


def test_text_and_comments_of_png_and_gif_are_removed(client: httpx.Client) -> None:
    text = crafted.chunk(b"tEXt", b"Comment\0A comment")
    png = images.build_png(9, 9, [text, crafted.chunk(b"eXIf", b"MM\0*\0\0\0\x08\0\0")])
    assert b"A comment" not in upload_and_fetch(client, png)
    for gif in (
        images.encode(GRADIENT, "GIF", comment=b"A comment"),
        images.encode_animation(images.draw_animation(3), "GIF", comment=b"A comment"),
    ):
        assert b"A comment" in gif
        assert b"A comment" not in upload_and_fetch(client, gif)


@pytest.mark.parametrize(
    ("mode", "file_format"),
    [("RGB", "PNG"), ("RGBA", "PNG"), ("P", "PNG"), ("RGB", "JPEG"), ("RGB", "APNG"), ("RGBA", "APNG")],
)
def test_colour_profile_is_converted_to_srgb(client: httpx.Client, mode: str, file_format: str) -> None:
    profile, red = images.build_swapped_profile(), Image.new("RGB", (20, 20), "red")
    pictures = [red.convert(mode), Image.new(mode, (20, 20), "blue" if mode != "P" else 0)]
    if file_format == "APNG":
        content = images.encode_animation(pictures, "PNG", icc_profile=profile)
    else:
        content = images.encode(pictures[0], file_format, icc_profile=profile)
    stored = images.decode(upload_and_fetch(client, content))
    assert "icc_profile" not in stored.info
    assert images.measure_difference(stored, Image.new("RGB", (20, 20), "lime")) < 2


def test_invalid_or_inapplicable_colour_profile_is_ignored(client: httpx.Client) -> None:
    for picture, profile in (
        (GRADIENT, b"no profile"),
        (GRADIENT.convert("L"), images.build_swapped_profile()),
    ):
        content = images.encode(picture, "PNG", icc_profile=profile)
        assert images.measure_difference(images.decode(upload_and_fetch(client, content)), picture) < 1


def test_orientation_is_applied_despite_invalid_exif_entries(client: httpx.Client) -> None:
    upright = images.decode(upload_and_fetch(client, images.encode_photo_with_invalid_exif()))
    assert images.measure_difference(upright, GRADIENT.transpose(Image.Transpose.ROTATE_270)) < 3


def test_png_with_large_text_chunk_is_accepted(client: httpx.Client) -> None:
    text = crafted.chunk(b"zTXt", b"project\0\0" + zlib.compress(bytes(3_000_000)))
    assert len(upload_and_fetch(client, images.build_png(9, 9, [text]))) < 1000


@pytest.mark.parametrize(
    ("content", "mode", "expected"),
    [
        (images.encode(GRADIENT.convert("P"), "PNG"), "P", GRADIENT.convert("P")),
        (images.encode(GRADIENT.convert("P"), "PNG", transparency=3), "P", None),
        (images.encode(GRADIENT.convert("1"), "PNG"), "1", GRADIENT.convert("1")),
        (images.encode(GRADIENT.convert("L"), "PNG"), "L", GRADIENT.convert("L")),
        (images.encode(GRADIENT.convert("LA"), "PNG"), "LA", GRADIENT.convert("LA")),
        (images.encode(GRADIENT.convert("RGBA"), "PNG"), "RGBA", GRADIENT),
        (images.encode(GRADIENT, "PNG", transparency=(255, 0, 0)), "RGBA", None),
        (images.encode(Image.linear_gradient("L").convert("I;16").point(lambda v: v * 257), "PNG"), "L",
         Image.linear_gradient("L")),
        (images.encode(Image.new("I;16", (9, 9), 5200), "PNG", transparency=5200), "LA", Image.new("LA", (9, 9))),
        (images.encode(GRADIENT.convert("L"), "JPEG"), "L", GRADIENT.convert("L")),
        (images.encode(GRADIENT.convert("CMYK"), "JPEG", quality=95), "RGB", GRADIENT),
        (images.encode(GRADIENT, "JPEG", progressive=True, quality=95), "RGB", GRADIENT),
        (images.encode(GRADIENT, "MPO", save_all=True, append_images=[GRADIENT], quality=95), "RGB", GRADIENT),
        (images.encode(GRADIENT.convert("L"), "GIF"), "P", GRADIENT.convert("L")),
    ],
    ids=["palette", "palette with a hole", "bits", "grey", "grey, alpha", "alpha", "colour key", "16 bits",
         "16 bits, key", "grey JPEG", "CMYK", "progressive", "MPO", "grey GIF"],
)  # fmt: skip
def test_image_of_each_kind_looks_like_its_upload(
    client: httpx.Client, content: bytes, mode: str, expected: Image.Image | None
) -> None:
    image = images.decode(upload_and_fetch(client, content))
    assert image.mode == mode
    assert images.measure_difference(image, expected or images.decode(content)) < 4


@pytest.mark.parametrize("file_format", ["GIF", "PNG"])
@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "L"])
@pytest.mark.parametrize("disposal", [0, 2])
def test_animation_keeps_frames_delays_and_loop_count(
    client: httpx.Client, file_format: str, mode: str, disposal: int
) -> None:
    content = images.encode_animation(
        images.draw_animation(7, mode=mode), file_format, disposal=disposal if file_format == "GIF" else 0
    )
    stored = upload_and_fetch(client, content)
    before, after = images.decode_frames(content), images.decode_frames(stored)
    assert len(after) == len(before) == 7
    assert max(images.measure_difference(*pair) for pair in zip(before, after, strict=True)) < 2
    original, reencoded = Image.open(BytesIO(content)), Image.open(BytesIO(stored))
    assert reencoded.info["loop"] == original.info["loop"] == 3
    for number in range(7):
        original.seek(number)
        reencoded.seek(number)
        assert reencoded.info["duration"] == original.info["duration"]


def test_still_image_of_an_animated_png_is_removed(client: httpx.Client) -> None:
    still, *pictures = images.draw_animation(4)
    content = images.encode(
        still, "PNG", save_all=True, append_images=pictures, default_image=True, duration=[100, 200, 300]
    )
    frames = images.decode_frames(upload_and_fetch(client, content))
    assert len(frames) == 3
    assert max(images.measure_difference(*pair) for pair in zip(frames, pictures, strict=True)) < 1


def test_animation_without_loop_stays_without_loop(client: httpx.Client) -> None:
    pictures = images.draw_animation(3)
    content = images.encode(pictures[0], "GIF", save_all=True, append_images=pictures[1:], duration=50)
    assert "loop" not in images.decode(upload_and_fetch(client, content)).info


def test_trailing_data_is_removed(client: httpx.Client) -> None:
    for file_format in ("GIF", "PNG", "JPEG"):
        stored = upload_and_fetch(client, images.encode(GRADIENT, file_format) + images.SCRIPT)
        assert b"script" not in stored
        assert images.decode(stored).format == file_format
