"""Versions: what changed has another ETag, what the caller has is not answered again, and nothing else overwritten."""

import json
from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api.dev.postgres import Postgres
from tests import entity_tags
from tests.database import Connection, ExpectedError, call, connect_rolled_back, expect_error, new_chat
from tests.tokens import new_user

CHAT_KEYS = ["id", "title", "role", "createdAt", "updatedAt", "lastMessageAt", "lastMessage"]
MESSAGE_KEYS = ["id", "content", "type", "userId", "createdAt", "updatedAt"]
USER_KEYS = ["id", "name", "email", "imageUrl", "updatedAt"]
SETTINGS_KEYS = [
    "model", "theme", "context", "runtime", "isPremium", "responseStyle", "alwaysShowCode", "updatedAt",
]  # fmt: skip
IMAGE = "https://x.org/images/" + "0" * 64 + ".png"


def asked(
    connection: Connection, user: str, function: str, *arguments: Any, match: str | None = None, none: str | None = None
) -> tuple[Any, str]:
    """What an `api` function answers to a user with If-Match and If-None-Match, and the ETag that it tells."""
    values = [json.dumps(a) if isinstance(a, dict) else a for a in arguments]
    statement = (
        f"select api.{function}({', '.join(['%s'] * len(values))}), current_setting('response.etag', true)"
        " from session.authenticate(%s, null, %s, %s)"
    )
    with connection.transaction():
        row = connection.execute(statement, [*values, json.dumps({"sub": user}), match, none]).fetchone()
    assert row is not None
    return row[0], row[1]


@pytest.fixture
def chat(app: Connection) -> tuple[str, str, str, str]:
    """A chat, a message in it, its owner who wrote that, and a member."""
    return chat_of_two(app)


def chat_of_two(connection: Connection) -> tuple[str, str, str, str]:
    owner, member = new_user(), new_user()
    chat = new_chat(connection, owner, member)
    return chat, call(connection, owner, "send_message", chat, {"content": "hello"})["id"], owner, member


def reads(chat: str, message: str) -> dict[str, list[Any]]:
    """Everything that has a version, and how to ask for it."""
    return {
        "get_chat": [chat], "list_messages": [chat], "get_message": [chat, message],
        "get_profile": [], "get_settings": [],
    }  # fmt: skip


def changes(chat: str, message: str) -> dict[str, tuple[list[Any], list[Any], str]]:
    """The changes that take conditions: their arguments, and what has the version that these are about."""
    return {
        "update_chat": ([chat, {"title": "Plan B"}], [chat], "get_chat"),
        "update_message": ([chat, message, {"content": "bye"}], [chat, message], "get_message"),
        "update_profile": ([{"name": "Ada"}], [], "get_profile"),
        "update_settings": ([{"settings": {"theme": "dark"}}], [], "get_settings"),
        "delete_message": ([chat, message], [chat, message], "get_message"),
        "delete_chat": ([chat], [chat], "get_chat"),
    }


def test_an_answer_of_another_form_has_another_version(app: Connection, chat: tuple[str, str, str, str]) -> None:
    """Who changes one of these forms raises the number in parley.etag(), and here: else clients keep the old form."""
    chat_id, message, owner, _ = chat
    told = {name: asked(app, owner, name, *arguments)[0] for name, arguments in reads(chat_id, message).items()}
    assert {
        "get_chat": list(told["get_chat"]),
        "lastMessage": list(told["get_chat"]["lastMessage"]),
        "list_messages": list(told["list_messages"]),
        "messages": list(told["list_messages"]["messages"][0]),
        "get_message": list(told["get_message"]),
        "get_profile": list(told["get_profile"]["user"]),
        "get_settings": list(told["get_settings"]["settings"]),
    } == {
        "get_chat": CHAT_KEYS,
        "lastMessage": ["id", "content", "type", "userId", "createdAt"],
        "list_messages": ["messages", "total", "page", "limit"],
        "messages": MESSAGE_KEYS,
        "get_message": MESSAGE_KEYS,
        "get_profile": USER_KEYS,
        "get_settings": SETTINGS_KEYS,
    }
    form = "select prosrc like '%%''2 '' || version%%' from pg_proc where oid = 'parley.etag(text)'::regprocedure"
    assert app.execute(form).fetchone() == (True,)


@pytest.mark.parametrize("function", reads("", ""))
def test_what_the_caller_has_is_not_answered_again(
    app: Connection, chat: tuple[str, str, str, str], function: str
) -> None:
    chat_id, message, owner, member = chat
    arguments = reads(chat_id, message)[function]
    answer, etag = asked(app, owner, function, *arguments)
    _, members = asked(app, member, function, *arguments)
    assert etag != members
    for known in (etag, f"W/{etag}", f'"x", {etag}', f'"x",W/{etag} , "y"', "*"):
        assert asked(app, owner, function, *arguments, none=known) == (None, etag)
    for unknown in (None, '""', members, etag.strip('"'), etag[:-2] + '"', etag.lower() + "x", etag[:-1]):
        assert asked(app, owner, function, *arguments, none=unknown) == (answer, etag)


@pytest.mark.parametrize("function", changes("", ""))
def test_only_the_version_that_is_meant_is_changed(
    app: Connection, chat: tuple[str, str, str, str], function: str
) -> None:
    chat_id, message, owner, member = chat
    arguments, path, read = changes(chat_id, message)[function]
    before, etag = asked(app, owner, read, *path)
    _, members = asked(app, member, read, *path)

    def is_done(match: str | None = None, none: str | None = None) -> bool:
        with app.transaction(force_rollback=True):
            try:
                _, told = asked(app, owner, function, *arguments, match=match, none=none)
            except psycopg.Error as error:
                assert error.sqlstate == "PT412"  # noqa: PT017
                return False
            if function.startswith("update"):
                after, now = asked(app, owner, read, *path)
                assert after != before
                assert told == now != etag
            else:
                with expect_error(404):
                    asked(app, owner, read, *path)
            return True

    assert is_done()
    for meant in (etag, "*", f'"x", {etag}', f'{etag},"x"', f"W/{etag}, {etag}"):
        assert is_done(match=meant)
    for other in ('""', '"x"', f"W/{etag}", f'"x", W/{etag}', members, etag.strip('"'), f"x{etag[1:]}", "* "):
        assert not is_done(match=other)
    assert is_done(none='"x"')
    assert not is_done(none=etag)
    assert not is_done(none="*")
    assert not is_done(match=etag, none=etag)
    assert asked(app, owner, read, *path) == (before, etag)


@pytest.mark.parametrize("header", entity_tags.STRONG)
def test_a_list_matches_the_entity_tag_in_it(app: Connection, header: str) -> None:
    check_header(app, header, is_match=True, is_none_match=True)


@pytest.mark.parametrize("header", entity_tags.WEAK)
def test_if_match_takes_no_weak_entity_tag(app: Connection, header: str) -> None:
    check_header(app, header, is_match=False, is_none_match=True)


@pytest.mark.parametrize("header", [*entity_tags.MALFORMED, *entity_tags.OTHER])
def test_a_malformed_list_matches_nothing(app: Connection, header: str) -> None:
    check_header(app, header, is_match=False, is_none_match=False)


@settings(max_examples=300)
@given(header=entity_tags.HEADERS)
def test_lists_are_parsed_by_the_grammar(url: str, header: str) -> None:
    with connect_rolled_back(url) as dba:
        strongly, weakly = (
            entity_tags.is_match(entity_tags.ETAG, header, is_strong=strongly) for strongly in (True, False)
        )
        check_header(dba, header, is_match=strongly, is_none_match=weakly)


def check_header(connection: Connection, header: str, *, is_match: bool, is_none_match: bool) -> None:
    user = new_user()
    answer, etag = asked(connection, user, "get_settings")
    sent = header.replace(entity_tags.TAG, etag[1:-1])
    assert asked(connection, user, "get_settings", none=sent)[0] == (None if is_none_match else answer)
    if is_match or not sent:  # an empty one is replaced before it reaches the database
        assert asked(connection, user, "get_settings", match=sent)[0] == answer
    else:
        with expect_error(412):
            asked(connection, user, "get_settings", match=sent)


def test_a_membership_has_no_version_but_is_there_or_not(app: Connection, chat: tuple[str, str, str, str]) -> None:
    chat_id, _, owner, member = chat
    with expect_error(412):
        asked(app, owner, "remove_member", chat_id, member, match=asked(app, owner, "get_chat", chat_id)[1])
    with expect_error(412):
        asked(app, owner, "remove_member", chat_id, member, none="*")
    asked(app, owner, "remove_member", chat_id, member, match="*", none='"x"')
    with expect_error(404):
        asked(app, owner, "remove_member", chat_id, member, match='"x"')


def list_errors(connection: Connection, chat: tuple[str, str, str, str], match: str) -> list[ExpectedError]:
    chat_id, message, owner, member = chat
    found = []
    for status, user, function, arguments in (
        (404, new_user(), "update_chat", [chat_id, {"title": "Mine"}]),
        (403, member, "update_chat", [chat_id, {"title": "Mine"}]),
        (400, owner, "update_chat", [chat_id, {"title": ""}]),
        (403, member, "delete_chat", [chat_id]),
        (404, member, "update_message", [chat_id, chat_id, {"content": "x"}]),
        (403, member, "update_message", [chat_id, message, {"content": "x"}]),
        (400, owner, "update_message", [chat_id, message, {"content": ""}]),
        (403, member, "delete_message", [chat_id, message]),
        (400, owner, "update_profile", [{"name": ""}]),
        (400, owner, "update_settings", [{"settings": {"theme": "pink"}}]),
        (409, owner, "remove_member", [chat_id, owner]),
    ):
        with expect_error(status) as error:
            asked(connection, user, function, *arguments, match=match)
        found.append(error)
    return found


def test_who_is_refused_anyway_is_not_told_of_a_version(app: Connection, chat: tuple[str, str, str, str]) -> None:
    assert list_errors(app, chat, match='"x"') == list_errors(app, chat, match="*")


def test_an_address_that_is_taken_is_no_reason_before_the_version_is(app: Connection) -> None:
    one, two = new_user(), new_user()
    call(app, one, "update_profile", {"email": f"{one}@example.org"})
    with expect_error(412):
        asked(app, two, "update_profile", {"email": f"{one}@example.org"}, match='"x"')
    with expect_error(409):
        asked(app, two, "update_profile", {"email": f"{one}@example.org"}, match="*")


Change = Callable[[Connection, str, str, str], object]  # of a chat, its first owner and a member


def of_newest(function: str, *body: Any) -> Change:
    """A change of the newest message of who is still there, by them."""

    def change(dba: Connection, chat: str, _: str, __: str) -> None:
        newest = (
            "select m.id::text, m.user_id from parley.messages m join parley.members using (chat_id, user_id)"
            " where m.chat_id = %s order by m.id desc limit 1"
        )
        for message, author in dba.execute(newest, [chat]).fetchall():
            call(dba, author, function, chat, message, *body)

    return change


def by_dba(*statements: str) -> Change:
    """A change by statements."""

    def change(dba: Connection, chat: str, owner: str, member: str) -> None:
        for statement in statements:
            dba.execute(statement, {"chat": chat, "owner": owner, "member": member})

    return change


CHANGES: dict[str, Change] = {
    "a message": lambda dba, chat, _, member: call(dba, member, "send_message", chat, {"content": "hello"}),
    "an edited message": of_newest("update_message", {"content": "bye"}),
    "a message of another type": of_newest("update_message", {"type": "code"}),
    "a message deleted": of_newest("delete_message"),
    "a new name": by_dba("update next_auth.users set name = 'Ada' where id = %(member)s"),
    "a new address": lambda dba, _, __, member: call(dba, member, "update_profile", {"email": f"{member}@x.org"}),
    "a new image": lambda dba, _, __, member: call(dba, member, "set_image", IMAGE),
    "no image": by_dba("update next_auth.users set image = null where id = %(member)s"),
    "other settings": lambda dba, _, __, user: call(dba, user, "update_settings", {"settings": {"theme": "dark"}}),
    "a premium user": by_dba("update parley.settings set is_premium = not is_premium where user_id = %(member)s"),
    "another title": by_dba("update parley.chats set title = title || '!' where id = %(chat)s"),
    "the same title": by_dba("update parley.chats set title = title where id = %(chat)s"),
    "another owner": by_dba("update parley.chats set owner_id = %(member)s where id = %(chat)s"),
    "no owner": by_dba("update parley.chats set owner_id = null where id = %(chat)s"),
    "the owner's account deleted": by_dba("delete from next_auth.users where id = %(owner)s"),
    "all messages edited": by_dba("update parley.messages set content = content || '.' where chat_id = %(chat)s"),
    "all of another type": by_dba("update parley.messages set type = 'image' where chat_id = %(chat)s"),
    "all but one deleted": by_dba(
        "delete from parley.messages where chat_id = %(chat)s"
        " and id > (select id from parley.messages where chat_id = %(chat)s order by id limit 1)"
    ),
    "messages loaded without triggers": by_dba(
        "set local session_replication_role = replica",
        "insert into parley.messages (chat_id, id, user_id, content, updated_at)"
        " values (%(chat)s, parley.generate_uuid7(now(), 1), %(member)s, 'loaded', now())",
        "set local session_replication_role = origin",
        "select parley.recount_chat(%(chat)s)",
    ),
}


@pytest.fixture(scope="module")
def url(postgres: Postgres, shared_database: str) -> str:
    """The shared database, as a superuser."""
    return postgres.url(shared_database)


@settings(max_examples=30)
@given(st.lists(st.sampled_from(sorted(CHANGES)), min_size=1, max_size=8))
def test_what_changed_has_another_etag(url: str, names: list[str]) -> None:
    with connect_rolled_back(url) as dba:
        chat, message, owner, member = chat_of_two(dba)
        known: dict[tuple[str, str, str], Any] = {}
        for name in ["nothing", *names]:
            if name != "nothing":
                CHANGES[name](dba, chat, owner, member)
            for function, arguments in reads(chat, message).items():
                for user in (owner, member):
                    try:
                        answer, etag = asked(dba, user, function, *arguments)
                    except psycopg.Error as error:
                        assert error.sqlstate in ("PT401", "PT404")  # noqa: PT017
                        continue
                    assert known.setdefault((function, user, etag), answer) == answer, f"{function} after {name}"
                    assert asked(dba, user, function, *arguments)[1] == etag
