"""Images in messages: who may add them, the messages that use them, and their removal from storage."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from tests.database import NO_SUCH_ID, Connection, call, expect_error, new_chat
from tests.sql.removal import purge_batch
from tests.sql.stored_images import claim, has_waiter, image_name, image_url, make_due, remove_unused_images
from tests.tokens import new_user
from tests.waiting import wait_until

URL, NAME = image_url("a"), image_name("a")
OTHER_URL = image_url("b")


@pytest.fixture
def owner() -> str:
    return new_user()


@pytest.fixture
def chat(dba: Connection, owner: str) -> str:
    """A chat with the image at URL, in a database without other images of chats and without images to clean up."""
    for table in ("image_cleanup", "chat_images"):
        dba.execute(f"delete from parley.{table}")
    chat = new_chat(dba, owner)
    assert add_image(dba, owner, chat) == {"imageUrl": URL, "width": 640, "height": 480}
    return chat


def add_image(connection: Connection, user: str, chat: str, url: str = URL) -> object:
    """Add an uploaded image to a chat, as the API does; return the response."""
    call(connection, user, "register_image_upload", url)
    return call(connection, user, "add_chat_image", chat, url, 640, 480)


def send(connection: Connection, user: str, chat: str, content: str = URL, message_type: str = "image") -> str:
    """Send a message, by default with the image; return its id."""
    body = {"content": content, "type": message_type}
    message: str = call(connection, user, "send_message", chat, body)["id"]
    return message


def count(connection: Connection, table: str) -> int:
    return connection.execute(f"select from parley.{table}").rowcount


def test_only_members_add_images(app: Connection) -> None:
    owner, member, stranger = new_user(), new_user(), new_user()
    chat = new_chat(app, owner, member)
    for user, name in ((owner, "a"), (member, "b")):
        assert call(app, user, "authorize_upload", chat) == {"sub": user}
        call(app, user, "add_chat_image", chat, image_url(name), 1, 1)
    for outsider, other_chat in ((stranger, chat), (owner, NO_SUCH_ID), (owner, "no id")):
        with expect_error(404):
            call(app, outsider, "authorize_upload", other_chat)
        with expect_error(404):
            call(app, outsider, "add_chat_image", other_chat, image_url("c"), 1, 1)
    call(app, owner, "remove_member", chat, member)
    with expect_error(404):
        call(app, member, "add_chat_image", chat, image_url("c"), 1, 1)
    call(app, owner, "delete_chat", chat)
    with expect_error(404):
        call(app, owner, "add_chat_image", chat, image_url("c"), 1, 1)


def test_upload_of_a_profile_image_is_authorized_for_every_user(app: Connection, owner: str) -> None:
    assert call(app, owner, "authorize_upload") == {"sub": owner}
    app.execute("select set_config('parley.user_id', '', true)")
    with expect_error(401), app.transaction():
        app.execute("select api.authorize_upload()")


def test_url_of_no_stored_image_is_not_added(app: Connection, owner: str) -> None:
    chat = new_chat(app, owner)
    for url in ("https://x.org/a.png", f"{URL}?x", ""):
        with expect_error(400):
            call(app, owner, "add_chat_image", chat, url, 1, 1)


@pytest.mark.usefixtures("chat")
def test_unused_image_is_removed_after_24_hours(dba: Connection) -> None:
    dba.execute("update parley.image_cleanup set due = due - interval '23:59:59'")
    assert remove_unused_images(dba) == []
    dba.execute("update parley.image_cleanup set due = due - interval '1 second'")
    assert remove_unused_images(dba) == [NAME]
    assert count(dba, "image_cleanup") == count(dba, "chat_images") == 0


@pytest.mark.parametrize(
    "remove",
    [
        lambda dba, user, chat, message: call(dba, user, "delete_message", chat, message),
        lambda dba, user, chat, message: call(dba, user, "update_message", chat, message, {"content": "text"}),
        lambda dba, user, chat, message: call(dba, user, "update_message", chat, message, {"content": OTHER_URL}),
        lambda dba, user, chat, message: call(dba, user, "update_message", chat, message, {"type": "text"}),
        lambda dba, _user, chat, _message: dba.execute("delete from parley.chats where id = %s", [chat]),
    ],
    ids=["delete", "edit content", "other image", "edit type", "delete chat in SQL"],
)
@pytest.mark.parametrize("is_due", [False, True])
def test_image_is_removed_with_its_message(
    dba: Connection, owner: str, chat: str, remove: Callable[..., object], is_due: bool
) -> None:
    message = send(dba, owner, chat)
    if is_due:
        make_due(dba)
    assert remove_unused_images(dba) == []
    remove(dba, owner, chat, message)
    assert remove_unused_images(dba) == [NAME]
    assert count(dba, "chat_images") == 0


@pytest.mark.usefixtures("no_pending_removals")
def test_image_is_removed_with_its_chat(dba: Connection, owner: str, chat: str) -> None:
    add_image(dba, owner, chat, OTHER_URL)
    send(dba, owner, chat)
    call(dba, owner, "delete_chat", chat)
    while purge_batch(dba, "purge_deleted_chats", 1):
        pass
    assert remove_unused_images(dba) == [NAME]
    make_due(dba)
    assert remove_unused_images(dba)[-1] == image_name("b")
    assert count(dba, "chat_images") == 0


def test_image_stays_until_its_last_message_goes(dba: Connection, owner: str, chat: str) -> None:
    messages = [send(dba, owner, chat), send(dba, owner, chat, image_url("a", "http://other.example/under/a/path"))]
    call(dba, owner, "update_message", chat, messages[1], {"content": URL})
    call(dba, owner, "delete_message", chat, messages[0])
    make_due(dba)
    assert remove_unused_images(dba) == []
    call(dba, owner, "delete_message", chat, messages[1])
    assert remove_unused_images(dba) == [NAME]


def test_message_that_keeps_its_image_keeps_it_in_storage(dba: Connection, owner: str, chat: str) -> None:
    message = send(dba, owner, chat)
    call(dba, owner, "update_message", chat, message, {"content": URL, "type": "image"})
    dba.execute("update parley.messages set updated_at = updated_at, type = 'image' where id = %s", [message])
    make_due(dba)
    assert remove_unused_images(dba) == []
    call(dba, owner, "update_message", chat, message, {"type": "code"})
    call(dba, owner, "update_message", chat, message, {"type": "image"})
    assert remove_unused_images(dba) == []


def test_change_of_the_public_url_neither_locks_nor_queues_images(dba: Connection, owner: str, chat: str) -> None:
    message = send(dba, owner, chat)
    locks = "select from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()"
    counts = [dba.execute(locks).rowcount, count(dba, "image_cleanup")]
    dba.execute("update parley.messages set content = replace(content, 'chat.', 'new.') where id = %s", [message])
    assert [dba.execute(locks).rowcount, count(dba, "image_cleanup")] == counts
    assert call(dba, owner, "get_message", chat, message)["content"] == image_url("a", "https://new.example")
    make_due(dba)
    assert remove_unused_images(dba) == []


@pytest.mark.parametrize(
    ("content", "message_type"),
    [(URL, "text"), (URL, "code"), (f"{URL}?", "image"), (NAME, "image"), (OTHER_URL, "image"), (URL.upper(), "image")],
)
def test_other_messages_do_not_use_the_image(
    dba: Connection, owner: str, chat: str, content: str, message_type: str
) -> None:
    message = send(dba, owner, chat, content, message_type)
    waiting = count(dba, "image_cleanup")
    call(dba, owner, "delete_message", chat, message)
    assert count(dba, "image_cleanup") == waiting
    send(dba, owner, chat, content, message_type)
    make_due(dba)
    assert remove_unused_images(dba) == [NAME]


def test_messages_of_another_chat_neither_keep_nor_remove_the_image(dba: Connection, owner: str, chat: str) -> None:
    stranger = new_user()
    other_chat = new_chat(dba, stranger)
    foreign = send(dba, stranger, other_chat)
    make_due(dba)
    own = send(dba, owner, chat)
    call(dba, stranger, "delete_message", other_chat, foreign)
    assert remove_unused_images(dba) == []
    send(dba, stranger, other_chat)
    call(dba, owner, "delete_message", chat, own)
    assert remove_unused_images(dba) == [NAME]


def test_message_with_a_profile_image_leaves_it_to_its_user(dba: Connection, owner: str, chat: str) -> None:
    call(dba, owner, "set_image", OTHER_URL)
    message = send(dba, owner, chat, OTHER_URL)
    call(dba, owner, "delete_message", chat, message)
    assert remove_unused_images(dba) == []
    call(dba, owner, "set_image", image_url("c"))
    assert remove_unused_images(dba) == [image_name("b")]


def test_image_of_a_deleted_user_stays_with_the_message(dba: Connection, owner: str, chat: str) -> None:
    call(dba, new_user(), "get_profile")
    send(dba, owner, chat)
    dba.execute("delete from next_auth.users where id = %s", [owner])
    make_due(dba)
    assert remove_unused_images(dba) == []


def test_message_that_is_sent_after_the_removal_has_only_a_text(dba: Connection, owner: str, chat: str) -> None:
    make_due(dba)
    assert claim(dba) == NAME  # and the removal fails
    message = send(dba, owner, chat)
    assert call(dba, owner, "get_message", chat, message)["content"] == URL
    make_due(dba)
    assert remove_unused_images(dba) == [NAME]
    call(dba, owner, "delete_message", chat, message)
    assert count(dba, "image_cleanup") == 0


def test_deleting_many_messages_removes_all_their_images(dba: Connection, owner: str, chat: str) -> None:
    for content in "bcd":
        add_image(dba, owner, chat, image_url(content))
    for content in "abcd":
        send(dba, owner, chat, image_url(content))
    dba.execute("update parley.image_cleanup set due = due + interval '1 year'")
    dba.execute("delete from parley.messages where chat_id = %s and content <> %s", [chat, URL])
    assert set(remove_unused_images(dba)) == {image_name(content) for content in "bcd"}


@pytest.fixture
def connections(own_url: str) -> Iterator[list[Connection]]:
    """The connections of a user, of a cleanup and of a DBA, in a database of their own."""
    user, cleanup, dba = (psycopg.connect(own_url, autocommit=True) for _ in range(3))
    with user, cleanup, dba:
        for connection in (user, cleanup):
            connection.execute("set session authorization app")
        yield [user, cleanup, dba]


def test_cleanup_waits_for_a_message_that_is_being_sent(connections: list[Connection]) -> None:
    user, cleanup, dba = connections
    chat = new_chat(user, "ada")
    add_image(user, "ada", chat)
    make_due(dba)
    with ThreadPoolExecutor() as threads:
        with user.transaction():
            send(user, "ada", chat)
            claimed = threads.submit(claim, cleanup)
            wait_until(lambda: has_waiter(dba, "advisory"))
        assert claimed.result() is None
    assert (count(dba, "chat_images"), count(dba, "image_cleanup")) == (1, 0)


def test_message_waits_for_a_cleanup_and_then_has_only_a_text(connections: list[Connection]) -> None:
    user, cleanup, dba = connections
    chat = new_chat(user, "ada")
    add_image(user, "ada", chat)
    make_due(dba)
    with ThreadPoolExecutor() as threads:
        with cleanup.transaction():
            assert claim(cleanup) == NAME
            sent = threads.submit(send, user, "ada", chat)
            wait_until(lambda: has_waiter(dba, "advisory"))
        sent.result()
    assert (count(dba, "chat_images"), count(dba, "image_cleanup")) == (0, 1)


def test_image_of_two_messages_is_removed_when_the_second_deletion_commits(connections: list[Connection]) -> None:
    user, cleanup, dba = connections
    chat = new_chat(user, "ada")
    add_image(user, "ada", chat)
    first, second = send(user, "ada", chat), send(user, "ada", chat)
    call(user, "ada", "delete_message", chat, first)
    assert dba.execute("select name from parley.image_cleanup where due <= now()").fetchall() == [(NAME,)]
    with user.transaction():
        call(user, "ada", "delete_message", chat, second)
        assert claim(cleanup) is None
    assert remove_unused_images(cleanup) == [NAME]


def test_text_messages_do_not_look_images_up(app: Connection, owner: str) -> None:
    chat = new_chat(app, owner)
    before = count_scans(app)
    for message_type in ("text", "code"):
        message = send(app, owner, chat, URL, message_type)
        call(app, owner, "update_message", chat, message, {"content": OTHER_URL})
        call(app, owner, "delete_message", chat, message)
    assert count_scans(app) == before
    send(app, owner, chat)
    assert count_scans(app) != before


def count_scans(connection: Connection) -> object:
    """Return how often the transaction has scanned parley.chat_images."""
    counters = "select seq_scan, idx_scan from pg_stat_xact_all_tables where relid = 'parley.chat_images'::regclass"
    return connection.execute(counters).fetchone()
