"""Say it once: what a statement with an Idempotency-Key is answered, and what of that is kept for how long."""

import hashlib
import json
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest

from api.routes import CHAT, MESSAGES, ROUTES
from tests.database import Connection, add_session, call, expect_error, new_chat
from tests.tokens import new_user
from tests.waiting import wait_until

STATEMENTS = {(route.method, route.path): route.statement for route in ROUTES}
CHATS = CHAT.rpartition("/")[0]
KEY = "8e03978e-40d5-43e8-bc93-6894a57f9324"
BAD_KEY = "must be given once, as 1 to 255 visible ASCII characters, in quotes or without"


def post(
    connection: Connection, user: str | dict[str, Any], path: str, *arguments: Any, key: str | None, same: str = ""
) -> tuple[str, bool]:
    """What a POST is answered, to the byte, and whether that is a repetition; what fails is rolled back.

    `same` is what has to be the same in a repeat, in place of the arguments.
    """
    identity = json.dumps(user if isinstance(user, dict) else {"sub": user})
    fingerprint = hashlib.sha256((same or repr((path, arguments))).encode()).digest()
    values = [json.dumps(value).encode() if isinstance(value, dict) else value for value in arguments]
    query = f"select answer::text, is_repeated from ({STATEMENTS['POST', path]}) asked (answer, is_repeated)"
    with connection.transaction():
        row = psycopg.RawCursor(connection).execute(query, [identity, None, key, fingerprint, *values]).fetchone()
    assert row is not None
    answer, is_repeated = row
    return answer, is_repeated


def send(connection: Connection, user: str, chat: str, key: str | None, content: str = "Hello") -> tuple[str, bool]:
    """A message of this content, with a key."""
    return post(connection, user, MESSAGES, chat, {"content": content}, key=key)


def messages(connection: Connection, user: str, chat: str) -> int:
    """How many there are."""
    total: int = call(connection, user, "list_messages", chat)["total"]
    return total


def kept(connection: Connection, user: str) -> list[str]:
    """The keys of this user's answers, in the order of the alphabet."""
    rows = connection.execute("select key from parley.idempotency_keys where user_id = %s", [user])
    return sorted(key for (key,) in rows)


def test_a_repeat_is_given_the_first_answer_and_changes_nothing(dba: Connection) -> None:
    user = new_user()
    chat = new_chat(dba, user)
    first, is_repeated = send(dba, user, chat, KEY)
    assert not is_repeated
    events = dba.execute("select count(*) from parley.outbox where chat_id = %s", [chat]).fetchone()
    assert send(dba, user, chat, KEY) == (first, True)
    assert messages(dba, user, chat) == 1
    assert dba.execute("select count(*) from parley.outbox where chat_id = %s", [chat]).fetchone() == events
    assert not send(dba, user, chat, None)[1]
    assert not send(dba, user, chat, None)[1]
    assert not send(dba, user, chat, "another")[1]
    assert messages(dba, user, chat) == 4
    assert kept(dba, user) == [KEY, "another"]


def test_another_request_may_not_have_the_key(dba: Connection) -> None:
    user = new_user()
    chat = new_chat(dba, user)
    first = send(dba, user, chat, KEY)
    with expect_error(422) as error:
        send(dba, user, chat, KEY, "Something else")
    assert error.message == "Another request was sent with this Idempotency-Key."
    with expect_error(422):
        post(dba, user, CHATS, {"title": "x"}, key=KEY)
    assert messages(dba, user, chat) == 1
    assert send(dba, user, chat, KEY) == (first[0], True)


def test_a_key_is_a_users_own(dba: Connection) -> None:
    one, other = new_user(), new_user()
    chat = new_chat(dba, one, other)
    first = send(dba, one, chat, KEY)
    second = send(dba, other, chat, KEY)
    assert not second[1]
    assert send(dba, one, chat, KEY) == (first[0], True)
    assert send(dba, other, chat, KEY) == (second[0], True)
    assert messages(dba, one, chat) == 2


def test_a_user_may_have_a_key_in_the_first_request_of_all(dba: Connection) -> None:
    user = new_user()
    first = post(dba, user, CHATS, {"title": "Plans"}, key=KEY)
    assert not first[1]
    assert post(dba, user, CHATS, {"title": "Plans"}, key=KEY) == (first[0], True)


def test_a_key_is_the_same_in_each_session_of_a_user(dba: Connection) -> None:
    user = new_user()
    digests = [hashlib.sha256(add_session(dba, user).encode()).hexdigest() for _ in range(2)]
    first = post(dba, {"session_digests": digests[:1]}, CHATS, {"title": "Plans"}, key=KEY)
    for identity in ({"session_digests": digests[1:]}, {"sub": user}):
        assert post(dba, identity, CHATS, {"title": "Plans"}, key=KEY) == (first[0], True)
    dba.execute('delete from next_auth.sessions where "userId" = %s', [user])
    with expect_error(401):
        post(dba, {"session_digests": digests}, CHATS, {"title": "Plans"}, key=KEY)


def test_what_was_refused_is_not_kept(dba: Connection) -> None:
    owner, member = new_user(), new_user()
    chat = new_chat(dba, owner)
    call(dba, member, "get_settings")
    with expect_error(404):
        send(dba, member, chat, KEY)
    with expect_error(400):
        send(dba, owner, chat, KEY, "")
    assert kept(dba, owner) == kept(dba, member) == []
    call(dba, owner, "add_member", chat, {"userId": member})
    assert not send(dba, member, chat, KEY)[1]
    assert not send(dba, owner, chat, KEY)[1]
    assert kept(dba, owner) == kept(dba, member) == [KEY]


def test_after_a_day_the_key_is_a_new_one(dba: Connection) -> None:
    user = new_user()
    chat = new_chat(dba, user)
    first = send(dba, user, chat, KEY)
    age = (
        "update parley.idempotency_keys set created_at = now() - interval '24 hours' + %s::interval where user_id = %s"
    )
    dba.execute(age, ["1 us", user])
    assert send(dba, user, chat, KEY) == (first[0], True)
    dba.execute(age, ["0", user])
    second = send(dba, user, chat, KEY, "Something else")
    assert not second[1]
    assert send(dba, user, chat, KEY, "Something else") == (second[0], True)
    assert messages(dba, user, chat) == 2
    assert kept(dba, user) == [KEY]


def matches(connection: Connection, header: str) -> bool:
    """Whether it is what the OpenAPI document says that a key may be."""
    row = connection.execute("select api.get_field_schemas() #>> '{Idempotency-Key,pattern}'").fetchone()
    assert row is not None
    return re.fullmatch(row[0], header, re.ASCII) is not None


@pytest.mark.parametrize(
    ("key", "quoted"),
    [
        ("a", '"a"'),
        ("a" * 255, f'"{"a" * 255}"'),
        ("!#~'\\,;", '"!#~\'\\,;"'),
        ('a"', '"a""'),
    ],
)
def test_in_quotes_it_is_the_same_key(dba: Connection, key: str, quoted: str) -> None:
    user = new_user()
    chat = new_chat(dba, user)
    first = send(dba, user, chat, key)
    assert send(dba, user, chat, quoted) == (first[0], True)
    assert kept(dba, user) == [key]
    assert [matches(dba, header) for header in (key, quoted)] == [True, True]


@pytest.mark.parametrize(
    "header",
    ["", '"', '""', '"a', "a" * 256, f'"{"a" * 256}"', "a b", "a, a", '"a", "a"', "\t", "a\n", "a\x7f", "clé", "鍵"],
)
def test_what_is_no_key_is_refused(dba: Connection, header: str) -> None:
    user = new_user()
    chat = new_chat(dba, user)
    with expect_error(400) as error:
        send(dba, user, chat, header)
    assert error.fields == {"Idempotency-Key": BAD_KEY}
    assert not matches(dba, header)
    assert messages(dba, user, chat) == 0
    assert not send(dba, user, chat, "a")[1]


def test_who_was_removed_is_not_let_in_by_a_repeat(dba: Connection) -> None:
    owner, member = new_user(), new_user()
    chat = new_chat(dba, owner, member)

    def authorize(user: str) -> tuple[str, bool]:
        return post(dba, user, "/api/pusher/auth", "1.2", f"private-chat-{chat}", key=KEY)

    first = authorize(member)
    assert authorize(member) == (first[0], True)
    call(dba, member, "remove_member", chat, member)
    with expect_error(403):
        authorize(member)
    assert not authorize(owner)[1]
    call(dba, owner, "add_member", chat, {"userId": member})
    assert authorize(member) == (first[0], True)


def test_pusher_is_told_what_it_was_told_first(dba: Connection) -> None:
    user = new_user()
    chat = new_chat(dba, user)
    call(dba, user, "update_profile", {"name": "Ada"})
    arguments = "/api/pusher/auth", "1.2", f"presence-chat-{chat}"
    first = post(dba, user, *arguments, key=KEY)
    call(dba, user, "update_profile", {"name": "Countess"})
    assert post(dba, user, *arguments, key=KEY) == (first[0], True)
    assert "Countess" in post(dba, user, *arguments, key=None)[0]


# Several at once


def waits(url: str, query: str) -> bool:
    """Whether a statement that begins like this waits for a lock."""
    asked = "select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
    with psycopg.connect(url) as watcher:
        return watcher.execute(f"{asked} and query ~ %s", [f"^{query}"]).rowcount == 1


@contextmanager
def under_way(url: str, user: str, chat: str, key: str | None) -> Iterator[Connection]:
    """A connection that has sent a message, with a key or without, and has not committed."""
    with psycopg.connect(url) as connection:
        connection.execute("select")  # begins, so that what follows does not commit
        assert not send(connection, user, chat, key)[1]
        yield connection


def test_while_the_first_is_under_way_a_repeat_is_told_to_come_again(own: Connection, own_url: str) -> None:
    user, other = new_user(), new_user()
    chat = new_chat(own, user, other)
    with under_way(own_url, user, chat, KEY) as connection:
        for content in ("Hello", "Something else"):
            with pytest.raises(psycopg.Error) as caught:
                post(own, user, CHATS, {"title": content}, key=KEY)
            assert caught.value.sqlstate == "PT409"
            assert json.loads(caught.value.diag.message_detail or "") == {"retryAfter": 1}
        assert not post(own, other, CHATS, {"title": "x"}, key=KEY)[1]
        assert not post(own, user, CHATS, {"title": "x"}, key="another")[1]
        connection.commit()
        assert send(own, user, chat, KEY)[1]
    assert messages(own, user, chat) == 1


def test_when_the_first_came_to_nothing_a_repeat_is_the_first(own: Connection, own_url: str) -> None:
    user = new_user()
    chat = new_chat(own, user)
    with under_way(own_url, user, chat, KEY) as connection:
        with expect_error(409):
            send(own, user, chat, KEY)
        connection.rollback()
        assert not send(own, user, chat, KEY)[1]
    assert messages(own, user, chat) == 1


def test_an_answer_that_is_renewed_just_now_is_not_removed(own: Connection, own_url: str) -> None:
    user = new_user()
    chat = new_chat(own, user)
    send(own, user, chat, KEY)
    own.execute("update parley.idempotency_keys set created_at = now() - interval '2 days'")
    with ThreadPoolExecutor() as threads, under_way(own_url, user, chat, KEY) as connection:
        removal = threads.submit(removed, own, 10)
        wait_until(lambda: waits(own_url, "select listener.purge_idempotency_keys"))
        connection.commit()
        assert removal.result() == 0
    assert send(own, user, chat, KEY)[1]


def removed(connection: Connection, most: int) -> int:
    """How many old answers go, of so many at most."""
    row = connection.execute("select listener.purge_idempotency_keys(%s)", [most]).fetchone()
    assert row is not None
    return int(row[0])


def test_old_answers_are_removed_the_oldest_first(own: Connection) -> None:
    user = new_user()
    for key in ("young", "old", "older", "oldest"):
        post(own, user, CHATS, {"title": "x"}, key=key)
    for key, age in (("young", "23:59"), ("old", "24:00"), ("older", "48:00"), ("oldest", "72:00")):
        own.execute("update parley.idempotency_keys set created_at = now() - %s::interval where key = %s", [age, key])
    assert removed(own, 2) == 2
    assert kept(own, user) == ["old", "young"]
    assert [removed(own, 2), removed(own, 2)] == [1, 0]
    assert kept(own, user) == ["young"]


def test_a_deleted_users_answers_are_removed_also_of_a_request_under_way(own: Connection, own_url: str) -> None:
    user, other = new_user(), new_user()
    chat = new_chat(own, other, user)
    send(own, other, chat, KEY)
    send(own, user, chat, "another-key")
    with under_way(own_url, user, chat, KEY) as connection:
        own.execute("set lock_timeout = '5s'")
        own.execute("delete from next_auth.users where id = %s", [user])
        assert kept(own, user) == []
        connection.commit()
    assert kept(own, user) == [KEY]
    assert own.execute("select listener.purge_memberships(100)").fetchone() == (1,)
    assert kept(own, user) == []
    assert kept(own, other) == [KEY]
    with expect_error(401):
        send(own, user, chat, KEY)
