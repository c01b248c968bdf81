"""Images that the TypeScript client prepares for upload in Chromium: the API accepts them."""

import base64
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from api.dev.process import find_free_port
from tests import images
from tests.api_process import Api
from tests.e2e.chromium import Chromium, Tab
from tests.e2e.npm import Npm
from tests.e2e.test_typescript_client import run

pytestmark = pytest.mark.browser

MAX_SIDE = 2048
PAGE = """<!doctype html><link rel="icon" href="data:,"><script src="resize.js"></script><script>
async function prepare(content) {
  const bytes = Uint8Array.from(atob(content), (character) => character.charCodeAt(0))
  const prepared = new Uint8Array(await (await resize.resizeImage(new Blob([bytes]))).arrayBuffer())
  return btoa(Array.from(prepared, (byte) => String.fromCharCode(byte)).join(""))
}
</script>"""


class Preparer:
    """A page that prepares images."""

    def __init__(self, tab: Tab) -> None:
        self._tab = tab

    def prepare(self, content: bytes) -> bytes:
        """Return the image as the client uploads it."""
        prepared: str = self._tab.evaluate(f"prepare('{base64.b64encode(content).decode()}')")
        return base64.b64decode(prepared)

    def find_error(self, content: bytes) -> dict[str, str]:
        """Return the error for a file that is rejected."""
        call = f"prepare('{base64.b64encode(content).decode()}')"
        error: dict[str, str] = self._tab.evaluate(
            f"{call}.then(() => ({{}}), ({{ code, fields }}) => ({{ code, ...fields }}))"
        )
        return error


@pytest.fixture(scope="module")
def preparer(npm: Npm, web_client: Path, directory: Path) -> Iterator[Preparer]:
    script, page, port = directory / "resize.js", directory / "resize.html", find_free_port()
    page.write_text(PAGE)
    options = ["--bundle", "--format=iife", "--global-name=resize", f"--outfile={script}"]
    run("node_modules/.bin/esbuild", "src/images/resize.ts", *options, cwd=web_client)
    with Chromium(npm) as chromium:
        chromium.serve({"index.html": page, "resize.js": script}, port)
        yield Preparer(Tab(chromium, "images", f"http://127.0.0.1:{port}"))


def upload(api: Api, content: bytes) -> None:
    """Upload a profile image, which the API does not scale."""
    with api.client() as client:
        response = client.post("/api/profile/image", files={"image": content})
        assert response.status_code == 200, response.text


def draw_disc(side: int) -> Image.Image:
    """Draw a disc on a transparent ground."""
    image = Image.new("RGBA", (side, side), "#0000")
    image.paste((200, 30, 30, 255), (side // 4, side // 4, side // 2, side // 2))
    return image


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "GIF"])
def test_acceptable_image_stays_as_it_is(preparer: Preparer, file_format: str) -> None:
    content = images.encode(images.draw_gradient(), file_format)
    assert preparer.prepare(content) == content


def test_animated_gif_stays_as_it_is(preparer: Preparer) -> None:
    content = images.encode_animation(images.draw_animation(3, MAX_SIDE + 1), "GIF")
    assert preparer.prepare(content) == content


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "GIF", "WEBP", "AVIF", "BMP"])
def test_large_image_is_scaled_down(preparer: Preparer, api: Api, file_format: str) -> None:
    content = images.encode(
        images.draw_gradient(3000, 1500).convert("P" if file_format == "GIF" else "RGB"), file_format
    )
    prepared = preparer.prepare(content)
    image = images.decode(prepared)
    assert (image.format, image.size) == ("JPEG", (MAX_SIDE, MAX_SIDE // 2))
    expected = images.draw_gradient(MAX_SIDE, MAX_SIDE // 2)
    assert images.measure_difference(image.convert("RGB"), expected) < 10
    upload(api, prepared)


@pytest.mark.parametrize("file_format", ["WEBP", "AVIF"])
@pytest.mark.parametrize("is_transparent", [True, False])
def test_other_formats_are_converted(preparer: Preparer, api: Api, file_format: str, is_transparent: bool) -> None:
    original = draw_disc(200) if is_transparent else images.draw_gradient()
    prepared = preparer.prepare(images.encode(original, file_format))
    image = images.decode(prepared)
    assert (image.format, image.size) == ("PNG" if is_transparent else "JPEG", original.size)
    if is_transparent:
        assert image.getpixel((0, 0))[3] == 0  # type: ignore[index]
    upload(api, prepared)


@pytest.mark.parametrize("is_transparent", [True, False])
def test_large_file_is_made_smaller(preparer: Preparer, api: Api, is_transparent: bool) -> None:
    noise = images.draw_noise(1500, 1500)
    if is_transparent:
        noise.putalpha(images.draw_gradient(1500, 1500).convert("L"))
    content = images.encode(noise, "PNG")
    assert len(content) > images.MAX_BYTES
    prepared = preparer.prepare(content)
    assert len(prepared) <= images.MAX_BYTES
    assert images.decode(prepared).format == ("PNG" if is_transparent else "JPEG")
    upload(api, prepared)


@pytest.mark.parametrize("orientation", [1, 6])
def test_photo_is_upright(preparer: Preparer, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    prepared = preparer.prepare(images.encode(images.draw_gradient(3000, 1500), "JPEG", exif=exif))
    image = images.decode(prepared)
    assert image.size == ((MAX_SIDE, MAX_SIDE // 2) if orientation == 1 else (MAX_SIDE // 2, MAX_SIDE))
    assert image.getexif().get(0x0112, 1) == 1


@pytest.mark.parametrize("content", [b"", b"text", images.SVG, b"GIF89a", b"\x89PNG\r\n\x1a\n"])
def test_file_that_is_no_image_is_rejected(preparer: Preparer, content: bytes) -> None:
    error = {"code": "validation_error", "image": "is not an image that this browser can decode"}
    assert preparer.find_error(content) == error
