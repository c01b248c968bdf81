"""Preconditions: a read returns null if If-None-Match matches; a change is rejected if If-Match does not."""

from typing import Any

import psycopg
import pytest
from hypothesis import given, settings

from tests import entity_tags
from tests.database import Connection, ExpectedError, call, connect_rolled_back, expect_error
from tests.sql.preconditions import READ_FUNCTIONS, call_with_preconditions, new_chat_with_member, read_calls
from tests.tokens import new_user


@pytest.fixture
def chat(app: Connection) -> tuple[str, str, str, str]:
    """A chat, a message in it, its owner, who is the author, and a member."""
    return new_chat_with_member(app)


def change_calls(chat: str, message: str) -> dict[str, tuple[list[Any], list[Any], str]]:
    """Return the functions that change a resource: their arguments, and the arguments and name of its read function."""
    return {
        "update_chat": ([chat, {"title": "Plan B"}], [chat], "get_chat"),
        "update_message": ([chat, message, {"content": "bye"}], [chat, message], "get_message"),
        "update_profile": ([{"name": "Ada"}], [], "get_profile"),
        "update_settings": ([{"settings": {"theme": "dark"}}], [], "get_settings"),
        "delete_message": ([chat, message], [chat, message], "get_message"),
        "delete_chat": ([chat], [chat], "get_chat"),
    }


CHANGE_FUNCTIONS = tuple(change_calls(chat="", message=""))


@pytest.mark.parametrize("function", READ_FUNCTIONS)
def test_read_of_a_matching_version_returns_null(
    app: Connection, chat: tuple[str, str, str, str], function: str
) -> None:
    chat_id, message, owner, member = chat
    arguments = read_calls(chat_id, message)[function]
    response, etag = call_with_preconditions(app, owner, function, *arguments)
    _, member_etag = call_with_preconditions(app, member, function, *arguments)
    assert etag != member_etag
    for listed in (etag, f"W/{etag}", f'"x", {etag}', f'"x",W/{etag} , "y"', "*"):
        assert call_with_preconditions(app, owner, function, *arguments, if_none_match=listed) == (None, etag)
    for other in (None, '""', member_etag, etag.strip('"'), etag[:-2] + '"', etag.lower() + "x", etag[:-1]):
        assert call_with_preconditions(app, owner, function, *arguments, if_none_match=other) == (response, etag)


@pytest.mark.parametrize("function", CHANGE_FUNCTIONS)
def test_change_requires_a_matching_version(app: Connection, chat: tuple[str, str, str, str], function: str) -> None:
    chat_id, message, owner, member = chat
    arguments, read_arguments, read = change_calls(chat_id, message)[function]
    before, etag = call_with_preconditions(app, owner, read, *read_arguments)
    _, member_etag = call_with_preconditions(app, member, read, *read_arguments)

    def try_change(if_match: str | None = None, if_none_match: str | None = None) -> bool:
        """Change the resource and roll back; return whether the preconditions allowed the change."""
        with app.transaction(force_rollback=True):
            try:
                _, response_etag = call_with_preconditions(
                    app, owner, function, *arguments, if_match=if_match, if_none_match=if_none_match
                )
            except psycopg.Error as error:
                assert error.sqlstate == "PT412"  # noqa: PT017
                return False
            if function.startswith("update"):
                after, new_etag = call_with_preconditions(app, owner, read, *read_arguments)
                assert after != before
                assert response_etag == new_etag != etag
            else:
                with expect_error(404):
                    call_with_preconditions(app, owner, read, *read_arguments)
            return True

    assert try_change()
    for header in (etag, "*", f'"x", {etag}', f'{etag},"x"', f"W/{etag}, {etag}"):
        assert try_change(if_match=header)
    for header in ('""', '"x"', f"W/{etag}", f'"x", W/{etag}', member_etag, etag.strip('"'), f"x{etag[1:]}", "* "):
        assert not try_change(if_match=header)
    assert try_change(if_none_match='"x"')
    assert not try_change(if_none_match=etag)
    assert not try_change(if_none_match="*")
    assert not try_change(if_match=etag, if_none_match=etag)
    assert call_with_preconditions(app, owner, read, *read_arguments) == (before, etag)


@pytest.mark.parametrize("header", entity_tags.STRONG)
def test_if_match_matches_a_listed_strong_entity_tag(app: Connection, header: str) -> None:
    check_header(app, header, is_match=True, is_none_match=True)


@pytest.mark.parametrize("header", entity_tags.WEAK)
def test_if_match_does_not_match_weak_entity_tags(app: Connection, header: str) -> None:
    check_header(app, header, is_match=False, is_none_match=True)


@pytest.mark.parametrize("header", [*entity_tags.MALFORMED, *entity_tags.OTHER])
def test_malformed_list_matches_nothing(app: Connection, header: str) -> None:
    check_header(app, header, is_match=False, is_none_match=False)


@settings(max_examples=300)
@given(header=entity_tags.HEADERS)
def test_lists_are_parsed_by_the_grammar_of_rfc_9110(shared_url: str, header: str) -> None:
    with connect_rolled_back(shared_url) as dba:
        strong_match = entity_tags.is_match(entity_tags.ETAG, header, is_strong=True)
        weak_match = entity_tags.is_match(entity_tags.ETAG, header, is_strong=False)
        check_header(dba, header, is_match=strong_match, is_none_match=weak_match)


def check_header(connection: Connection, header: str, *, is_match: bool, is_none_match: bool) -> None:
    """Assert that a header matches the entity tag or not, as If-Match and as If-None-Match."""
    user = new_user()
    response, etag = call_with_preconditions(connection, user, "get_settings")
    sent = header.replace(entity_tags.TAG, etag[1:-1])
    assert call_with_preconditions(connection, user, "get_settings", if_none_match=sent)[0] == (
        None if is_none_match else response
    )
    # In SQL, an empty header is no condition. read_etags() in api/http/preconditions.py therefore replaces an empty
    # header by an entity tag that matches nothing.
    if is_match or not sent:
        assert call_with_preconditions(connection, user, "get_settings", if_match=sent)[0] == response
    else:
        with expect_error(412):
            call_with_preconditions(connection, user, "get_settings", if_match=sent)


def test_membership_has_no_entity_tag_and_matches_only_an_asterisk(
    app: Connection, chat: tuple[str, str, str, str]
) -> None:
    chat_id, _, owner, member = chat
    with expect_error(412):
        call_with_preconditions(
            app,
            owner,
            "remove_member",
            chat_id,
            member,
            if_match=call_with_preconditions(app, owner, "get_chat", chat_id)[1],
        )
    with expect_error(412):
        call_with_preconditions(app, owner, "remove_member", chat_id, member, if_none_match="*")
    call_with_preconditions(app, owner, "remove_member", chat_id, member, if_match="*", if_none_match='"x"')
    with expect_error(404):
        call_with_preconditions(app, owner, "remove_member", chat_id, member, if_match='"x"')


def collect_errors(connection: Connection, chat: tuple[str, str, str, str], if_match: str) -> list[ExpectedError]:
    """Return the errors of calls with this header that are rejected for a reason other than a precondition."""
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
            call_with_preconditions(connection, user, function, *arguments, if_match=if_match)
        found.append(error)
    return found


def test_other_errors_precede_precondition_failed(app: Connection, chat: tuple[str, str, str, str]) -> None:
    assert collect_errors(app, chat, if_match='"x"') == collect_errors(app, chat, if_match="*")


def test_precondition_failed_precedes_the_conflict_of_an_email_address(app: Connection) -> None:
    one, two = new_user(), new_user()
    call(app, one, "update_profile", {"email": f"{one}@example.org"})
    with expect_error(412):
        call_with_preconditions(app, two, "update_profile", {"email": f"{one}@example.org"}, if_match='"x"')
    with expect_error(409):
        call_with_preconditions(app, two, "update_profile", {"email": f"{one}@example.org"}, if_match="*")
