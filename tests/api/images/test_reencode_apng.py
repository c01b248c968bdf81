"""A re-encoded APNG looks like its upload in a browser, frame by frame."""

import pytest

from api.images.reencode.__main__ import reencode
from tests import images
from tests.api.images.appearance import assert_looks_alike
from tests.api.images.small_images import CANVAS, CLEAR, GREEN, RED, TURNED, YELLOW, apng, frame
from tests.browser import Browser
from tests.crafted import animation_control, chunk, frame_control

ANIMATIONS = {
    f"disposal {disposal}, blending {blending}": apng(
        frame(1, 0, [CLEAR, YELLOW], disposal=disposal, blending=blending), frame(3, 2, [RED]), frames=3
    )
    for disposal in range(3) for blending in range(2)
} | {
    f"first disposal {disposal}": apng(frame(1, 1, [RED]), first=frame_control(0, CANVAS, disposal=disposal))
    for disposal in range(3)
} | {
    f"{plays} plays": apng(frame(1, 1, [RED]), plays=plays) for plays in (0, 1, 2, 2**31 - 1)
} | {
    f"delay {delay}": apng(frame(1, 1, [RED], delay=delay), frame(3, 0, [RED]), frames=3)
    for delay in [(0, 0), (1, 0), (0, 5), (1, 1000), (1, 3), (65535, 1), (65535, 65535)]
} | {
    "an announcement too short": apng(frame(1, 1, [RED])).replace(animation_control(2), chunk(b"acTL", bytes(4))),
    "fewer frames than announced": apng(frame(1, 1, [RED]), frames=5),
    "more frames than announced": apng(frame(1, 1, [RED]), frame(3, 2, [RED]), frame(5, 0, [GREEN]), frames=3),
    "one frame of an animation": apng(frame(1, 1, [RED]), frames=1),
    "two controls of a frame": apng(frame_control(1, CANVAS, (9, 1)), frame(2, 1, [RED]), frame(4, 2, [RED]), frames=3),
    "a still image": apng(frame(0, 0, [YELLOW] * 3), frame(2, 1, [RED]), first=b""),
    "a still image and a small first frame": apng(frame(0, 1, [YELLOW]), frame(2, 2, [RED]), first=b""),
    "a still image and one frame": apng(frame(0, 0, [YELLOW] * 3), frames=1, first=b""),
    "frames without an animation": apng(frame(1, 1, [RED]), frames=0),
    "an animation, turned": apng(frame(1, 1, [RED]), first=TURNED + frame_control(0, CANVAS)),
    "translucent colours over others": apng(frame(1, 0, [(200, 100, 50, 40), (9, 8, 7, 3)], blending=1)),
}  # fmt: skip


@pytest.mark.parametrize("name", ANIMATIONS)
def test_apng_looks_like_its_upload(browser: Browser, name: str) -> None:
    assert_looks_alike(browser, ANIMATIONS[name])


def test_still_image_of_an_animation_is_kept_only_before_a_small_first_frame() -> None:
    for box, is_kept in ((CANVAS, False), ((1, 0, 1, 1), True)):
        first = frame(0, box[0], [YELLOW] * box[2])
        content = reencode(apng(first, frame(2, 1, [RED]), first=b"")).content
        kinds = [kind for kind, _ in images.split_chunks(content) if kind in {b"IDAT", b"fcTL"}]
        assert kinds == ([b"IDAT", b"fcTL", b"fcTL"] if is_kept else [b"fcTL", b"IDAT", b"fcTL"])
