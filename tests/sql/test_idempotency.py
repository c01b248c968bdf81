"""Idempotency keys: repeated requests get the stored response, which belongs to a user and expires."""

import hashlib
import re

import pytest

from tests.database import Connection, add_session, call, expect_error, new_chat
from tests.sql.idempotency import BAD_KEY, CHATS, KEY, count_messages, post, purge_keys, send, stored_keys
from tests.tokens import new_user


def test_repeated_request_gets_the_stored_response_and_has_no_effect(dba: Connection) -> None:
    user = new_user()
    chat = new_chat(dba, user)
    first, is_replayed = send(dba, user, chat, KEY)
    assert not is_replayed
    events = dba.execute("select count(*) from parley.outbox where chat_id = %s", [chat]).fetchone()
    assert send(dba, user, chat, KEY) == (first, True)
    assert count_messages(dba, user, chat) == 1
    assert dba.execute("select count(*) from parley.outbox where chat_id = %s", [chat]).fetchone() == events
    assert not send(dba, user, chat, None)[1]
    assert not send(dba, user, chat, None)[1]
    assert not send(dba, user, chat, "another")[1]
    assert count_messages(dba, user, chat) == 4
    assert stored_keys(dba, user) == [KEY, "another"]


def test_other_request_with_a_used_key_is_rejected(dba: Connection) -> None:
    user = new_user()
    chat = new_chat(dba, user)
    first = send(dba, user, chat, KEY)
    with expect_error(422) as error:
        send(dba, user, chat, KEY, "Something else")
    assert error.message == "Another request was sent with this Idempotency-Key."
    with expect_error(422):
        post(dba, user, CHATS, {"title": "x"}, key=KEY)
    assert count_messages(dba, user, chat) == 1
    assert send(dba, user, chat, KEY) == (first[0], True)


def test_keys_are_specific_to_a_user(dba: Connection) -> None:
    one, other = new_user(), new_user()
    chat = new_chat(dba, one, other)
    first = send(dba, one, chat, KEY)
    second = send(dba, other, chat, KEY)
    assert not second[1]
    assert send(dba, one, chat, KEY) == (first[0], True)
    assert send(dba, other, chat, KEY) == (second[0], True)
    assert count_messages(dba, one, chat) == 2


def test_first_request_of_a_new_user_can_have_a_key(dba: Connection) -> None:
    user = new_user()
    first = post(dba, user, CHATS, {"title": "Plans"}, key=KEY)
    assert not first[1]
    assert post(dba, user, CHATS, {"title": "Plans"}, key=KEY) == (first[0], True)


def test_key_is_shared_by_all_sessions_of_a_user(dba: Connection) -> None:
    user = new_user()
    digests = [hashlib.sha256(add_session(dba, user).encode()).hexdigest() for _ in range(2)]
    first = post(dba, {"session_digests": digests[:1]}, CHATS, {"title": "Plans"}, key=KEY)
    for identity in ({"session_digests": digests[1:]}, {"sub": user}):
        assert post(dba, identity, CHATS, {"title": "Plans"}, key=KEY) == (first[0], True)
    dba.execute('delete from next_auth.sessions where "userId" = %s', [user])
    with expect_error(401):
        post(dba, {"session_digests": digests}, CHATS, {"title": "Plans"}, key=KEY)


def test_rejected_requests_are_not_stored(dba: Connection) -> None:
    owner, member = new_user(), new_user()
    chat = new_chat(dba, owner)
    call(dba, member, "get_settings")
    with expect_error(404):
        send(dba, member, chat, KEY)
    with expect_error(400):
        send(dba, owner, chat, KEY, "")
    assert stored_keys(dba, owner) == stored_keys(dba, member) == []
    call(dba, owner, "add_member", chat, {"userId": member})
    assert not send(dba, member, chat, KEY)[1]
    assert not send(dba, owner, chat, KEY)[1]
    assert stored_keys(dba, owner) == stored_keys(dba, member) == [KEY]


def test_key_expires_after_24_hours(dba: Connection) -> None:
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
    assert count_messages(dba, user, chat) == 2
    assert stored_keys(dba, user) == [KEY]


def matches_schema(connection: Connection, header: str) -> bool:
    """Return whether a header matches the pattern in the OpenAPI document."""
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
def test_quoted_key_equals_the_bare_key(dba: Connection, key: str, quoted: str) -> None:
    user = new_user()
    chat = new_chat(dba, user)
    first = send(dba, user, chat, key)
    assert send(dba, user, chat, quoted) == (first[0], True)
    assert stored_keys(dba, user) == [key]
    assert [matches_schema(dba, header) for header in (key, quoted)] == [True, True]


@pytest.mark.parametrize(
    "header",
    ["", '"', '""', '"a', "a" * 256, f'"{"a" * 256}"', "a b", "a, a", '"a", "a"', "\t", "a\n", "a\x7f", "clé", "鍵"],
)
def test_invalid_key_is_rejected(dba: Connection, header: str) -> None:
    user = new_user()
    chat = new_chat(dba, user)
    with expect_error(400) as error:
        send(dba, user, chat, header)
    assert error.fields == {"Idempotency-Key": BAD_KEY}
    assert not matches_schema(dba, header)
    assert count_messages(dba, user, chat) == 0
    assert not send(dba, user, chat, "a")[1]


def test_removed_member_cannot_replay_a_channel_authorization(dba: Connection) -> None:
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


def test_repeated_channel_authorization_gets_the_stored_response(dba: Connection) -> None:
    user = new_user()
    chat = new_chat(dba, user)
    call(dba, user, "update_profile", {"name": "Ada"})
    arguments = "/api/pusher/auth", "1.2", f"presence-chat-{chat}"
    first = post(dba, user, *arguments, key=KEY)
    call(dba, user, "update_profile", {"name": "Countess"})
    assert post(dba, user, *arguments, key=KEY) == (first[0], True)
    assert "Countess" in post(dba, user, *arguments, key=None)[0]


def test_expired_keys_are_purged_from_the_oldest_on(own_dba: Connection) -> None:
    user = new_user()
    for key in ("young", "old", "older", "oldest"):
        post(own_dba, user, CHATS, {"title": "x"}, key=key)
    for key, age in (("young", "23:59"), ("old", "24:00"), ("older", "48:00"), ("oldest", "72:00")):
        own_dba.execute(
            "update parley.idempotency_keys set created_at = now() - %s::interval where key = %s", [age, key]
        )
    assert purge_keys(own_dba, 2) == 2
    assert stored_keys(own_dba, user) == ["old", "young"]
    assert [purge_keys(own_dba, 2), purge_keys(own_dba, 2)] == [1, 0]
    assert stored_keys(own_dba, user) == ["young"]
