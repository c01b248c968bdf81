"""Helpers for the tests of profile images: forms, uploads, and what they leave in storage."""

import httpx

from tests import images
from tests.api.support import expect_error
from tests.api_process import Api

PATH = "/api/profile/image"
FORM_HEADERS = {"Content-Type": "multipart/form-data; boundary=x"}
IMAGE = images.build_png(9, 9)
IMAGE_PART = ('; name="image"', IMAGE)


def upload(client: httpx.Client, content: bytes) -> httpx.Response:
    """Upload an image under a misleading file name and content type; return the response."""
    return client.post(PATH, files={"image": ("page.html", content, "text/html")})


def upload_and_fetch(client: httpx.Client, content: bytes) -> bytes:
    """Upload an image; return the stored one."""
    response = upload(client, content)
    assert response.status_code == 200, response.text
    served = client.get(response.json()["imageUrl"], headers={"Authorization": ""})
    assert served.status_code == 200
    return served.content


def upload_rejected(client: httpx.Client, content: bytes) -> str:
    """Upload an invalid image; return the validation error."""
    fields = expect_error(upload(client, content), 400)["details"]["fields"]
    assert list(fields) == ["image"]
    return str(fields["image"])


def list_stored_names(api: Api) -> set[str]:
    """Return the names of all files in storage."""
    return {path.name for path in api.images.iterdir()}


def encode_form(*parts: tuple[str, bytes], boundary: str = "x") -> bytes:
    """Encode a form; each part consists of the parameters of its Content-Disposition and its content."""
    lines = [
        f"--{boundary}\r\nContent-Disposition: form-data{parameters}\r\n\r\n".encode() + content + b"\r\n"
        for parameters, content in parts
    ]
    return b"".join(lines) + f"--{boundary}--\r\n".encode()
