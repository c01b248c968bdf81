"""Helpers for the tests of images: forms, uploads, their decoders, and what they leave in storage."""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

import httpx
import psutil

from tests import images
from tests.api.support import expect_error
from tests.api_process import Api
from tests.waiting import wait_until

PATH = "/api/profile/image"
FORM_HEADERS = {"Content-Type": "multipart/form-data; boundary=x"}
IMAGE = images.build_png(9, 9)
IMAGE_PART = ('; name="image"', IMAGE)


def upload(client: httpx.Client, content: bytes, path: str = PATH) -> httpx.Response:
    """Upload an image under a misleading file name and content type; return the response."""
    return client.post(path, files={"image": ("page.html", content, "text/html")})


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


def wait_for_decoder(server: psutil.Process) -> psutil.Process:
    """Return the process that decodes an upload, once it has limited itself."""
    wait_until(lambda: any(decoder.nice() == 19 for decoder in server.children()))
    [decoder] = server.children()
    return decoder


@contextmanager
def suspended_decoder(
    api: Api, client: httpx.Client, path: str = PATH
) -> Iterator[tuple[psutil.Process, Future[httpx.Response]]]:
    """Start an upload and suspend its decoder; yield the process and the pending response."""
    assert api.child
    server = psutil.Process(api.child.pid)
    with ThreadPoolExecutor() as threads:
        pending = threads.submit(upload, client, images.build_costly_apng(2), path)
        decoder = wait_for_decoder(server)
        decoder.suspend()
        try:
            yield decoder, pending
        finally:
            if decoder.is_running():
                decoder.resume()
