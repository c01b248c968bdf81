"""Images in messages: uploads to a chat, their failures, and the removal of their files."""

import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any
from uuid import uuid4

import httpx
import psycopg
import pytest
from PIL import Image

from api.dev.postgres import Postgres
from api.images.upload_slots import MAX_UPLOADS_PER_USER
from tests import images
from tests.api.images.support import (
    FORM_HEADERS,
    IMAGE,
    IMAGE_PART,
    encode_form,
    list_stored_names,
    suspended_decoder,
    upload,
)
from tests.api.support import expect_error, new_address, patch_api, request_head, send_raw, unlimited_client
from tests.api_process import Api, running
from tests.database import NO_SUCH_ID
from tests.tokens import new_user
from tests.waiting import wait_until

DIE_BEFORE_THE_COMMIT = """
put = storage.Storage.put
async def put_and_die(*arguments):
    await put(*arguments)
    import os, signal
    os.kill(os.getpid(), signal.SIGKILL)
storage.Storage.put = put_and_die
"""


@dataclass
class Chat:
    """A chat of two members in an API with its own database and storage."""

    api: Api
    dba: psycopg.Connection[Any]
    owner: httpx.Client
    member: httpx.Client
    member_id: str
    path: str

    @property
    def images_path(self) -> str:
        return f"{self.path}/images"

    def upload(self, content: bytes = IMAGE) -> str:
        """Upload an image as the owner; return its URL."""
        response = upload(self.owner, content, self.images_path)
        assert response.status_code == 201, response.text
        return str(response.json()["imageUrl"])

    def send(self, url: str) -> str:
        """Send a message with an image as the owner; return the path of the message."""
        response = self.owner.post(f"{self.path}/messages", json={"content": url, "type": "image"})
        assert response.status_code == 201
        return f"{self.path}/messages/{response.json()['id']}"

    def wait_until_stored(self, *urls: str) -> None:
        """Wait until exactly these images are in storage."""
        names = {PurePath(url).name for url in urls}
        wait_until(lambda: list_stored_names(self.api) == names)

    def make_due(self) -> None:
        """Make the cleanup of uploads due, as if a day had passed."""
        self.dba.execute("update parley.image_cleanup set due = due - interval '24 hours'")


@pytest.fixture(scope="module")
def module_api(new_api: Callable[..., Api], new_database: Callable[[str], str]) -> Iterator[tuple[Api, str]]:
    """An API with its own database and storage, and the database's name."""
    database = new_database("parley_chat_images")
    with running(new_api(database)) as api:
        yield api, database


@pytest.fixture
def chat(postgres: Postgres, module_api: tuple[Api, str]) -> Iterator[Chat]:
    """A new chat without images, in empty storage."""
    api, database = module_api
    member_id = new_user()
    with (
        psycopg.connect(postgres.url(database), autocommit=True) as dba,
        unlimited_client(api) as owner,
        unlimited_client(api, member_id) as member,
    ):
        dba.execute("delete from parley.chats")
        dba.execute("insert into parley.image_cleanup (name) select name from parley.chat_images")
        wait_until(lambda: list_stored_names(api) == set())
        member.get("/api/chats")
        path = f"/api/chats/{owner.post('/api/chats', json={'title': 'Pictures'}).json()['id']}"
        assert owner.post(f"{path}/members", json={"userId": member_id}).status_code == 201
        yield Chat(api, dba, owner, member, member_id, path)


def test_image_is_scaled_down_stored_and_sent(chat: Chat) -> None:
    photo = images.encode(images.draw_gradient(4000, 3000), "JPEG")
    response = upload(chat.member, photo, chat.images_path)
    assert response.status_code == 201
    url = response.json()["imageUrl"]
    assert response.json() == {"imageUrl": url, "width": 2048, "height": 1536}
    assert chat.send(url)
    message = chat.member.get(f"{chat.path}/messages").json()["messages"][0]
    assert (message["content"], message["type"]) == (url, "image")
    served = chat.owner.get(url, headers={"Authorization": ""})
    assert (served.status_code, served.headers["content-type"]) == (200, "image/jpeg")
    assert images.measure_difference(images.decode(served.content), images.draw_gradient(2048, 1536)) < 3


def test_size_of_a_turned_image_is_the_size_as_shown(chat: Chat) -> None:
    response = upload(chat.owner, images.encode_photo(orientation=6), chat.images_path)
    assert (response.json()["width"], response.json()["height"]) == (48, 64)


def test_equal_images_have_different_urls(chat: Chat) -> None:
    profile_image = upload(chat.owner, IMAGE).json()["imageUrl"]
    urls = {chat.upload(), chat.upload(), profile_image}
    assert len(urls) == 3
    chat.wait_until_stored(*urls)
    assert upload(chat.owner, images.build_png(8, 8)).status_code == 200
    assert chat.dba.execute("update next_auth.users set image = null").rowcount


@pytest.mark.parametrize(
    ("build", "error"),
    [
        (lambda: images.SVG, "must be a complete JPEG, PNG or GIF image"),
        (lambda: b"GIF89a" + images.SCRIPT, "must be a complete JPEG, PNG or GIF image"),
        (lambda: images.encode(images.draw_gradient(), "WEBP"), "must be a complete JPEG, PNG or GIF image"),
        (lambda: images.encode(Image.new("L", (4000, 3000)), "PNG")[:-60], "must be a complete JPEG, PNG or GIF image"),
        (lambda: images.build_png(30_000, 30_000), "must have at most 33554432 pixels, and has 900000000"),
        (lambda: images.build_png(1, 70_000), "must be at most 65535 by 65535 pixels, and has 1 by 70000"),
        (
            lambda: images.encode_animation([Image.new("L", (2049, 9), level) for level in (0, 9)], "PNG"),
            "must be at most 2048 by 2048 pixels if it is animated, and has 2049 by 9",
        ),
    ],
    ids=["SVG", "HTML", "WebP", "truncated", "bomb", "too high", "animated"],
)
def test_invalid_image_is_rejected(chat: Chat, build: Callable[[], bytes], error: str) -> None:
    details = expect_error(upload(chat.owner, build(), chat.images_path), 400)["details"]
    assert details == {"fields": {"image": error}}
    assert list_stored_names(chat.api) == set()


def test_image_over_five_mebibytes_is_rejected(chat: Chat) -> None:
    chat.upload(images.pad(IMAGE, images.MAX_BYTES))
    expect_error(upload(chat.owner, images.pad(IMAGE, images.MAX_BYTES + 1), chat.images_path), 413)
    expect_error(chat.owner.post(chat.images_path, json={}), 415)
    expect_error(chat.owner.post(chat.images_path, files={"picture": IMAGE}), 400)


def test_profile_image_is_still_rejected_if_it_is_too_large(chat: Chat) -> None:
    error = expect_error(upload(chat.owner, images.build_png(2049, 1)), 400)
    assert error["details"]["fields"] == {"image": "must be at most 2048 by 2048 pixels, and has 2049 by 1"}


@pytest.mark.parametrize("other", ["chat of others", "unknown chat", "no ID"])
def test_only_members_upload_and_others_get_404_before_the_body_is_read(chat: Chat, other: str) -> None:
    path = {"unknown chat": f"/api/chats/{NO_SUCH_ID}/images", "no ID": "/api/chats/x/images"}.get(
        other, chat.images_path
    )
    headers = chat.api.headers() | FORM_HEADERS | {"Content-Length": "5000000"}
    expect_error(send_raw(chat.api, request_head(f"POST {path} HTTP/1.1", headers)), 404)
    headers |= chat.api.headers("")
    headers.pop("Authorization")
    expect_error(send_raw(chat.api, request_head(f"POST {path} HTTP/1.1", headers)), 401)
    assert list_stored_names(chat.api) == set()


@pytest.mark.parametrize("change", ["remove member", "delete chat"])
def test_upload_fails_if_the_user_loses_the_chat_while_it_is_decoded(chat: Chat, change: str) -> None:
    with suspended_decoder(chat.api, chat.member, chat.images_path) as (decoder, pending):
        path = f"{chat.path}/members/{chat.member_id}" if change == "remove member" else chat.path
        assert chat.owner.delete(path).status_code == 204
        decoder.resume()
        expect_error(pending.result(), 404)
    assert list_stored_names(chat.api) == set()
    assert chat.dba.execute("select from parley.chat_images").rowcount == 0


def test_interrupted_uploads_store_nothing_and_free_their_slots(chat: Chat) -> None:
    body = encode_form(IMAGE_PART, ("; name=filler", bytes(100_000)))
    headers = dict(chat.owner.headers) | FORM_HEADERS
    headers |= {"Content-Length": str(len(body)), "Expect": "100-continue"}
    with ExitStack() as connections:
        for _ in range(MAX_UPLOADS_PER_USER):
            head = request_head(f"POST {chat.images_path} HTTP/1.1", headers | {"x-forwarded-for": new_address()})
            connection = connections.enter_context(socket.create_connection(("127.0.0.1", chat.api.port), timeout=10))
            connection.sendall(head)
            assert connection.recv(100).startswith(b"HTTP/1.1 100")
            connection.sendall(body[:50_000])
        expect_error(upload(chat.owner, IMAGE, chat.images_path), 503)
    wait_until(lambda: upload(chat.owner, b"", chat.images_path).status_code == 400)
    assert list_stored_names(chat.api) == set()
    chat.wait_until_stored(chat.upload())


def test_concurrent_uploads_of_two_members_are_all_stored(chat: Chat) -> None:
    with ThreadPoolExecutor() as threads:
        clients = [chat.owner, chat.member] * 4
        responses = list(threads.map(lambda client: upload(client, IMAGE, chat.images_path), clients))
    assert [response.status_code for response in responses] == [201] * 8
    chat.wait_until_stored(*(response.json()["imageUrl"] for response in responses))


def test_repeated_upload_with_an_idempotency_key_is_stored_once(chat: Chat) -> None:
    chat.owner.headers["Idempotency-Key"] = str(uuid4())
    first, repeated = (upload(chat.owner, IMAGE, chat.images_path) for _ in range(2))
    assert (first.status_code, repeated.status_code) == (201, 201)
    assert first.content == repeated.content
    assert repeated.headers["Idempotency-Replayed"] == "true"
    expect_error(upload(chat.owner, images.build_png(8, 8), chat.images_path), 422)
    chat.wait_until_stored(first.json()["imageUrl"])


def test_upload_fails_without_effect_while_the_storage_is_unavailable(chat: Chat) -> None:
    directory = chat.api.images
    directory.rename(directory.with_suffix(".away"))
    directory.touch()
    expect_error(upload(chat.owner, IMAGE, chat.images_path), 503)
    directory.unlink()
    directory.with_suffix(".away").rename(directory)
    assert chat.dba.execute("select from parley.chat_images").rowcount == 0
    chat.wait_until_stored(chat.upload())


def test_unused_image_is_removed_when_its_day_is_over(chat: Chat) -> None:
    unused, used = chat.upload(), chat.upload()
    chat.send(used)
    chat.wait_until_stored(unused, used)
    chat.make_due()
    chat.wait_until_stored(used)
    assert chat.owner.get(unused).status_code == 404


def test_image_is_removed_with_its_message_and_with_an_edit(chat: Chat) -> None:
    deleted, edited, kept = chat.upload(), chat.upload(), chat.upload()
    messages = [chat.send(url) for url in (deleted, edited, kept)]
    assert chat.owner.delete(messages[0]).status_code == 204
    assert chat.owner.put(messages[1], json={"content": kept}).status_code == 200
    chat.wait_until_stored(kept)


def test_image_is_removed_with_its_chat(chat: Chat) -> None:
    chat.send(chat.upload())
    assert len(list_stored_names(chat.api)) == 1
    assert chat.owner.delete(chat.path).status_code == 204
    chat.dba.execute("select listener.purge_deleted_chats(1000)")
    chat.wait_until_stored()


def test_message_of_another_chat_does_not_keep_the_image(chat: Chat) -> None:
    url = chat.upload()
    message = chat.send(url)
    other = chat.member.post("/api/chats", json={"title": "Mine"}).json()["id"]
    sent = chat.member.post(f"/api/chats/{other}/messages", json={"content": url, "type": "image"})
    assert sent.status_code == 201
    chat.wait_until_stored(url)
    assert chat.owner.delete(message).status_code == 204
    chat.wait_until_stored()


def test_file_of_an_api_that_is_killed_before_the_commit_is_removed(
    postgres: Postgres, new_api: Callable[..., Api], new_database: Callable[[str], str]
) -> None:
    database = new_database("parley_killed_upload")
    api = new_api(database)
    command = api.command
    with (
        running(patch_api(api, DIE_BEFORE_THE_COMMIT)),
        psycopg.connect(postgres.url(database), autocommit=True) as dba,
        unlimited_client(api) as client,
    ):
        chat = client.post("/api/chats", json={"title": "Pictures"}).json()["id"]
        with pytest.raises(httpx.TransportError):
            upload(client, IMAGE, f"/api/chats/{chat}/images")
        assert len(list_stored_names(api)) == 1
        sessions = "select from pg_stat_activity where usename = 'app' and datname = current_database()"
        wait_until(lambda: dba.execute(sessions).rowcount == 0)
        assert dba.execute("select from parley.chat_images").rowcount == 0
        api.stop()
        api.command = command
        api.start()
        assert len(list_stored_names(api)) == 1
        dba.execute("update parley.image_cleanup set due = now()")
        wait_until(lambda: list_stored_names(api) == set())
