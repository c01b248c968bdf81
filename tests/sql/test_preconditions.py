"""Preconditions: what the caller has is not answered again, and nothing but the version that is meant is changed."""

from typing import Any

import psycopg
import pytest
from hypothesis import given, settings

from tests import entity_tags
from tests.database import Connection, ExpectedError, call, connect_rolled_back, expect_error
from tests.sql.preconditions import asked, chat_of_two, reads
from tests.tokens import new_user


@pytest.fixture
def chat(app: Connection) -> tuple[str, str, str, str]:
    """A chat, a message in it, its owner who wrote that, and a member."""
    return chat_of_two(app)


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
def test_lists_are_parsed_by_the_grammar(shared_url: str, header: str) -> None:
    with connect_rolled_back(shared_url) as dba:
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
