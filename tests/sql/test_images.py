"""Which image in storage is whose, and when it goes."""

import hashlib
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from api.dev.postgres import Postgres
from tests.database import Connection, call, expect_error
from tests.tokens import new_user
from tests.waiting import next_millisecond, wait_until


def url_of(content: str, base: str = "https://chat.example") -> str:
    """A URL of an image in storage."""
    return f"{base}/images/{name_of(content)}"


def name_of(content: str) -> str:
    """The name of an image in storage."""
    return hashlib.sha256(content.encode()).hexdigest() + ".png"


def taken(connection: Connection) -> str | None:
    """The name that is to be removed now, if there is one."""
    row = connection.execute("select api.claim_unused_image()").fetchone()
    assert row
    name: str | None = row[0]
    return name


def unused(connection: Connection) -> list[str]:
    """All names that are to be removed now; and they are."""
    names = []
    while name := taken(connection):
        connection.execute("select api.confirm_image_removal(%s)", [name])
        names.append(name)
    return names


def make_due(connection: Connection) -> None:
    """As if ten minutes had passed."""
    connection.execute("update parley.image_cleanup set due = due - interval '10 minutes'")


@pytest.fixture(autouse=True)
def empty_list(dba: Connection) -> None:
    """Nothing is listed but what a test lists."""
    dba.execute("delete from parley.image_cleanup")


def test_an_image_is_the_users_from_then_on(dba: Connection) -> None:
    user = new_user()
    answer = call(dba, user, "set_image", url_of("a"))
    assert answer == {"imageUrl": url_of("a"), "updatedAt": call(dba, user, "get_profile")["user"]["updatedAt"]}
    assert call(dba, user, "get_profile")["user"]["imageUrl"] == url_of("a")
    next_millisecond()
    assert call(dba, user, "set_image", url_of("a")) == answer
    assert call(dba, user, "set_image", url_of("b"))["updatedAt"] > answer["updatedAt"]


def test_an_image_that_comes_to_nothing_goes_in_ten_minutes(dba: Connection) -> None:
    call(dba, new_user(), "register_image_upload", url_of("a"))
    assert unused(dba) == []
    make_due(dba)
    assert unused(dba) == [name_of("a")]
    assert unused(dba) == []


def test_an_image_that_is_used_stays(dba: Connection) -> None:
    user = new_user()
    call(dba, user, "register_image_upload", url_of("a"))
    call(dba, user, "set_image", url_of("a"))
    make_due(dba)
    assert unused(dba) == []
    assert dba.execute("select count(*) from parley.image_cleanup").fetchone() == (0,)


def test_an_image_goes_with_the_last_who_uses_it(dba: Connection) -> None:
    one, other = new_user(), new_user()
    for user, base in ((one, "https://chat.example"), (other, "http://127.0.0.1:8000/under/a/path")):
        call(dba, user, "set_image", url_of("a", base))
    call(dba, one, "set_image", url_of("b"))
    assert unused(dba) == []
    dba.execute("delete from next_auth.users where id = %s", [other])
    assert unused(dba) == [name_of("a")]
    dba.execute("update next_auth.users set image = 'https://x.org/mine.png' where id = %s", [one])
    assert unused(dba) == [name_of("b")]


def test_only_images_in_storage_are_looked_after(dba: Connection) -> None:
    user = new_user()
    for image in ("https://x.org/a.png", url_of("a") + "?x", url_of("a").upper(), f"{url_of('a')}/", "x" * 100_000):
        dba.execute("select session.authenticate(%s)", [json.dumps({"sub": user})])
        dba.execute("update next_auth.users set image = %s where id = %s", [image, user])
    dba.execute("update next_auth.users set image = null where id = %s", [user])
    assert dba.execute("select count(*) from parley.image_cleanup").fetchone() == (0,)


@pytest.mark.parametrize(
    "url",
    ["https://x.org/a.png", "https://x.org/images/1.png", "javascript:1//images/" + name_of("a"), "",
     url_of("a") + "\n", "https://x y/images/" + name_of("a"),
     "https://x.org/images/" + name_of("a").replace(".png", ".svg"),
     "https://x.org/" + "x" * 2000 + "/images/" + name_of("a")],
)  # fmt: skip
def test_a_user_has_no_image_from_elsewhere(app: Connection, url: str) -> None:
    user = new_user()
    call(app, user, "set_image", url_of("a"))
    for function in ("register_image_upload", "set_image"):
        with expect_error(400):
            call(app, user, function, url)
    assert call(app, user, "get_profile")["user"]["imageUrl"] == url_of("a")


def test_nobody_stores_an_image(app: Connection) -> None:
    for function in ("register_image_upload", "set_image"):
        call(app, new_user(), function, url_of("a"))
        app.execute("select set_config('parley.user_id', '', true)")
        with expect_error(401), app.transaction():
            app.execute(f"select api.{function}(%s)", [url_of("a")])


def is_waiting(connection: Connection, event: str) -> bool:
    """Whether anybody waits for the lock of an image, or for its removal."""
    waiting = "select from pg_stat_activity where wait_event = %s and datname = current_database()"
    return connection.execute(waiting, [event]).rowcount > 0


def test_nobody_stores_an_image_while_it_is_removed(postgres: Postgres, new_database: Callable[[str], str]) -> None:
    database = new_database("parley_images")
    with (
        psycopg.connect(postgres.url(database, "app", "app"), autocommit=True) as remover,
        psycopg.connect(postgres.url(database, "app", "app"), autocommit=True) as user,
        psycopg.connect(postgres.url(database), autocommit=True) as dba,
        ThreadPoolExecutor() as threads,
    ):
        for content in "ab":
            call(user, "ada", "set_image", url_of(content))
        with user.transaction():
            call(user, "ada", "set_image", url_of("a"))
            name = threads.submit(taken, remover)
            wait_until(lambda: is_waiting(dba, "advisory"))
        assert name.result() == name_of("b")  # a is in use again, so it is kept

        answer = threads.submit(call, user, "ada", "set_image", url_of("b"))
        wait_until(lambda: is_waiting(dba, "PgSleep"))
        assert not answer.done()
        remover.execute("select api.confirm_image_removal(%s)", [name_of("b")])
        assert answer.result()["imageUrl"] == url_of("b")


def test_who_waits_too_long_for_a_removal_is_asked_to_come_again(dba: Connection) -> None:
    call(dba, new_user(), "register_image_upload", url_of("a"))
    make_due(dba)
    assert taken(dba) == name_of("a")
    with expect_error(503):
        call(dba, new_user(), "set_image", url_of("a"))
    dba.execute("select api.confirm_image_removal(%s)", [name_of("a")])
    assert call(dba, new_user(), "set_image", url_of("a"))["imageUrl"] == url_of("a")


def test_an_image_in_storage_is_not_taken_from_a_token(dba: Connection) -> None:
    for image, known in ((url_of("a"), None), ("https://x.org/a.png", "https://x.org/a.png")):
        identity = json.dumps({"sub": new_user(), "picture": image})
        row = dba.execute("select api.get_profile() from session.authenticate(%s)", [identity]).fetchone()
        assert row
        assert row[0]["user"]["imageUrl"] == known


def test_images_that_are_used_do_not_hide_those_that_are_not(dba: Connection) -> None:
    user = new_user()
    call(dba, user, "set_image", url_of("a"))
    names = [name_of(content) for content in "aabaacaa"]
    dba.execute("insert into parley.image_cleanup (name) select unnest(%s::text[])", [names])
    assert unused(dba) == [name_of("b"), name_of("c")]
    assert dba.execute("select count(*) from parley.image_cleanup").fetchone() == (0,)


def test_what_is_not_removed_after_all_is_tried_again_after_the_others(dba: Connection) -> None:
    for content in "ab":
        call(dba, new_user(), "register_image_upload", url_of(content))
    make_due(dba)
    assert taken(dba) == name_of("a")  # and then something went wrong
    assert unused(dba) == [name_of("b")]
    make_due(dba)
    assert unused(dba) == [name_of("a")]
    assert unused(dba) == []


def test_of_one_image_one_removal_is_under_way(dba: Connection) -> None:
    names = [name_of(content) for content in "aaba"]
    dba.execute("insert into parley.image_cleanup (name) select unnest(%s::text[])", [names])
    assert taken(dba) == name_of("a")
    assert taken(dba) == name_of("b")
    assert taken(dba) is None
    make_due(dba)
    assert set(unused(dba)) == {name_of("a"), name_of("b")}
    assert dba.execute("select count(*) from parley.image_cleanup").fetchone() == (0,)
