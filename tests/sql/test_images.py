"""Profile images: registration of uploads, use by users, and removal of unused images from storage."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from api.dev.postgres import Postgres
from tests.database import Connection, call, expect_error
from tests.sql.stored_images import claim, has_waiter, image_name, image_url, make_due, remove_unused_images
from tests.tokens import new_user
from tests.waiting import next_millisecond, wait_until


@pytest.fixture(autouse=True)
def empty_cleanup(dba: Connection) -> None:
    """Empty parley.image_cleanup, which other tests have filled."""
    dba.execute("delete from parley.image_cleanup")


def test_set_image_changes_the_profile(dba: Connection) -> None:
    user = new_user()
    response = call(dba, user, "set_image", image_url("a"))
    assert response == {"imageUrl": image_url("a"), "updatedAt": call(dba, user, "get_profile")["user"]["updatedAt"]}
    assert call(dba, user, "get_profile")["user"]["imageUrl"] == image_url("a")
    next_millisecond()
    assert call(dba, user, "set_image", image_url("a")) == response
    assert call(dba, user, "set_image", image_url("b"))["updatedAt"] > response["updatedAt"]


def test_upload_that_no_user_has_is_removed_after_24_hours(dba: Connection) -> None:
    call(dba, new_user(), "register_image_upload", image_url("a"))
    assert remove_unused_images(dba) == []
    make_due(dba)
    assert remove_unused_images(dba) == [image_name("a")]
    assert remove_unused_images(dba) == []


def test_image_of_a_user_is_not_removed(dba: Connection) -> None:
    user = new_user()
    call(dba, user, "register_image_upload", image_url("a"))
    call(dba, user, "set_image", image_url("a"))
    make_due(dba)
    assert remove_unused_images(dba) == []
    assert dba.execute("select count(*) from parley.image_cleanup").fetchone() == (0,)


def test_image_is_removed_when_the_last_user_has_another(dba: Connection) -> None:
    one, other = new_user(), new_user()
    for user, base in ((one, "https://chat.example"), (other, "http://127.0.0.1:8000/under/a/path")):
        call(dba, user, "set_image", image_url("a", base))
    call(dba, one, "set_image", image_url("b"))
    assert remove_unused_images(dba) == []
    dba.execute("delete from next_auth.users where id = %s", [other])
    assert remove_unused_images(dba) == [image_name("a")]
    dba.execute("update next_auth.users set image = 'https://x.org/mine.png' where id = %s", [one])
    assert remove_unused_images(dba) == [image_name("b")]


def test_only_images_in_storage_are_queued_for_cleanup(dba: Connection) -> None:
    user = new_user()
    for image in (
        "https://x.org/a.png",
        image_url("a") + "?x",
        image_url("a").upper(),
        f"{image_url('a')}/",
        "x" * 100_000,
    ):
        dba.execute("select session.authenticate(%s)", [json.dumps({"sub": user})])
        dba.execute("update next_auth.users set image = %s where id = %s", [image, user])
    dba.execute("update next_auth.users set image = null where id = %s", [user])
    assert dba.execute("select count(*) from parley.image_cleanup").fetchone() == (0,)


@pytest.mark.parametrize(
    "url",
    ["https://x.org/a.png", "https://x.org/images/1.png", "javascript:1//images/" + image_name("a"), "",
     image_url("a") + "\n", "https://x y/images/" + image_name("a"),
     "https://x.org/images/" + image_name("a").replace(".png", ".svg"),
     "https://x.org/" + "x" * 2000 + "/images/" + image_name("a")],
)  # fmt: skip
def test_url_of_no_stored_image_is_rejected(app: Connection, url: str) -> None:
    user = new_user()
    call(app, user, "set_image", image_url("a"))
    for function in ("register_image_upload", "set_image"):
        with expect_error(400):
            call(app, user, function, url)
    assert call(app, user, "get_profile")["user"]["imageUrl"] == image_url("a")


def test_storing_an_image_requires_a_user(app: Connection) -> None:
    for function in ("register_image_upload", "set_image"):
        call(app, new_user(), function, image_url("a"))
        app.execute("select set_config('parley.user_id', '', true)")
        with expect_error(401), app.transaction():
            app.execute(f"select api.{function}(%s)", [image_url("a")])


def test_image_cannot_be_stored_while_it_is_removed(postgres: Postgres, new_database: Callable[[str], str]) -> None:
    database = new_database("parley_images")
    with (
        psycopg.connect(postgres.url(database, "app", "app"), autocommit=True) as remover,
        psycopg.connect(postgres.url(database, "app", "app"), autocommit=True) as user,
        psycopg.connect(postgres.url(database), autocommit=True) as dba,
        ThreadPoolExecutor() as threads,
    ):
        for content in "ab":
            call(user, "ada", "set_image", image_url(content))
        with user.transaction():
            call(user, "ada", "set_image", image_url("a"))
            name = threads.submit(claim, remover)
            wait_until(lambda: has_waiter(dba, "advisory"))
        assert name.result() == image_name("b")  # a is used again, so it is not claimed

        storing = threads.submit(call, user, "ada", "set_image", image_url("b"))
        wait_until(lambda: has_waiter(dba, "PgSleep"))
        assert not storing.done()
        remover.execute("select api.confirm_image_removal(%s)", [image_name("b")])
        assert storing.result()["imageUrl"] == image_url("b")


def test_storing_an_image_fails_if_its_removal_takes_too_long(dba: Connection) -> None:
    call(dba, new_user(), "register_image_upload", image_url("a"))
    make_due(dba)
    assert claim(dba) == image_name("a")
    with expect_error(503):
        call(dba, new_user(), "set_image", image_url("a"))
    dba.execute("select api.confirm_image_removal(%s)", [image_name("a")])
    assert call(dba, new_user(), "set_image", image_url("a"))["imageUrl"] == image_url("a")


def test_picture_of_a_token_cannot_be_an_image_in_storage(dba: Connection) -> None:
    for image, stored in ((image_url("a"), None), ("https://x.org/a.png", "https://x.org/a.png")):
        identity = json.dumps({"sub": new_user(), "picture": image})
        row = dba.execute("select api.get_profile() from session.authenticate(%s)", [identity]).fetchone()
        assert row
        assert row[0]["user"]["imageUrl"] == stored


def test_used_images_do_not_prevent_the_removal_of_unused_ones(dba: Connection) -> None:
    user = new_user()
    call(dba, user, "set_image", image_url("a"))
    names = [image_name(content) for content in "aabaacaa"]
    dba.execute("insert into parley.image_cleanup (name) select unnest(%s::text[])", [names])
    assert remove_unused_images(dba) == [image_name("b"), image_name("c")]
    assert dba.execute("select count(*) from parley.image_cleanup").fetchone() == (0,)


def test_unconfirmed_removal_is_retried_after_the_others(dba: Connection) -> None:
    for content in "ab":
        call(dba, new_user(), "register_image_upload", image_url(content))
    make_due(dba)
    assert claim(dba) == image_name("a")  # and the removal fails
    assert remove_unused_images(dba) == [image_name("b")]
    make_due(dba)
    assert remove_unused_images(dba) == [image_name("a")]
    assert remove_unused_images(dba) == []


def test_image_is_claimed_once_at_a_time(dba: Connection) -> None:
    names = [image_name(content) for content in "aaba"]
    dba.execute("insert into parley.image_cleanup (name) select unnest(%s::text[])", [names])
    assert claim(dba) == image_name("a")
    assert claim(dba) == image_name("b")
    assert claim(dba) is None
    make_due(dba)
    assert set(remove_unused_images(dba)) == {image_name("a"), image_name("b")}
    assert dba.execute("select count(*) from parley.image_cleanup").fetchone() == (0,)
