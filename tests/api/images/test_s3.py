"""Profile images in an S3 bucket of a moto server."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from xml.etree import ElementTree

import httpx
import pytest

from api.dev.process import ChildProcess, Server
from tests import images
from tests.api.support import expect_error, unlimited_client
from tests.api_process import Api, running
from tests.waiting import wait_until

PATH = "/api/profile/image"
NAMESPACE = "{http://s3.amazonaws.com/doc/2006-03-01/}"


class Moto(Server):
    """A server that keeps buckets in memory; it starts with one bucket."""

    name = "moto"

    def _spawn(self) -> ChildProcess:
        command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self.port)]
        return ChildProcess(self.name, command, log=self.log)

    def _is_ready(self) -> bool:
        try:
            return httpx.put(f"{self.url}/pictures", timeout=5).is_success
        except httpx.TransportError:
            return False

    @property
    def url(self) -> str:
        """The server's base URL."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def keys(self) -> set[str | None]:
        """The keys of all objects in the bucket."""
        listing = ElementTree.fromstring(httpx.get(f"{self.url}/pictures").content)  # noqa: S314 (the response of a local server)
        return {key.text for key in listing.iter(f"{NAMESPACE}Key")}


@pytest.fixture(scope="module")
def moto(directory: Path) -> Iterator[Moto]:
    with Moto(directory / "moto") as server:
        yield server


@pytest.fixture
def s3_api(moto: Moto, new_api: Callable[..., Api], shared_database: str) -> Iterator[Api]:
    options = {
        "STORAGE_URL": "s3://pictures/of/people",
        "PUBLIC_URL": "https://chat.example/base/",
        "AWS_ENDPOINT_URL": moto.url,
        "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "a secret key",
    }
    with running(new_api(shared_database, **options)) as api:
        yield api


def test_images_are_stored_in_the_bucket(moto: Moto, s3_api: Api) -> None:
    with unlimited_client(s3_api) as client:
        urls = []
        for size in (8, 9):
            urls.append(client.post(PATH, files={"image": images.build_png(size, size)}).json()["imageUrl"])
            base, slash, name = urls[-1].rpartition("/")
            assert base + slash == "https://chat.example/base/images/"
            wait_until(lambda name=name: moto.keys == {f"of/people/{name}"})  # type: ignore[misc]
            served = client.get(f"/images/{name}")
            assert (served.status_code, served.headers["content-type"]) == (200, "image/png")
            assert images.decode(served.content).size == (size, size)
        expect_error(client.get(f"/images/{urls[0].rpartition('/')[2]}"), 404)


def test_head_and_304_do_not_fetch_content_from_the_bucket(moto: Moto, s3_api: Api) -> None:
    with unlimited_client(s3_api) as client:
        url = client.post(PATH, files={"image": images.build_png(7, 7)}).json()["imageUrl"]
        path = f"/images/{url.rpartition('/')[2]}"
        full = client.get(path)
        if_none_match = {"If-None-Match": full.headers["etag"]}
        wait_until(lambda: count_fetches(moto, path) == 1)
        assert client.head(path).headers["content-length"] == str(len(full.content))
        assert client.get(path, headers=if_none_match).status_code == 304
        assert client.head("/images/" + "0" * 64 + ".png").status_code == 404
        assert client.get("/images/" + "0" * 64 + ".png", headers={"If-None-Match": "*"}).status_code == 404
        assert client.get(path).content == full.content
        wait_until(lambda: count_fetches(moto, path) == 2)


def count_fetches(moto: Moto, path: str) -> int:
    """Return how many times the content of an image was fetched from the bucket."""
    return moto.log.read_text().count(f'"GET {path.replace("/images", "/pictures/of/people")} ')


def test_unavailable_bucket_affects_only_images(moto: Moto, s3_api: Api) -> None:
    with unlimited_client(s3_api) as client:
        name = client.post(PATH, files={"image": images.build_png(8, 8)}).json()["imageUrl"].rpartition("/")[2]
        moto.kill()
        expect_error(client.post(PATH, files={"image": images.build_png(9, 9)}), 503)
        expect_error(client.get(f"/images/{name}"), 503)
        assert client.get("/api/profile").json()["user"]["imageUrl"].endswith(name)
        moto.start()
        body = client.post(PATH, files={"image": images.build_png(9, 9)}).json()
        assert client.get(f"/images/{body['imageUrl'].rpartition('/')[2]}").status_code == 200
    assert "a secret key" not in s3_api.log.read_text()
