"""GET /images/NAME: the content, the headers, and names that do not exist."""

import hashlib

import httpx
import pytest

from tests import images
from tests.api.images.support import upload
from tests.api.support import INSTANT, expect_error
from tests.api_process import Api

CONTENT_TYPES = {"gif": "image/gif", "jpg": "image/jpeg", "png": "image/png"}


@pytest.mark.parametrize(
    ("extension", "content"),
    [
        ("jpg", images.encode(images.draw_gradient(), "JPEG")),
        ("png", images.encode(images.draw_gradient(), "PNG")),
        ("gif", images.encode(images.draw_gradient(), "GIF")),
    ],
)
def test_image_is_served_under_the_hash_of_its_content(
    api: Api, client: httpx.Client, extension: str, content: bytes
) -> None:
    body = upload(client, content).json()
    assert body == {"imageUrl": body["imageUrl"], "updatedAt": INSTANT}
    user = client.get("/api/profile").json()["user"]
    assert (user["imageUrl"], user["updatedAt"]) == (body["imageUrl"], body["updatedAt"])
    with httpx.Client() as anonymous:
        served = anonymous.get(body["imageUrl"])
        name = hashlib.sha256(served.content).hexdigest() + f".{extension}"
        assert body["imageUrl"] == f"http://127.0.0.1:{api.port}/images/{name}"
        assert served.headers["content-type"] == CONTENT_TYPES[extension]
        assert served.headers["content-length"] == str(len(served.content))
        assert served.headers["x-content-type-options"] == "nosniff"
        assert served.headers["cache-control"] == "public, max-age=31536000, immutable"
        assert "x-ratelimit-limit" not in served.headers
        head_only = anonymous.head(body["imageUrl"])
        assert (head_only.content, head_only.headers["content-length"]) == (b"", str(len(served.content)))
        same = anonymous.get(body["imageUrl"], headers={"If-None-Match": served.headers["etag"]})
        assert (same.status_code, same.content) == (304, b"")
        assert anonymous.get(body["imageUrl"], headers={"If-None-Match": "*"}).status_code == 304
        assert anonymous.get(body["imageUrl"], headers={"If-None-Match": '"x"'}).status_code == 200
    assert images.measure_difference(images.decode(served.content), images.decode(content)) < 2


@pytest.mark.parametrize(
    "name",
    ["", "x.png", "..%2Fsecret.png", "%2e%2e/secret.png", "A" * 64 + ".png", "a" * 64 + ".png", "a" * 64 + ".svg",
     "a" * 64, "a" * 64 + ".png%00", "a" * 64 + ".png%0A", "a" * 64 + ".png/", "%FF.png", "a" * 64 + ".png#1"],
)  # fmt: skip
def test_invalid_image_name_is_not_found(client: httpx.Client, name: str) -> None:
    expect_error(client.get(f"/images/{name}"), 404)
