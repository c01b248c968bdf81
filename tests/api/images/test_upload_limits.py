"""Uploads that are not images or exceed a limit are rejected and store nothing; the largest within are accepted."""

from collections.abc import Callable, Iterator

import httpx
import pytest

from tests import crafted, images
from tests.api.images.support import list_stored_names, upload, upload_and_fetch, upload_rejected
from tests.api.support import expect_error, unlimited_client
from tests.api_process import Api, running
from tests.waiting import wait_until

TOO_LARGE = "must be at most 2048 by 2048 pixels"
NO_IMAGE = "must be a complete JPEG, PNG or GIF image"


@pytest.fixture(scope="module")
def empty_api(new_api: Callable[..., Api], new_database: Callable[[str], str]) -> Iterator[Api]:
    """An API with its own, empty storage."""
    with running(new_api(new_database("parley_no_images"))) as api:
        yield api


def encode_gif_animation(frames: int) -> bytes:
    return images.encode_animation(images.draw_animation(frames), "GIF")


@pytest.mark.parametrize(
    ("build", "error"),
    [
        (lambda: b"", NO_IMAGE),
        (lambda: b"hello", NO_IMAGE),
        (lambda: images.SVG, NO_IMAGE),
        (lambda: images.SCRIPT, NO_IMAGE),
        (lambda: b"GIF89a" + images.SCRIPT, NO_IMAGE),
        (lambda: images.encode(images.draw_gradient(), "WEBP"), NO_IMAGE),
        (lambda: images.encode(images.draw_gradient(), "BMP"), NO_IMAGE),
        (lambda: images.encode(images.draw_gradient(), "TIFF"), NO_IMAGE),
        (lambda: images.encode(images.draw_gradient(), "PNG")[:-60], NO_IMAGE),
        (lambda: images.encode(images.draw_gradient(), "JPEG")[:-200], NO_IMAGE),
        (lambda: images.encode(images.draw_gradient(), "GIF")[:-400], NO_IMAGE),
        (lambda: images.encode(images.draw_gradient(), "PNG")[:30], NO_IMAGE),
        (lambda: images.encode(images.draw_gradient(), "PNG").replace(b"IDAT", b"IDAT\0"), NO_IMAGE),
        (lambda: images.build_png(30_000, 30_000), f"{TOO_LARGE}, and has 30000 by 30000"),
        (lambda: images.build_png(2049, 1), f"{TOO_LARGE}, and has 2049 by 1"),
        (lambda: images.build_png(1, 2049), f"{TOO_LARGE}, and has 1 by 2049"),
        (lambda: images.encode_jpeg_with_scans(201), "must have at most 200 scans"),
        (lambda: crafted.gif(1, 1, crafted.gif_frame((65_000, 0, 1, 1), [0])), f"{TOO_LARGE}, and has 65001 by 1"),
        (
            lambda: crafted.gif(1, 1, crafted.gif_frame((0, 0, 1, 1), [0]), crafted.gif_frame((0, 0, 65_000, 65_000))),
            "must have at most 33554432 pixels in all its 2 frames together",
        ),
        (lambda: encode_gif_animation(3000), "must have at most 1000 frames, and has 3000"),
        (lambda: encode_gif_animation(1001), "must have at most 1000 frames, and has 1001"),
        (
            lambda: images.encode_animation(images.draw_animation(9, side=2048, mode="L"), "PNG"),
            "must have at most 33554432 pixels in all its 9 frames together",
        ),
    ],
    ids=["empty", "text", "SVG", "HTML", "HTML that begins as a GIF", "WebP", "BMP", "TIFF", "truncated PNG",
         "truncated JPEG", "truncated GIF", "a PNG's head", "broken PNG", "bomb", "too wide", "too high",
         "too many scans", "first frame too far", "too large a frame", "3000 frames", "1001 frames",
         "9 frames of the largest"],
)  # fmt: skip
def test_invalid_image_is_rejected(empty_api: Api, build: Callable[[], bytes], error: str) -> None:
    with unlimited_client(empty_api) as client:
        assert upload_rejected(client, build()) == error
        assert client.get("/api/profile").json()["user"]["imageUrl"] is None
    assert list_stored_names(empty_api) == set()


@pytest.mark.parametrize(
    ("build", "size"),
    [
        (lambda: images.build_png(2048, 1), (2048, 1)),
        (lambda: images.build_png(1, 2048), (1, 2048)),
        (lambda: images.build_png(2048, 2048), (2048, 2048)),
        (lambda: crafted.gif(1, 1, crafted.gif_frame((2047, 2047, 1, 1), [0])), (2048, 2048)),
        (lambda: images.encode_jpeg_with_scans(200), (64, 48)),
        (lambda: encode_gif_animation(1000), (48, 48)),
        pytest.param(lambda: images.build_costly_apng(8), (2048, 2048), marks=pytest.mark.slow),
    ],
    ids=["wide", "high", "large", "first frame far", "200 scans", "1000 frames", "8 frames of the costliest"],
)
def test_largest_images_are_accepted(client: httpx.Client, build: Callable[[], bytes], size: tuple[int, int]) -> None:
    assert images.decode(upload_and_fetch(client, build())).size == size


def test_image_may_have_five_mebibytes_and_not_a_byte_more(api: Api, client: httpx.Client) -> None:
    noise = images.encode(images.draw_noise(1300, 1300), "PNG")
    assert images.MAX_BYTES - len(noise) in range(200_000)
    assert images.decode(upload_and_fetch(client, images.pad(noise, images.MAX_BYTES))).size == (1300, 1300)
    wait_until(lambda: len(client.get("/api/profile").json()["user"]["imageUrl"]) > 0)
    before = list_stored_names(api)
    too_large = expect_error(upload(client, images.pad(noise, images.MAX_BYTES + 1)), 413)
    assert too_large["message"] == "An image may have at most 5242880 bytes."
    assert list_stored_names(api) == before
