"""Storage and database stay consistent through replacement, failures, crashes and concurrent changes."""

import os
from concurrent.futures import ThreadPoolExecutor

import httpx
import psycopg

from api.dev.postgres import Postgres
from tests import images
from tests.api.images.support import IMAGE, list_stored_names, upload
from tests.api.support import expect_error, unlimited_client
from tests.api_process import Api
from tests.tokens import new_user, token
from tests.waiting import wait_until


def test_unused_image_is_removed(api: Api, client: httpx.Client) -> None:
    with unlimited_client(api) as other:
        first, second = (images.encode(images.draw_noise(9, 9, seed), "PNG") for seed in (100, 200))
        url = upload(client, first).json()["imageUrl"]
        assert upload(other, first).json()["imageUrl"] == url
        replaced = upload(client, second).json()["imageUrl"]
        upload(client, first)
        wait_until(lambda: client.get(replaced).status_code == 404)
        upload(client, second)
        upload(other, second)
        wait_until(lambda: client.get(url).status_code == 404)
        assert client.get(replaced).status_code == 200


def test_uploading_the_same_image_again_changes_nothing(client: httpx.Client) -> None:
    assert upload(client, IMAGE).json() == upload(client, IMAGE).json()


def test_members_see_images_of_other_members(api: Api) -> None:
    owner, member = new_user(), new_user()
    with unlimited_client(api, owner) as one, unlimited_client(api, member) as other:
        url = upload(other, IMAGE).json()["imageUrl"]
        chat = one.post("/api/chats", json={"title": "x"}).json()["id"]
        assert one.post(f"/api/chats/{chat}/members", json={"userId": member}).json()["image"] == url


def test_image_that_the_database_rejects_is_not_stored(postgres: Postgres, isolated_api: tuple[Api, str]) -> None:
    api, database = isolated_api
    invalid_user = {"Authorization": f"Bearer {token('x' * 300)}"}
    with unlimited_client(api, **invalid_user) as rejected:
        expect_error(upload(rejected, IMAGE), 401)
    assert list_stored_names(api) == set()
    with unlimited_client(api) as client, psycopg.connect(postgres.url(database), autocommit=True) as dba:
        url = upload(client, images.build_png(8, 8)).json()["imageUrl"]
        for function in ("register_image_upload", "set_image"):
            dba.execute(f"alter function api.{function} rename to away")
            expect_error(upload(client, IMAGE), 500)
            dba.execute(f"alter function api.away rename to {function}")
            assert list_stored_names(api) == {url.rpartition("/")[2]}
        dba.execute(
            "create function fail() returns trigger language plpgsql as"
            " $$ begin raise 'at the commit' using errcode = '57014'; end $$"
        )
        dba.execute(
            "create constraint trigger fail after update on next_auth.users deferrable initially deferred"
            " for each row execute function fail()"
        )
        expect_error(upload(client, IMAGE), 503)
        dba.execute("drop trigger fail on next_auth.users")
        assert client.get("/api/profile").json()["user"]["imageUrl"] == url
        # The image of the failed commit is listed for cleanup, and is removed when it is due.
        assert len(list_stored_names(api)) == 2
        dba.execute("update parley.image_cleanup set due = now()")
        upload(client, images.build_png(8, 8))
        wait_until(lambda: list_stored_names(api) == {url.rpartition("/")[2]})


def test_user_keeps_the_previous_image_when_storage_fails(isolated_api: tuple[Api, str]) -> None:
    api, _ = isolated_api
    with unlimited_client(api) as client:
        url = upload(client, IMAGE).json()["imageUrl"]
        api.images.rename(api.images.with_suffix(".away"))
        api.images.touch()
        expect_error(upload(client, images.build_png(8, 8)), 503)
        api.images.unlink()
        api.images.with_suffix(".away").rename(api.images)
        assert client.get("/api/profile").json()["user"]["imageUrl"] == url
        assert client.get(url).status_code == 200


def test_files_left_by_a_crash_are_removed(postgres: Postgres, isolated_api: tuple[Api, str]) -> None:
    api, database = isolated_api
    with unlimited_client(api) as client:
        used = upload(client, IMAGE).json()["imageUrl"].rpartition("/")[2]
    api.kill()
    orphan, partial = "0" * 64 + ".png", "0" * 64 + ".png#1"
    for name in (orphan, partial):
        (api.images / name).write_bytes(IMAGE)
    os.utime(api.images / partial, (0, 0))
    with psycopg.connect(postgres.url(database), autocommit=True) as dba:
        dba.execute("insert into parley.image_cleanup (name) values (%s), (%s)", [orphan, "1" * 64 + ".png"])
    api.start()
    wait_until(lambda: list_stored_names(api) == {used})


def test_image_that_cannot_be_removed_does_not_block_others(postgres: Postgres, isolated_api: tuple[Api, str]) -> None:
    api, database = isolated_api
    stuck, orphan = "0" * 64 + ".png", "1" * 64 + ".png"
    (api.images / stuck / "below").mkdir(parents=True)
    (api.images / orphan).touch()
    with psycopg.connect(postgres.url(database), autocommit=True) as dba:
        dba.execute("insert into parley.image_cleanup (name) values (%s), (%s)", [stuck, orphan])
        with unlimited_client(api) as client:
            upload(client, IMAGE)
        wait_until(lambda: orphan not in list_stored_names(api))
        waiting = "select name, is_being_removed from parley.image_cleanup where due < now() + '5 min'"
        wait_until(lambda: dba.execute(waiting).fetchall() == [(stuck, True)])
    assert f"The image {stuck} can't be removed" in api.log.read_text()


def test_cleanup_continues_after_a_database_error(postgres: Postgres, isolated_api: tuple[Api, str]) -> None:
    api, database = isolated_api
    with unlimited_client(api) as client, psycopg.connect(postgres.url(database), autocommit=True) as dba:
        for function in ("claim_unused_image", "confirm_image_removal"):
            dba.execute(f"alter function api.{function} rename to away")
            for size in (8, 9):
                upload(client, images.build_png(size, size))
            wait_until(lambda function=function: f"function api.{function}" in api.log.read_text())  # type: ignore[misc]
            dba.execute(f"alter function api.away rename to {function}")
        dba.execute("update parley.image_cleanup set due = now()")
        used = upload(client, images.build_png(7, 7)).json()["imageUrl"].rpartition("/")[2]
        wait_until(lambda: list_stored_names(api) == {used})


def test_concurrent_changes_between_two_images_leave_only_used_ones(isolated_api: tuple[Api, str]) -> None:
    api, _ = isolated_api
    pictures = [images.build_png(8, 8), images.build_png(9, 9)]
    users = [unlimited_client(api) for _ in range(4)]

    def change(user: httpx.Client) -> None:
        for turn in range(10):
            response = upload(user, pictures[turn % 2])
            assert response.status_code == 200
            assert user.get(response.json()["imageUrl"]).status_code == 200

    with ThreadPoolExecutor() as threads:
        list(threads.map(change, users))
    used = {user.get("/api/profile").json()["user"]["imageUrl"].rpartition("/")[2] for user in users}
    wait_until(lambda: list_stored_names(api) == used)
    for user in users:
        user.close()
