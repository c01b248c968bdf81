"""What fields may be, as the database tells it in the words of JSON Schema, is what it lets through."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from api.dev.postgres import Postgres
from tests.database import Connection, call, connect_rolled_back, expect_error
from tests.sql.test_validation import BLANKS
from tests.tokens import new_user

NUMBERS = ("page", "limit")
OF_EVENTS = ("seq", "events")
PUSHERS = ("socket_id", "channel_name")
KEY = "Idempotency-Key"
ANY_CHARACTER = st.characters(codec="utf-8", exclude_characters="\0")


def schemas(connection: Connection) -> dict[str, Any]:
    row = connection.execute("select api.get_field_schemas()").fetchone()
    assert row
    told: dict[str, Any] = row[0]
    return told


def lets_through(connection: Connection, field: str, value: str) -> bool:
    return connection.execute("select where rules.validation_error(%s, %s) is null", [field, value]).rowcount == 1


def test_texts_are_let_through_as_they_are_told(postgres: Postgres, shared_database: str) -> None:
    with connect_rolled_back(postgres.url(shared_database, "app", "app")) as app:
        told = schemas(app)
        texts = sorted(name for name in told if name not in {*NUMBERS, *OF_EVENTS, "email", *PUSHERS, KEY, "notBlank"})
        words = sorted(word for name in texts for word in told[name].get("enum", []))
        blank = st.text(st.sampled_from("".join(BLANKS)) | ANY_CHARACTER, max_size=3)

        @given(field=st.sampled_from(texts), value=st.sampled_from(words) | blank | st.text(ANY_CHARACTER))
        def check(field: str, value: str) -> None:
            assert Draft202012Validator(told[field]).is_valid(value) == lets_through(app, field, value)

        check()
        assert len(texts) == 12
        assert not any(Draft202012Validator(told[name]).is_valid("x\0") for name in (*texts, *PUSHERS))


def test_an_address_may_be_in_any_script(app: Connection) -> None:
    assert schemas(app)["email"]["format"] == "idn-email"  # not `email`, which is ASCII
    assert lets_through(app, "email", "é@exämple.de")


def test_lengths_are_told_to_the_character(app: Connection) -> None:
    for field, told in schemas(app).items():
        if field == "email" or "maxLength" not in told:
            continue
        lengths = [told["minLength"] - 1, told["minLength"], told["maxLength"], told["maxLength"] + 1]
        for length, fits in zip(lengths, (False, True, True, False), strict=True):
            if length >= 0:
                assert lets_through(app, field, "é" * length) == fits, (field, length)


@pytest.mark.parametrize("field", NUMBERS)
def test_numbers_are_taken_as_they_are_told(app: Connection, field: str) -> None:
    told, user = schemas(app)[field], new_user()
    assert call(app, user, "list_chats")[field] == told["default"]
    for value in (told["minimum"], told["maximum"]):
        assert call(app, user, "list_chats", **{field: str(value)})[field] == value
    for value in (told["minimum"] - 1, told["maximum"] + 1):
        with expect_error(400) as error:
            call(app, user, "list_chats", **{field: str(value)})
        assert error.fields == {field: f"must be a whole number from {told['minimum']} to {told['maximum']}"}
