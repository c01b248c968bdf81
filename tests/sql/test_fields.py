"""The JSON schemas of fields that the database returns accept the same values as its validation."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from api.dev.postgres import Postgres
from tests.database import Connection, call, connect_rolled_back, expect_error
from tests.sql.blanks import BLANKS
from tests.tokens import new_user

NUMBERS = ("page", "limit")
OTHER_NUMBERS = ("seq", "event_limit", "sync_limit", "member_limit")
PUSHER_FIELDS = ("socket_id", "channel_name")
LISTS = ("channel_name[]",)
KEY = "Idempotency-Key"
ANY_CHARACTER = st.characters(codec="utf-8", exclude_characters="\0")


def field_schemas(connection: Connection) -> dict[str, Any]:
    """Return the JSON schemas of all fields by name."""
    row = connection.execute("select api.get_field_schemas()").fetchone()
    assert row
    by_field: dict[str, Any] = row[0]
    return by_field


def is_valid(connection: Connection, field: str, value: str) -> bool:
    """Return whether the database accepts a value of a field."""
    return connection.execute("select where rules.validation_error(%s, %s) is null", [field, value]).rowcount == 1


def test_schemas_of_texts_accept_what_the_database_accepts(postgres: Postgres, shared_database: str) -> None:
    with connect_rolled_back(postgres.url(shared_database, "app", "app")) as app:
        schemas = field_schemas(app)
        texts = sorted(
            name
            for name in schemas
            if name not in {*NUMBERS, *OTHER_NUMBERS, "email", *PUSHER_FIELDS, *LISTS, KEY, "notBlank"}
        )
        enum_values = sorted(value for name in texts for value in schemas[name].get("enum", []))
        blank = st.text(st.sampled_from("".join(BLANKS)) | ANY_CHARACTER, max_size=3)

        @given(field=st.sampled_from(texts), value=st.sampled_from(enum_values) | blank | st.text(ANY_CHARACTER))
        def check(field: str, value: str) -> None:
            assert Draft202012Validator(schemas[field]).is_valid(value) == is_valid(app, field, value)

        check()
        assert len(texts) == 13
        assert not any(Draft202012Validator(schemas[name]).is_valid("x\0") for name in (*texts, *PUSHER_FIELDS))


def test_schema_of_email_allows_all_scripts(app: Connection) -> None:
    assert field_schemas(app)["email"]["format"] == "idn-email"  # not `email`, which is ASCII
    assert is_valid(app, "email", "é@exämple.de")


def test_schemas_have_the_exact_limits_of_lengths(app: Connection) -> None:
    for field, schema in field_schemas(app).items():
        if field == "email" or "maxLength" not in schema:
            continue
        lengths = [schema["minLength"] - 1, schema["minLength"], schema["maxLength"], schema["maxLength"] + 1]
        for length, is_allowed in zip(lengths, (False, True, True, False), strict=True):
            if length >= 0:
                assert is_valid(app, field, "é" * length) == is_allowed, (field, length)


@pytest.mark.parametrize("field", NUMBERS)
def test_schemas_of_numbers_have_the_exact_limits_and_default(app: Connection, field: str) -> None:
    schema, user = field_schemas(app)[field], new_user()
    assert call(app, user, "list_chats")[field] == schema["default"]
    for value in (schema["minimum"], schema["maximum"]):
        assert call(app, user, "list_chats", **{field: str(value)})[field] == value
    for value in (schema["minimum"] - 1, schema["maximum"] + 1):
        with expect_error(400) as error:
            call(app, user, "list_chats", **{field: str(value)})
        assert error.fields == {field: f"must be a whole number from {schema['minimum']} to {schema['maximum']}"}
