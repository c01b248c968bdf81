"""Profile images: what is stored of which upload, what is refused, and that nothing else is."""

import hashlib
import os
import re
import signal
import socket
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from io import BytesIO
from pathlib import Path

import httpx
import psutil
import psycopg
import pytest
from PIL import Image

from api.dev.postgres import Postgres
from api.dev.process import free_port
from api.http.errors import ApiError
from api.images import service as api_images
from tests import crafted, images
from tests.api.support import INSTANT, altered, exchange, head, refusal, unlimited
from tests.support import ROOT, Api, new_user, running, scraped, token, wait_until

PATH = "/api/profile/image"
TOO_LARGE = "must be at most 2048 by 2048 pixels"
NO_IMAGE = "must be a whole JPEG, PNG or GIF image"
CONTENT_TYPES = {"gif": "image/gif", "jpg": "image/jpeg", "png": "image/png"}


@pytest.fixture
def client(api: Api) -> Iterator[httpx.Client]:
    """Of a new user."""
    with unlimited(api) as client:
        yield client


def upload(client: httpx.Client, content: bytes) -> httpx.Response:
    """The answer to an upload, under a name and a type that say nothing of it."""
    return client.post(PATH, files={"image": ("page.html", content, "text/html")})


def stored(client: httpx.Client, content: bytes) -> bytes:
    """What clients get to see of an upload."""
    response = upload(client, content)
    assert response.status_code == 200, response.text
    served = client.get(response.json()["imageUrl"], headers={"Authorization": ""})
    assert served.status_code == 200
    return served.content


def problem(client: httpx.Client, content: bytes) -> str:
    """Why an upload is refused."""
    fields = refusal(upload(client, content), 400)["details"]["fields"]
    assert list(fields) == ["image"]
    return str(fields["image"])


def files(api: Api) -> set[str]:
    """The names in storage."""
    return {path.name for path in api.images.iterdir()}


@pytest.mark.parametrize(
    ("extension", "content"),
    [
        ("jpg", images.encoded(images.gradient(), "JPEG")),
        ("png", images.encoded(images.gradient(), "PNG")),
        ("gif", images.encoded(images.gradient(), "GIF")),
    ],
)
def test_an_image_is_served_under_the_hash_of_its_content(
    api: Api, client: httpx.Client, extension: str, content: bytes
) -> None:
    answer = upload(client, content).json()
    assert answer == {"imageUrl": answer["imageUrl"], "updatedAt": INSTANT}
    user = client.get("/api/profile").json()["user"]
    assert (user["imageUrl"], user["updatedAt"]) == (answer["imageUrl"], answer["updatedAt"])
    with httpx.Client() as anybody:
        served = anybody.get(answer["imageUrl"])
        name = hashlib.sha256(served.content).hexdigest() + f".{extension}"
        assert answer["imageUrl"] == f"http://127.0.0.1:{api.port}/images/{name}"
        assert served.headers["content-type"] == CONTENT_TYPES[extension]
        assert served.headers["content-length"] == str(len(served.content))
        assert served.headers["x-content-type-options"] == "nosniff"
        assert served.headers["cache-control"] == "public, max-age=31536000, immutable"
        assert "x-ratelimit-limit" not in served.headers
        head_only = anybody.head(answer["imageUrl"])
        assert (head_only.content, head_only.headers["content-length"]) == (b"", str(len(served.content)))
        same = anybody.get(answer["imageUrl"], headers={"If-None-Match": served.headers["etag"]})
        assert (same.status_code, same.content) == (304, b"")
        assert anybody.get(answer["imageUrl"], headers={"If-None-Match": "*"}).status_code == 304
        assert anybody.get(answer["imageUrl"], headers={"If-None-Match": '"x"'}).status_code == 200
    assert images.difference(images.decoded(served.content), images.decoded(content)) < 2


@pytest.mark.parametrize(
    "name",
    ["", "x.png", "..%2Fsecret.png", "%2e%2e/secret.png", "A" * 64 + ".png", "a" * 64 + ".png", "a" * 64 + ".svg",
     "a" * 64, "a" * 64 + ".png%00", "a" * 64 + ".png%0A", "a" * 64 + ".png/", "%FF.png", "a" * 64 + ".png#1"],
)  # fmt: skip
def test_what_is_no_image_is_not_found(client: httpx.Client, name: str) -> None:
    refusal(client.get(f"/images/{name}"), 404)


def test_nothing_of_a_photo_but_its_pixels_is_kept(client: httpx.Client) -> None:
    content = images.photo()
    assert b"A Camera" in content
    assert images.decoded(content).getexif().get_ifd(0x8825)[2] == (52.0, 31.0, 12.0)
    kept = stored(client, content)
    image = images.decoded(kept)
    assert image.info.keys() <= {"jfif", "jfif_version", "jfif_unit", "jfif_density"}
    assert not image.getexif()
    assert not re.search(rb"Exif|A Camera|A comment|ICC", kept)
    turned = images.gradient().transpose(Image.Transpose.ROTATE_270)
    assert images.difference(image, turned) < 3


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photo_is_upright(client: httpx.Client, orientation: int) -> None:
    upright = images.decoded(stored(client, images.photo(orientation)))
    assert upright.size == ((48, 64) if orientation > 4 else (64, 48))
    corners = {upright.getpixel((x, y)) for x in (0, upright.width - 1) for y in (0, upright.height - 1)}
    assert len(corners) == 4


def test_texts_of_a_png_and_a_gif_are_not_kept(client: httpx.Client) -> None:
    text = crafted.chunk(b"tEXt", b"Comment\0A comment")
    assert b"A comment" not in stored(client, images.png(9, 9, [text, crafted.chunk(b"eXIf", b"MM\0*\0\0\0\x08\0\0")]))
    for gif in (
        images.encoded(images.gradient(), "GIF", comment=b"A comment"),
        images.animated(images.animation(3), "GIF", comment=b"A comment"),
    ):
        assert b"A comment" in gif
        assert b"A comment" not in stored(client, gif)


@pytest.mark.parametrize(
    ("mode", "file_format"),
    [("RGB", "PNG"), ("RGBA", "PNG"), ("P", "PNG"), ("RGB", "JPEG"), ("RGB", "APNG"), ("RGBA", "APNG")],
)
def test_colours_of_another_space_become_those_of_srgb(client: httpx.Client, mode: str, file_format: str) -> None:
    profile, red = images.with_red_for_green(), Image.new("RGB", (20, 20), "red")
    pictures = [red.convert(mode), Image.new(mode, (20, 20), "blue" if mode != "P" else 0)]
    if file_format == "APNG":
        content = images.animated(pictures, "PNG", icc_profile=profile)
    else:
        content = images.encoded(pictures[0], file_format, icc_profile=profile)
    kept = images.decoded(stored(client, content))
    assert "icc_profile" not in kept.info
    assert images.difference(kept, Image.new("RGB", (20, 20), "lime")) < 2


def test_a_profile_of_no_use_is_as_if_there_were_none(client: httpx.Client) -> None:
    for picture, profile in (
        (images.gradient(), b"no profile"),
        (images.gradient().convert("L"), images.with_red_for_green()),
    ):
        content = images.encoded(picture, "PNG", icc_profile=profile)
        assert images.difference(images.decoded(stored(client, content)), picture) < 1


def test_a_photo_with_odd_metadata_is_upright(client: httpx.Client) -> None:
    upright = images.decoded(stored(client, images.photo_with_odd_exif()))
    assert images.difference(upright, images.gradient().transpose(Image.Transpose.ROTATE_270)) < 3


def test_much_text_in_a_png_is_no_reason_to_refuse_it(client: httpx.Client) -> None:
    text = crafted.chunk(b"zTXt", b"project\0\0" + zlib.compress(bytes(3_000_000)))
    assert len(stored(client, images.png(9, 9, [text]))) < 1000


@pytest.mark.parametrize(
    ("content", "mode", "expected"),
    [
        (images.encoded(images.gradient().convert("P"), "PNG"), "P", images.gradient().convert("P")),
        (images.encoded(images.gradient().convert("P"), "PNG", transparency=3), "P", None),
        (images.encoded(images.gradient().convert("1"), "PNG"), "1", images.gradient().convert("1")),
        (images.encoded(images.gradient().convert("L"), "PNG"), "L", images.gradient().convert("L")),
        (images.encoded(images.gradient().convert("LA"), "PNG"), "LA", images.gradient().convert("LA")),
        (images.encoded(images.gradient().convert("RGBA"), "PNG"), "RGBA", images.gradient()),
        (images.encoded(images.gradient(), "PNG", transparency=(255, 0, 0)), "RGBA", None),
        (images.encoded(Image.linear_gradient("L").convert("I;16").point(lambda v: v * 257), "PNG"), "L",
         Image.linear_gradient("L")),
        (images.encoded(Image.new("I;16", (9, 9), 5200), "PNG", transparency=5200), "LA", Image.new("LA", (9, 9))),
        (images.encoded(images.gradient().convert("L"), "JPEG"), "L", images.gradient().convert("L")),
        (images.encoded(images.gradient().convert("CMYK"), "JPEG", quality=95), "RGB", images.gradient()),
        (images.encoded(images.gradient(), "JPEG", progressive=True, quality=95), "RGB", images.gradient()),
        (images.encoded(images.gradient(), "MPO", save_all=True, append_images=[images.gradient()], quality=95), "RGB",
         images.gradient()),
        (images.encoded(images.gradient().convert("L"), "GIF"), "P", images.gradient().convert("L")),
    ],
    ids=["palette", "palette with a hole", "bits", "grey", "grey, alpha", "alpha", "colour key", "16 bits",
         "16 bits, key", "grey JPEG", "CMYK", "progressive", "MPO", "grey GIF"],
)  # fmt: skip
def test_an_image_of_each_kind_looks_as_it_did(
    client: httpx.Client, content: bytes, mode: str, expected: Image.Image | None
) -> None:
    image = images.decoded(stored(client, content))
    assert image.mode == mode
    assert images.difference(image, expected or images.decoded(content)) < 4


@pytest.mark.parametrize("file_format", ["GIF", "PNG"])
@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "L"])
@pytest.mark.parametrize("disposal", [0, 2])
def test_an_animation_stays_one(client: httpx.Client, file_format: str, mode: str, disposal: int) -> None:
    content = images.animated(
        images.animation(7, mode=mode), file_format, disposal=disposal if file_format == "GIF" else 0
    )
    kept = stored(client, content)
    before, after = images.frames_of(content), images.frames_of(kept)
    assert len(after) == len(before) == 7
    assert max(images.difference(*pair) for pair in zip(before, after, strict=True)) < 2
    one, other = Image.open(BytesIO(content)), Image.open(BytesIO(kept))
    assert other.info["loop"] == one.info["loop"] == 3
    for number in range(7):
        one.seek(number)
        other.seek(number)
        assert other.info["duration"] == one.info["duration"]


def test_what_an_animated_png_shows_where_it_cannot_move_is_no_frame(client: httpx.Client) -> None:
    still, *pictures = images.animation(4)
    content = images.encoded(
        still, "PNG", save_all=True, append_images=pictures, default_image=True, duration=[100, 200, 300]
    )
    frames = images.frames_of(stored(client, content))
    assert len(frames) == 3
    assert max(images.difference(*pair) for pair in zip(frames, pictures, strict=True)) < 1


def test_an_animation_that_ends_ends(client: httpx.Client) -> None:
    pictures = images.animation(3)
    content = images.encoded(pictures[0], "GIF", save_all=True, append_images=pictures[1:], duration=50)
    assert "loop" not in images.decoded(stored(client, content)).info


def test_a_page_behind_an_image_is_not_kept(client: httpx.Client) -> None:
    for file_format in ("GIF", "PNG", "JPEG"):
        kept = stored(client, images.encoded(images.gradient(), file_format) + images.SCRIPT)
        assert b"script" not in kept
        assert images.decoded(kept).format == file_format


@pytest.fixture(scope="module")
def empty(new_api: Callable[..., Api], new_database: Callable[[str], str]) -> Iterator[Api]:
    """An API that has stored nothing, and so has nothing to remove when a test has ended."""
    with running(new_api(new_database("parley_no_images"))) as api:
        yield api


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda: b"", NO_IMAGE),
        (lambda: b"hello", NO_IMAGE),
        (lambda: images.SVG, NO_IMAGE),
        (lambda: images.SCRIPT, NO_IMAGE),
        (lambda: b"GIF89a" + images.SCRIPT, NO_IMAGE),
        (lambda: images.encoded(images.gradient(), "WEBP"), NO_IMAGE),
        (lambda: images.encoded(images.gradient(), "BMP"), NO_IMAGE),
        (lambda: images.encoded(images.gradient(), "TIFF"), NO_IMAGE),
        (lambda: images.encoded(images.gradient(), "PNG")[:-60], NO_IMAGE),
        (lambda: images.encoded(images.gradient(), "JPEG")[:-200], NO_IMAGE),
        (lambda: images.encoded(images.gradient(), "GIF")[:-400], NO_IMAGE),
        (lambda: images.encoded(images.gradient(), "PNG")[:30], NO_IMAGE),
        (lambda: images.encoded(images.gradient(), "PNG").replace(b"IDAT", b"IDAT\0"), NO_IMAGE),
        (lambda: images.png(30_000, 30_000), f"{TOO_LARGE}, and has 30000 by 30000"),
        (lambda: images.png(2049, 1), f"{TOO_LARGE}, and has 2049 by 1"),
        (lambda: images.png(1, 2049), f"{TOO_LARGE}, and has 1 by 2049"),
        (lambda: images.jpeg_of_scans(201), "must have at most 200 scans"),
        (lambda: crafted.gif(1, 1, crafted.gif_frame((65_000, 0, 1, 1), [0])), f"{TOO_LARGE}, and has 65001 by 1"),
        (
            lambda: crafted.gif(1, 1, crafted.gif_frame((0, 0, 1, 1), [0]), crafted.gif_frame((0, 0, 65_000, 65_000))),
            "must have at most 33554432 pixels in all its 2 frames together",
        ),
        (lambda: images.animated(images.animation(3000), "GIF"), "must have at most 1000 frames, and has 3000"),
        (lambda: images.animated(images.animation(1001), "GIF"), "must have at most 1000 frames, and has 1001"),
        (
            lambda: images.animated(images.animation(9, side=2048, mode="L"), "PNG"),
            "must have at most 33554432 pixels in all its 9 frames together",
        ),
    ],
    ids=["empty", "text", "SVG", "HTML", "HTML that begins as a GIF", "WebP", "BMP", "TIFF", "truncated PNG",
         "truncated JPEG", "truncated GIF", "a PNG's head", "broken PNG", "bomb", "too wide", "too high",
         "too many scans", "first frame too far", "too large a frame", "3000 frames", "1001 frames",
         "9 frames of the largest"],
)  # fmt: skip
def test_what_is_no_image_is_refused(empty: Api, make: Callable[[], bytes], why: str) -> None:
    with unlimited(empty) as client:
        assert problem(client, make()) == why
        assert client.get("/api/profile").json()["user"]["imageUrl"] is None
    assert files(empty) == set()


@pytest.mark.parametrize(
    ("make", "size"),
    [
        (lambda: images.png(2048, 1), (2048, 1)),
        (lambda: images.png(1, 2048), (1, 2048)),
        (lambda: images.png(2048, 2048), (2048, 2048)),
        (lambda: crafted.gif(1, 1, crafted.gif_frame((2047, 2047, 1, 1), [0])), (2048, 2048)),
        (lambda: images.jpeg_of_scans(200), (64, 48)),
        (lambda: images.animated(images.animation(1000), "GIF"), (48, 48)),
        (lambda: images.costly(8), (2048, 2048)),
    ],
    ids=["wide", "high", "large", "first frame far", "200 scans", "1000 frames", "8 frames of the costliest"],
)
def test_the_largest_images_are_taken(client: httpx.Client, make: Callable[[], bytes], size: tuple[int, int]) -> None:
    assert images.decoded(stored(client, make())).size == size


def test_an_image_may_have_five_mebibytes_and_not_a_byte_more(api: Api, client: httpx.Client) -> None:
    noise = images.encoded(images.noise(1300, 1300), "PNG")
    assert images.MAX_BYTES - len(noise) in range(200_000)
    assert images.decoded(stored(client, images.padded(noise, images.MAX_BYTES))).size == (1300, 1300)
    wait_until(lambda: len(client.get("/api/profile").json()["user"]["imageUrl"]) > 0)
    before = files(api)
    too_large = refusal(upload(client, images.padded(noise, images.MAX_BYTES + 1)), 413)
    assert too_large["message"] == "An image may have at most 5242880 bytes."
    assert files(api) == before


def form(*parts: tuple[str, bytes], boundary: str = "x") -> bytes:
    """A form, part by part: the rest of the part's head, and its content."""
    lines = [
        f"--{boundary}\r\nContent-Disposition: form-data{rest}\r\n\r\n".encode() + content + b"\r\n"
        for rest, content in parts
    ]
    return b"".join(lines) + f"--{boundary}--\r\n".encode()


IMAGE = images.png(9, 9)
NAMED = ('; name="image"', IMAGE)


@pytest.mark.parametrize(
    ("body", "content_type", "status", "said"),
    [
        (form(NAMED), "multipart/form-data; boundary=x", 200, "imageUrl"),
        (form(('; name=image; filename="é.png"', IMAGE)), 'Multipart/Form-Data; boundary="x"', 200, "imageUrl"),
        (form(NAMED) + b"an epilogue", "multipart/form-data; boundary=x", 200, "imageUrl"),
        (form(NAMED, boundary="y" * 70), f"multipart/form-data; boundary={'y' * 70}", 200, "imageUrl"),
        (form(), "multipart/form-data; boundary=x", 400, '"image": "is required"'),
        (form(("; name=avatar", IMAGE)), "multipart/form-data; boundary=x", 400, '"avatar": "is not a known field"'),
        (form(NAMED, ("; name=b", b"")), "multipart/form-data; boundary=x", 400, '"b": "is not a known field"'),
        (form(NAMED, NAMED), "multipart/form-data; boundary=x", 400, '"image": "is given twice"'),
        (form(*[NAMED] * 17), "multipart/form-data; boundary=x", 413, ""),
        (form(("", IMAGE)), "multipart/form-data; boundary=x", 400, ""),
        (form(('; name="image"\r\nX: ' + "y" * 9000, IMAGE)), "multipart/form-data; boundary=x", 413, ""),
        (form(('; name="\u0000"', IMAGE)), "multipart/form-data; boundary=x", 400, ""),
        (form(NAMED).replace(b"name=", b"name=\xff"), "multipart/form-data; boundary=x", 400, ""),
        (form(NAMED)[:-8], "multipart/form-data; boundary=x", 400, "not valid"),
        (form(NAMED), "multipart/form-data; boundary=z", 400, "not valid"),
        (form(NAMED), "multipart/form-data; boundary=", 400, "not valid"),
        (form(NAMED), "multipart/form-data", 400, "not valid"),
        (b"", "multipart/form-data; boundary=x", 400, "not valid"),
        (b"\xff" * 100, "multipart/form-data; boundary=x", 400, "not valid"),
        (IMAGE, "image/png", 415, "multipart/form-data"),
        (b"{}", "application/json", 415, "multipart/form-data"),
        (b"image=x", "application/x-www-form-urlencoded", 415, "multipart/form-data"),
        (IMAGE, "", 415, "multipart/form-data"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("chunked", [False, True])
def test_a_form_has_one_image(
    client: httpx.Client, body: bytes, content_type: str, status: int, said: str, chunked: bool
) -> None:
    pieces = (body[start : start + 17] for start in range(0, len(body), 17))
    response = client.post(PATH, content=pieces if chunked else body, headers={"Content-Type": content_type})
    assert response.status_code == status, response.text
    assert said in response.text
    if status != 200:
        refusal(response, status)
    assert client.get("/api/profile").status_code == 200


@pytest.mark.parametrize("chunked", [False, True])
def test_who_uploads_gigabytes_reads_the_refusal_early(api: Api, chunked: bool) -> None:
    head_of_part = b'--x\r\nContent-Disposition: form-data; name="image"\r\n\r\n'
    piece, size = bytes(1024 * 1024), 10 * 1024**3
    headers = api.headers() | {"Content-Type": "multipart/form-data; boundary=x"}
    if chunked:
        framing, parts = {"Transfer-Encoding": "chunked"}, [b"100000\r\n" + piece + b"\r\n"] * 8
        parts.insert(0, b"%x\r\n" % len(head_of_part) + head_of_part + b"\r\n")
    else:
        framing, parts = {"Content-Length": str(size)}, [head_of_part, *[piece] * 8]
    refusal(exchange(api, head(f"POST {PATH} HTTP/1.1", headers | framing), *parts), 413)


def test_without_a_token_nothing_is_read(api: Api) -> None:
    headers = api.headers("") | {"Content-Type": "multipart/form-data; boundary=x", "Content-Length": "5000000"}
    refusal(exchange(api, head(f"POST {PATH} HTTP/1.1", headers)), 401)


# Together with the database


def test_an_image_goes_when_nobody_uses_it(api: Api, client: httpx.Client) -> None:
    with unlimited(api) as other:
        first, second = (images.encoded(images.noise(9, 9, seed), "PNG") for seed in (100, 200))
        url = upload(client, first).json()["imageUrl"]
        assert upload(other, first).json()["imageUrl"] == url
        replaced = upload(client, second).json()["imageUrl"]
        upload(client, first)
        wait_until(lambda: client.get(replaced).status_code == 404)
        upload(client, second)
        upload(other, second)
        wait_until(lambda: client.get(url).status_code == 404)
        assert client.get(replaced).status_code == 200


def test_the_same_image_again_changes_nothing(client: httpx.Client) -> None:
    assert upload(client, IMAGE).json() == upload(client, IMAGE).json()


def test_members_see_each_others_images(api: Api) -> None:
    owner, member = new_user(), new_user()
    with unlimited(api, owner) as one, unlimited(api, member) as other:
        url = upload(other, IMAGE).json()["imageUrl"]
        chat = one.post("/api/chats", json={"title": "x"}).json()["id"]
        assert one.post(f"/api/chats/{chat}/members", json={"userId": member}).json()["image"] == url


@pytest.fixture
def own_api(new_api: Callable[..., Api], new_database: Callable[[str], str]) -> Iterator[tuple[Api, str]]:
    """An API with a database of its own, for tests that break one of them."""
    database = new_database(f"parley_{new_user('images').replace('-', '_')}")
    with running(new_api(database)) as api:
        yield api, database


def test_what_the_database_refuses_is_not_stored(postgres: Postgres, own_api: tuple[Api, str]) -> None:
    api, database = own_api
    no_user = {"Authorization": f"Bearer {token('x' * 300)}"}
    with unlimited(api, **no_user) as nobody:
        refusal(upload(nobody, IMAGE), 401)
    assert files(api) == set()
    with unlimited(api) as client, psycopg.connect(postgres.url(database), autocommit=True) as dba:
        url = upload(client, images.png(8, 8)).json()["imageUrl"]
        for function in ("register_image_upload", "set_image"):
            dba.execute(f"alter function api.{function} rename to away")
            refusal(upload(client, IMAGE), 500)
            dba.execute(f"alter function api.away rename to {function}")
            assert files(api) == {url.rpartition("/")[2]}
        dba.execute(
            "create function fail() returns trigger language plpgsql as"
            " $$ begin raise 'at the commit' using errcode = '57014'; end $$"
        )
        dba.execute(
            "create constraint trigger fail after update on next_auth.users deferrable initially deferred"
            " for each row execute function fail()"
        )
        refusal(upload(client, IMAGE), 503)
        dba.execute("drop trigger fail on next_auth.users")
        assert client.get("/api/profile").json()["user"]["imageUrl"] == url
        # What was stored when the commit failed is on the list, and goes when it is due.
        assert len(files(api)) == 2
        dba.execute("update parley.image_cleanup set due = now()")
        upload(client, images.png(8, 8))
        wait_until(lambda: files(api) == {url.rpartition("/")[2]})


def test_what_the_storage_refuses_is_not_the_users(own_api: tuple[Api, str]) -> None:
    api, _ = own_api
    with unlimited(api) as client:
        url = upload(client, IMAGE).json()["imageUrl"]
        api.images.rename(api.images.with_suffix(".away"))
        api.images.touch()
        refusal(upload(client, images.png(8, 8)), 503)
        api.images.unlink()
        api.images.with_suffix(".away").rename(api.images)
        assert client.get("/api/profile").json()["user"]["imageUrl"] == url
        assert client.get(url).status_code == 200


def test_what_a_crash_left_behind_goes(postgres: Postgres, own_api: tuple[Api, str]) -> None:
    api, database = own_api
    with unlimited(api) as client:
        kept = upload(client, IMAGE).json()["imageUrl"].rpartition("/")[2]
    api.kill()
    orphan, staged = "0" * 64 + ".png", "0" * 64 + ".png#1"
    for name in (orphan, staged):
        (api.images / name).write_bytes(IMAGE)
    os.utime(api.images / staged, (0, 0))
    with psycopg.connect(postgres.url(database), autocommit=True) as dba:
        dba.execute("insert into parley.image_cleanup (name) values (%s), (%s)", [orphan, "1" * 64 + ".png"])
    api.start()
    wait_until(lambda: files(api) == {kept})


def test_an_image_that_cannot_be_removed_keeps_no_other(postgres: Postgres, own_api: tuple[Api, str]) -> None:
    api, database = own_api
    stuck, orphan = "0" * 64 + ".png", "1" * 64 + ".png"
    (api.images / stuck / "below").mkdir(parents=True)
    (api.images / orphan).touch()
    with psycopg.connect(postgres.url(database), autocommit=True) as dba:
        dba.execute("insert into parley.image_cleanup (name) values (%s), (%s)", [stuck, orphan])
        with unlimited(api) as client:
            upload(client, IMAGE)
        wait_until(lambda: orphan not in files(api))
        waiting = "select name, is_being_removed from parley.image_cleanup where due < now() + '5 min'"
        wait_until(lambda: dba.execute(waiting).fetchall() == [(stuck, True)])
    assert f"The image {stuck} can't be removed" in api.log.read_text()


def test_cleaning_goes_on_after_it_failed(postgres: Postgres, own_api: tuple[Api, str]) -> None:
    api, database = own_api
    with unlimited(api) as client, psycopg.connect(postgres.url(database), autocommit=True) as dba:
        for function in ("claim_unused_image", "confirm_image_removal"):
            dba.execute(f"alter function api.{function} rename to away")
            for size in (8, 9):
                upload(client, images.png(size, size))
            wait_until(lambda function=function: f"function api.{function}" in api.log.read_text())  # type: ignore[misc]
            dba.execute(f"alter function api.away rename to {function}")
        dba.execute("update parley.image_cleanup set due = now()")
        kept = upload(client, images.png(7, 7)).json()["imageUrl"].rpartition("/")[2]
        wait_until(lambda: files(api) == {kept})


def test_many_users_change_to_and_fro_between_two_images(own_api: tuple[Api, str]) -> None:
    api, _ = own_api
    pictures = [images.png(8, 8), images.png(9, 9)]
    users = [unlimited(api) for _ in range(4)]

    def change(user: httpx.Client) -> None:
        for turn in range(10):
            response = upload(user, pictures[turn % 2])
            assert response.status_code == 200
            assert user.get(response.json()["imageUrl"]).status_code == 200

    with ThreadPoolExecutor() as threads:
        list(threads.map(change, users))
    used = {user.get("/api/profile").json()["user"]["imageUrl"].rpartition("/")[2] for user in users}
    wait_until(lambda: files(api) == used)
    for user in users:
        user.close()


# In a process of its own


def at_work(server: psutil.Process) -> psutil.Process:
    """The decoder of an upload, when it has limited itself."""
    wait_until(lambda: any(decoder.nice() == 19 for decoder in server.children()))
    [decoder] = server.children()
    return decoder


@contextmanager
def stopped_decoder(api: Api, client: httpx.Client) -> Iterator[tuple[psutil.Process, Future[httpx.Response]]]:
    """An upload whose decoder was stopped while it was at work."""
    assert api.child
    server = psutil.Process(api.child.pid)
    with ThreadPoolExecutor() as threads:
        answer = threads.submit(upload, client, images.costly(2))
        decoder = at_work(server)
        decoder.suspend()
        try:
            yield decoder, answer
        finally:
            if decoder.is_running():
                decoder.resume()


def test_others_are_served_while_an_image_is_decoded(own_api: tuple[Api, str]) -> None:
    api, _ = own_api
    with unlimited(api) as client, unlimited(api) as other, stopped_decoder(api, client) as (decoder, answer):
        assert client.get("/api/chats").status_code == 200
        assert upload(other, IMAGE).status_code == 200
        assert not answer.done()
        decoder.resume()
        assert answer.result().status_code == 200


@pytest.fixture
def single(new_api: Callable[..., Api], shared_database: str) -> Iterator[Api]:
    """An API that decodes one image after the other."""
    api = new_api(shared_database, METRICS_PORT=str(free_port()))
    with running(altered(api, "images.SLOTS = 1", "images.WAIT_SECONDS = 15")) as api:
        yield api


def wait_for_open_uploads(api: Api, number: int) -> None:
    wait_until(lambda: scraped(int(api.environment["METRICS_PORT"]), "parley_uploads_open") == number)


def test_who_has_sent_costly_images_waits_for_others_who_came_later(single: Api) -> None:
    with (
        unlimited(single) as holder,
        unlimited(single) as heavy,
        unlimited(single) as ordinary,
        ThreadPoolExecutor() as threads,
    ):
        assert upload(heavy, images.costly(2)).status_code == 200
        with stopped_decoder(single, holder) as (decoder, _):
            first = threads.submit(upload, heavy, IMAGE)
            wait_for_open_uploads(single, 2)
            second = threads.submit(upload, ordinary, IMAGE)
            wait_for_open_uploads(single, 3)
            decoder.resume()
            assert first.result().status_code == second.result().status_code == 200
        assert second.result().json()["updatedAt"] < first.result().json()["updatedAt"]


def test_who_leaves_while_others_are_decoded_frees_the_place(single: Api) -> None:
    user, body = new_user(), form(NAMED)
    with (
        unlimited(single) as holder,
        unlimited(single, user) as waiting,
        unlimited(single) as other,
        ThreadPoolExecutor() as threads,
        stopped_decoder(single, holder) as (decoder, _),
    ):
        headers = dict(waiting.headers) | {"Content-Type": "multipart/form-data; boundary=x"}
        with socket.create_connection(("127.0.0.1", single.port), timeout=10) as connection:
            request = head(f"POST {PATH} HTTP/1.1", headers | {"Content-Length": str(len(body))}) + body
            connection.sendall(request)
            wait_for_open_uploads(single, 2)
            answer = threads.submit(upload, other, IMAGE)
            wait_for_open_uploads(single, 3)
        wait_for_open_uploads(single, 2)
        decoder.resume()
        assert answer.result().status_code == 200
        assert waiting.get("/api/profile").json()["user"]["imageUrl"] is None
        assert '"level": "error"' not in single.log.read_text()


def test_who_waits_for_a_decoder_in_vain_is_asked_to_come_again(
    new_api: Callable[..., Api], shared_database: str
) -> None:
    with (
        running(altered(new_api(shared_database), "images.SLOTS = 1", "images.WAIT_SECONDS = 0.2")) as api,
        unlimited(api) as holder,
        unlimited(api) as other,
        stopped_decoder(api, holder),
    ):
        refusal(upload(other, IMAGE), 503)


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGKILL, signal.SIGXCPU])
def test_a_crash_of_a_decoder_costs_one_answer(own_api: tuple[Api, str], number: signal.Signals) -> None:
    api, _ = own_api
    with unlimited(api) as client, stopped_decoder(api, client) as (decoder, answer):
        os.kill(decoder.pid, number)
        with suppress(psutil.NoSuchProcess):  # SIGKILL does not wait for that
            decoder.resume()
        error = refusal(answer.result(), 400)
        assert error["details"]["fields"] == {"image": "can't be decoded"}
        assert upload(client, IMAGE).status_code == 200
    assert f"crashed its decoder, exit status {-number}" in api.log.read_text()


def test_a_decoder_knows_no_secret(own_api: tuple[Api, str]) -> None:
    api, _ = own_api
    with unlimited(api) as client, stopped_decoder(api, client) as (decoder, _):
        environment = decoder.environ()
        assert not [name for name in api.environment if name in environment]
        limits = [decoder.rlimit(limit)[1] for limit in (psutil.RLIMIT_AS, psutil.RLIMIT_CPU, psutil.RLIMIT_FSIZE)]
        assert limits == [512 * 1024 * 1024, 6, 16 * 1024 * 1024]


def test_a_user_has_one_slot(own_api: tuple[Api, str]) -> None:
    api, _ = own_api
    with (
        unlimited(api) as client,
        unlimited(api) as other,
        ThreadPoolExecutor() as threads,
        stopped_decoder(api, client) as (decoder, first),
    ):
        second = threads.submit(upload, client, IMAGE)
        assert upload(other, IMAGE).status_code == 200
        assert not second.done()
        decoder.resume()
        assert first.result().status_code == second.result().status_code == 200


def test_a_decoder_that_takes_too_long_is_ended(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = tmp_path / "hangs.py"
    program.write_text("import signal\nsignal.pause()")
    monkeypatch.setattr(api_images, "PROGRAM", program)
    monkeypatch.setattr(api_images, "PROCESS_SECONDS", 0.01)
    with (tmp_path / "upload").open("w+b") as upload, pytest.raises(ApiError) as caught:
        api_images.run_program(upload)
    assert caught.value.status == 503
    assert not [p for p in psutil.Process().children() if str(program) in p.cmdline()]


@pytest.mark.parametrize(
    ("work", "status"),
    [("while True: pass", -signal.SIGKILL), ("bytearray(2**28)", 1), ("print('x' * 2000)", 1), ("print('x')", 0)],
)
def test_a_decoder_is_held_to_its_limits(tmp_path: Path, work: str, status: int) -> None:
    program = tmp_path / "limited.py"
    program.write_text(
        f"import sys; sys.path.insert(0, {str(ROOT)!r})\n"
        "from api.images import reencode\n"
        "reencode.CPU_SECONDS, reencode.MEMORY_BYTES, reencode.OUTPUT_BYTES = 1, 2**28, 1000\n"
        f"reencode.limit_this_process()\n{work}"
    )
    with (tmp_path / "output").open("wb") as output:
        done = subprocess.run([sys.executable, program], stdout=output, stderr=subprocess.DEVNULL, check=False)
    assert done.returncode == status


def test_uploads_under_way_are_finished_at_the_end(own_api: tuple[Api, str]) -> None:
    api, _ = own_api
    with unlimited(api) as client, stopped_decoder(api, client) as (decoder, answer):
        assert api.child
        os.kill(api.child.pid, signal.SIGTERM)
        decoder.resume()
        assert answer.result().status_code == 200


def test_killed_in_the_middle_it_has_stored_nothing(own_api: tuple[Api, str]) -> None:
    api, _ = own_api
    user = new_user()
    with unlimited(api, user) as client:
        url = upload(client, IMAGE).json()["imageUrl"]
        with stopped_decoder(api, client) as (_, answer):
            api.kill()
            assert isinstance(answer.exception(), httpx.TransportError)
        api.start()
        assert client.get("/api/profile").json()["user"]["imageUrl"] == url
        assert files(api) == {url.rpartition("/")[2]}


def test_several_workers_take_uploads(new_api: Callable[..., Api], shared_database: str) -> None:
    with running(new_api(shared_database, WORKERS="2")) as api:
        for _ in range(6):
            with unlimited(api) as client:
                assert upload(client, IMAGE).status_code == 200
