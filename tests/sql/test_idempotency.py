"""Idempotency keys: what a statement with one is answered, and what of that is kept for how long."""

import hashlib
import re

import pytest

from tests.database import Connection, add_session, call, expect_error, new_chat
from tests.sql.idempotency import BAD_KEY, CHATS, KEY, kept, messages, post, removed, send
from tests.tokens import new_user


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
