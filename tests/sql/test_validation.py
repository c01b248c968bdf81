"""Validation: both sides of each limit, errors of all invalid fields, in functions and in table constraints."""

import json
from typing import Any

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.dev.postgres import Postgres
from tests.database import Connection, call, connect_rolled_back, expect_error, new_chat
from tests.sql.blanks import BLANKS
from tests.tokens import new_user

INVALID = "The request has invalid fields."


@pytest.mark.parametrize("title", ["x", "x" * 200, "🎉" * 200, " x ", "x\n"])
def test_valid_title_is_stored_as_sent(app: Connection, title: str) -> None:
    assert call(app, new_user(), "create_chat", {"title": title})["title"] == title


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({}, {"title": "is required"}),
        ({"title": "x" * 201}, {"title": "must be 1 to 200 characters"}),
        ({"title": ""}, {"title": "must be 1 to 200 characters"}),
        ({"title": None}, {"title": "must be a string"}),
        ({"title": 1}, {"title": "must be a string"}),
        ({"title": ["x"]}, {"title": "must be a string"}),
        ({"title": "x", "color": "red"}, {"color": "is not a known field"}),
        ({"Title": "x"}, {"Title": "is not a known field", "title": "is required"}),
        *(({"title": blank}, {"title": "must not be blank"}) for blank in BLANKS[1:]),
    ],
)
def test_invalid_title_is_rejected(app: Connection, body: dict[str, Any], fields: dict[str, str]) -> None:
    with expect_error(400) as error:
        call(app, new_user(), "create_chat", body)
    assert error.fields == fields


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({"content": "x" * 32_769}, {"content": "must be 1 to 32768 characters"}),
        ({"content": "上" * 32_769}, {"content": "must be 1 to 32768 characters"}),
        ({"content": " " * 32_768}, {"content": "must not be blank"}),
        ({"content": "x", "type": "video"}, {"type": "must be one of: text, code, image"}),
        ({"content": "x", "type": ""}, {"type": "must be one of: text, code, image"}),
        ({"content": "x", "type": None}, {"type": "must be a string"}),
        (
            {"content": "", "type": "TEXT", "id": 1},
            {
                "content": "must be 1 to 32768 characters",
                "type": "must be one of: text, code, image",
                "id": "is not a known field",
            },
        ),
    ],
)
def test_invalid_message_is_rejected(app: Connection, body: dict[str, Any], fields: dict[str, str]) -> None:
    user = new_user()
    chat = new_chat(app, user)
    message = call(app, user, "send_message", chat, {"content": "x"})["id"]
    with expect_error(400) as error:
        call(app, user, "send_message", chat, body)
    assert error.fields == fields
    with expect_error(400) as error:
        call(app, user, "update_message", chat, message, body)
    assert error.fields == fields
    assert call(app, user, "list_messages", chat)["total"] == 1


@pytest.mark.parametrize("content", ["x", "x" * 32_768, "上" * 32_768, " " * 32_767 + "x", "\\", '"', "%s {} $1"])
def test_valid_content_is_stored_as_sent(app: Connection, content: str) -> None:
    user = new_user()
    chat = new_chat(app, user)
    sent = call(app, user, "send_message", chat, {"content": content})
    assert call(app, user, "get_message", chat, sent["id"])["content"] == content


@pytest.mark.parametrize("body", [[], "x", 1, True, [{"title": "x"}]])
def test_body_must_be_an_object(app: Connection, body: Any) -> None:
    with expect_error(400) as error:
        app.execute("select api.create_chat(%s::jsonb)", [json.dumps(body)])
    assert error.message == "The body must be a JSON object."


def test_body_can_have_100_fields(app: Connection) -> None:
    body = {f"k{n}": {f"k{m}": 1 for m in range(100)} for n in range(100)}
    assert app.execute("select api.parse_json(%s)", [json.dumps(body).encode()]).fetchone() == (body,)
    with expect_error(400) as error:
        call(app, new_user(), "create_chat", {"x" * 200: 1, "title": "x"})
    assert error.fields == {"x" * 100: "is not a known field"}


def test_update_requires_at_least_one_field(app: Connection) -> None:
    user = new_user()
    chat = new_chat(app, user)
    message = call(app, user, "send_message", chat, {"content": "x"})["id"]
    with expect_error(400) as error:
        call(app, user, "update_chat", chat, {})
    assert error.message == "The body must have at least one of: title."
    with expect_error(400) as error:
        call(app, user, "update_message", chat, message, {})
    assert error.message == "The body must have at least one of: content, type."


def test_error_lists_all_invalid_query_parameters(app: Connection) -> None:
    user = new_user()
    chat = new_chat(app, user)
    with expect_error(400) as error:
        call(
            app, user, "list_messages", chat,
            page="0", limit="101", type="video", search="x" * 1001, start_date="now", end_date="2026-02-30",
        )  # fmt: skip
    assert error.fields == {
        "page": "must be a whole number from 1 to 1000000000",
        "limit": "must be a whole number from 1 to 100",
        "type": "must be one of: text, code, image",
        "search": "must be 0 to 1000 characters",
        "startDate": "must be an ISO date or date-time, like 2026-11-23 or 2026-11-23T10:15:30.123Z",
        "endDate": "must be an ISO date or date-time, like 2026-11-23 or 2026-11-23T10:15:30.123Z",
    }


@pytest.mark.parametrize(
    ("name", "valid", "invalid"),
    [
        ("page", ["1", "1000000000", "007"], ["0", "-1", "1.0", "1e3", "abc", "", " 1", "1000000001", "9" * 30]),
        ("limit", ["1", "100"], ["0", "101", "abc", "-5", "+5"]),
        ("search", ["x" * 1000, ""], ["x" * 1001]),
        (
            "start_date",
            ["2026-11-23", "2026-11-23T10:15", "2026-11-23T10:15:30Z", "2024-02-29", "2026-11-23T10:15:30.123456-08"],
            ["now", "today", "infinity", "-infinity", "epoch", "yesterday", "2026-02-30", "2025-02-29", "2026-13-01",
             "2026-11-23T25:00", "2026-11-23 10:15", "23.11.2026", "2026-11", "20261123", "2026-11-23T10:15:30+99:00",
             "0000-01-01", "2026-11-23T", "2026-11-23Z", "12026-01-01", "2026-11-23 BC", ""],
        ),
    ],
)  # fmt: skip
def test_query_parameters_are_validated(app: Connection, name: str, valid: list[str], invalid: list[str]) -> None:
    user = new_user()
    chat = new_chat(app, user)
    for value in valid:
        assert call(app, user, "list_messages", chat, **{name: value})["total"] == 0, value
    for value in invalid:
        with expect_error(400) as error:
            call(app, user, "list_messages", chat, **{name: value})
        assert list(error.fields) == [{"start_date": "startDate"}.get(name, name)], value


@pytest.mark.parametrize(
    ("document", "message", "fields"),
    [
        (b'{"a": "\\u0000"}', "The body has \\u0000, which text may not have.", {}),
        (b'{"a\\u0000": 1}', "The body has \\u0000, which text may not have.", {}),
        (b'{"a": "\\ud800"}', "The body is not valid JSON in UTF-8.", {}),
        (b'{"a": "\xff"}', "The body is not valid JSON in UTF-8.", {}),
        (b'{"a": "\xed\xa0\x80"}', "The body is not valid JSON in UTF-8.", {}),
        (b'{"a": "\x00"}', "The body is not valid JSON in UTF-8.", {}),
        (b'\xef\xbb\xbf{"a": 1}', "The body is not valid JSON in UTF-8.", {}),
        (b"", "The body is not valid JSON in UTF-8.", {}),
        (b"{", "The body is not valid JSON in UTF-8.", {}),
        (b"{'a': 1}", "The body is not valid JSON in UTF-8.", {}),
        (b'{"a": NaN}', "The body is not valid JSON in UTF-8.", {}),
        (b'{"a": 1e400000}', "The body is not valid JSON in UTF-8.", {}),
        (b"[1]", "The body must be a JSON object.", {}),
        (b'{"a": {%s}}' % b",".join(b'"k%d": 1' % n for n in range(101)), INVALID, {"a": "has too many keys"}),
        (b"{%s}" % b",".join(b'"k%d": 1' % n for n in range(101)), "The body has too many fields.", {}),
        (b'{"%s": 1, "%s": 1}' % (b"k" * 200, b"k" * 200), INVALID, {"k" * 100: "is given twice"}),
        (b"[" * 500_000, "The body is not valid JSON in UTF-8.", {}),
        (b'{"a": 1, "a": 2}', INVALID, {"a": "is given twice"}),
        (b'{"a": 1, "\\u0061": 2}', INVALID, {"a": "is given twice"}),
        (b'{"a": {"b": 1, "b": 1}}', INVALID, {"a": "has a key twice"}),
        (b'{"a": [1, {"b": 1}, {"b": 1, "b": 1}]}', INVALID, {"a[2]": "has a key twice"}),
        (b'{"a": [{%s}]}' % b",".join(b'"k%d": 1' % n for n in range(101)), INVALID, {"a[0]": "has too many keys"}),
        (b'{"a": [%s{"b": 1, "b": 1}]}' % (b"1," * 99), INVALID, {"a[99]": "has a key twice"}),
    ],
)
def test_invalid_json_body_is_rejected(app: Connection, document: bytes, message: str, fields: dict[str, str]) -> None:
    with expect_error(400) as error:
        app.execute("select api.parse_json(%s)", [document])
    assert (error.message, error.fields) == (message, fields)


TEXT = st.text(st.characters(exclude_characters="\0", codec="utf-8"))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=20,
)


@given(value=st.dictionaries(TEXT, JSON, max_size=100))
def test_valid_json_body_is_parsed_unchanged(postgres: Postgres, shared_database: str, value: Any) -> None:
    document = json.dumps(value).encode()
    with connect_rolled_back(postgres.url(shared_database, "app", "app")) as connection:
        row = connection.execute("select api.parse_json(%s)", [document]).fetchone()
    assert row == (value,)


@pytest.mark.parametrize(
    ("statement", "constraint"),
    [
        ("update parley.chats set title = repeat('x', 201)", "chats_title_valid"),
        ("update parley.chats set title = E'\\t'", "chats_title_valid"),
        ("update parley.messages set content = ''", "messages_content_valid"),
        ("update parley.messages set content = repeat('x', 32769)", "messages_content_valid"),
        ("update parley.messages set type = 'video'", "messages_type_valid"),
        ("update parley.settings set theme = 'pink'", "settings_theme_valid"),
        ("update parley.settings set response_style = 'rude'", "settings_response_style_valid"),
        ("update parley.settings set context = repeat('x', 10001)", "settings_context_valid"),
        ("update parley.settings set model = repeat('x', 101)", "settings_model_valid"),
        ("update parley.settings set runtime = ' '", "settings_runtime_valid"),
    ],
)
def test_table_constraints_reject_invalid_values(app: Connection, statement: str, constraint: str) -> None:
    user = new_user()
    call(app, user, "send_message", new_chat(app, user), {"content": "x"})
    app.execute("select set_config('parley.user_id', %s, true)", [user])
    app.execute("update parley.settings set context = repeat('x', 10000)")
    with pytest.raises(psycopg.errors.CheckViolation) as caught:
        app.execute(statement)
    assert caught.value.diag.constraint_name == constraint
