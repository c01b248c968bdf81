"""Settings: defaults, allowed values, and updates."""

import json
from typing import Any

import pytest

from tests.database import CHOSEN_SETTINGS, DEFAULT_SETTINGS, Connection, call, expect_error
from tests.tokens import new_user
from tests.waiting import next_millisecond

NON_OBJECTS: list[Any] = [None, [], "x", 1, True]


def get_settings(connection: Connection, user: str) -> dict[str, Any]:
    """Return the settings of a user."""
    response: dict[str, Any] = call(connection, user, "get_settings")["settings"]
    return response


def update_settings(connection: Connection, user: str, **changes: Any) -> dict[str, Any]:
    """Update settings of a user; return all of them."""
    response: dict[str, Any] = call(connection, user, "update_settings", {"settings": changes})["settings"]
    return response


def test_first_request_of_a_user_can_read_settings(app: Connection) -> None:
    user = new_user()
    got = get_settings(app, user)
    assert list(got) == [*DEFAULT_SETTINGS, "updatedAt"]
    assert got == DEFAULT_SETTINGS | {"updatedAt": got["updatedAt"]}
    assert get_settings(app, user) == got


def test_first_request_of_a_user_can_update_settings(app: Connection) -> None:
    got = update_settings(app, new_user(), theme="dark")
    assert got == DEFAULT_SETTINGS | {"theme": "dark", "updatedAt": got["updatedAt"]}


def test_defaults_are_those_of_the_columns(dba: Connection) -> None:
    dba.execute("alter table parley.settings alter column model set default 'next'")
    dba.execute("alter table parley.settings alter column always_show_code set default true")
    got = get_settings(dba, new_user())
    assert (got["model"], got["alwaysShowCode"]) == ("next", True)


def test_settings_can_be_updated_together_or_one_by_one(app: Connection) -> None:
    one, other = new_user(), new_user()
    got = update_settings(app, one, **CHOSEN_SETTINGS)
    assert got == CHOSEN_SETTINGS | {"isPremium": False, "updatedAt": got["updatedAt"]}
    assert get_settings(app, one) == got
    for name, value in CHOSEN_SETTINGS.items():
        updated = update_settings(app, other, **{name: value})
    assert updated | {"updatedAt": ""} == got | {"updatedAt": ""}


def test_response_of_get_is_a_valid_update(app: Connection) -> None:
    user = new_user()
    got = get_settings(app, user)
    assert update_settings(app, user, **got) == got


def test_updated_at_changes_only_with_a_setting(dba: Connection) -> None:
    user = new_user()
    before = update_settings(dba, user, **CHOSEN_SETTINGS)["updatedAt"]
    for name in CHOSEN_SETTINGS:
        next_millisecond()
        assert update_settings(dba, user, **CHOSEN_SETTINGS)["updatedAt"] == before
        assert update_settings(dba, user, **{name: DEFAULT_SETTINGS[name]})["updatedAt"] > before, name
        before = update_settings(dba, user, **CHOSEN_SETTINGS)["updatedAt"]
    dba.execute("update parley.settings set is_premium = true where user_id = %s", [user])
    assert get_settings(dba, user)["updatedAt"] > before


@pytest.mark.parametrize("claimed", [True, False, "yes", None, 1])
def test_is_premium_can_only_be_changed_by_a_dba(dba: Connection, claimed: object) -> None:
    user = new_user()
    assert update_settings(dba, user, isPremium=claimed, theme="dark")["isPremium"] is False
    dba.execute("update parley.settings set is_premium = true where user_id = %s", [user])
    assert update_settings(dba, user, isPremium=claimed, theme="light")["isPremium"] is True


@pytest.mark.parametrize(
    ("name", "valid", "invalid", "message"),
    [
        ("model", ["x", "x" * 100], ["", "x" * 101], "must be 1 to 100 characters"),
        ("runtime", ["x", "🎉" * 100], ["", "🎉" * 101], "must be 1 to 100 characters"),
        ("context", ["", " ", "x" * 10_000], ["x" * 10_001], "must be 0 to 10000 characters"),
        ("theme", ["light", "dark", "system"], ["", "Dark", "pink"], "must be one of: light, dark, system"),
        ("responseStyle", ["concise", "detailed"], ["", "rude"], "must be one of: concise, detailed"),
        ("alwaysShowCode", [True, False], ["true", 1, 0, None, "", [], {}], "must be true or false"),
        *((name, [], [None, 1, True, [], {}], "must be a string") for name in ("model", "context", "theme")),
        *((name, [], [" ", "\u200b"], "must not be blank") for name in ("model", "runtime")),
    ],
)
def test_settings_are_validated(app: Connection, name: str, valid: list[Any], invalid: list[Any], message: str) -> None:
    user = new_user()
    for value in valid:
        assert update_settings(app, user, **{name: value})[name] == value
    before = get_settings(app, user)
    for value in invalid:
        with expect_error(400) as error:
            update_settings(app, user, **{name: value, "theme" if name != "theme" else "model": "light"})
        assert error.fields == {name: message}, value
    assert get_settings(app, user) == before


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({}, {"settings": "is required"}),
        ({"theme": "dark"}, {"settings": "is required", "theme": "is not a known field"}),
        *(({"settings": other}, {"settings": "must be an object"}) for other in NON_OBJECTS),
        (
            {"settings": {"theme": "pink", "model": 1, "color": "red"}, "user": "x"},
            {
                "theme": "must be one of: light, dark, system",
                "model": "must be a string",
                "color": "is not a known field",
                "user": "is not a known field",
            },
        ),
        ({"settings": {"theme": "dark"}, "user": "x"}, {"user": "is not a known field"}),
        ({"settings": {"is_premium": True}}, {"is_premium": "is not a known field"}),
    ],
)
def test_invalid_body_is_rejected(app: Connection, body: dict[str, Any], fields: dict[str, str]) -> None:
    with expect_error(400) as error:
        call(app, new_user(), "update_settings", body)
    assert error.fields == fields


@pytest.mark.parametrize("changes", [{}, {"isPremium": True}, {"updatedAt": "x", "isPremium": False}])
def test_update_requires_at_least_one_setting(app: Connection, changes: dict[str, object]) -> None:
    with expect_error(400) as error:
        call(app, new_user(), "update_settings", {"settings": changes})
    assert error.message == (
        "The body must have at least one of: model, theme, context, runtime, responseStyle, alwaysShowCode."
    )


def test_settings_belong_to_a_user(app: Connection) -> None:
    one, other = new_user(), new_user()
    update_settings(app, one, theme="dark")
    assert update_settings(app, other, theme="light")["theme"] == "light"
    assert get_settings(app, one)["theme"] == "dark"


@pytest.mark.parametrize("function", ["get_settings", "update_settings", "get_profile", "update_profile"])
def test_user_deleted_during_a_request_is_unauthorized(dba: Connection, function: str) -> None:
    user = new_user()
    body = {"update_settings": {"settings": {"theme": "dark"}}, "update_profile": {"name": "Ada"}}.get(function)
    arguments = [json.dumps(body)] if body else []
    statement = f"select api.{function}({'%s' * len(arguments)})"
    dba.execute("select session.authenticate(%s)", [json.dumps({"sub": user})])
    assert dba.execute(statement, arguments).fetchone()
    dba.execute("delete from next_auth.users where id = %s", [user])
    with expect_error(401), dba.transaction():
        dba.execute(statement, arguments)


def test_user_created_by_the_web_app_has_default_settings(dba: Connection) -> None:
    user = new_user()
    dba.execute("insert into next_auth.users (id, name) values (%s, 'Ada')", [user])
    assert get_settings(dba, user)["theme"] == "system"
    assert call(dba, user, "get_profile")["user"]["name"] == "Ada"
