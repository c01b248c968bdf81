"""Settings: their defaults, what may be in them, when they change."""

import json
from typing import Any

import pytest

from tests.database import CHOSEN_SETTINGS, DEFAULT_SETTINGS, Connection, call, expect_error
from tests.tokens import new_user
from tests.waiting import next_millisecond

NO_OBJECTS: list[Any] = [None, [], "x", 1, True]


def settings(connection: Connection, user: str) -> dict[str, Any]:
    """The settings as GET answers."""
    answer: dict[str, Any] = call(connection, user, "get_settings")["settings"]
    return answer


def change(connection: Connection, user: str, **changes: Any) -> dict[str, Any]:
    """The settings as PUT answers."""
    answer: dict[str, Any] = call(connection, user, "update_settings", {"settings": changes})["settings"]
    return answer


def test_the_first_request_of_a_user_may_ask_for_settings(app: Connection) -> None:
    user = new_user()
    got = settings(app, user)
    assert list(got) == [*DEFAULT_SETTINGS, "updatedAt"]
    assert got == DEFAULT_SETTINGS | {"updatedAt": got["updatedAt"]}
    assert settings(app, user) == got


def test_the_first_request_of_a_user_may_change_settings(app: Connection) -> None:
    got = change(app, new_user(), theme="dark")
    assert got == DEFAULT_SETTINGS | {"theme": "dark", "updatedAt": got["updatedAt"]}


def test_defaults_are_the_columns(dba: Connection) -> None:
    dba.execute("alter table parley.settings alter column model set default 'next'")
    dba.execute("alter table parley.settings alter column always_show_code set default true")
    got = settings(dba, new_user())
    assert (got["model"], got["alwaysShowCode"]) == ("next", True)


def test_all_at_once_or_one_by_one(app: Connection) -> None:
    one, other = new_user(), new_user()
    got = change(app, one, **CHOSEN_SETTINGS)
    assert got == CHOSEN_SETTINGS | {"isPremium": False, "updatedAt": got["updatedAt"]}
    assert settings(app, one) == got
    for name, value in CHOSEN_SETTINGS.items():
        step = change(app, other, **{name: value})
    assert step | {"updatedAt": ""} == got | {"updatedAt": ""}


def test_what_was_got_can_be_put_back(app: Connection) -> None:
    user = new_user()
    got = settings(app, user)
    assert change(app, user, **got) == got


def test_updated_at_moves_only_with_a_change(dba: Connection) -> None:
    user = new_user()
    before = change(dba, user, **CHOSEN_SETTINGS)["updatedAt"]
    for name in CHOSEN_SETTINGS:
        next_millisecond()
        assert change(dba, user, **CHOSEN_SETTINGS)["updatedAt"] == before
        assert change(dba, user, **{name: DEFAULT_SETTINGS[name]})["updatedAt"] > before, name
        before = change(dba, user, **CHOSEN_SETTINGS)["updatedAt"]
    dba.execute("update parley.settings set is_premium = true where user_id = %s", [user])
    assert settings(dba, user)["updatedAt"] > before


@pytest.mark.parametrize("claimed", [True, False, "yes", None, 1])
def test_premium_is_a_dbas_to_give(dba: Connection, claimed: object) -> None:
    user = new_user()
    assert change(dba, user, isPremium=claimed, theme="dark")["isPremium"] is False
    dba.execute("update parley.settings set is_premium = true where user_id = %s", [user])
    assert change(dba, user, isPremium=claimed, theme="light")["isPremium"] is True


@pytest.mark.parametrize(
    ("name", "good", "bad", "problem"),
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
def test_a_setting_may_be(app: Connection, name: str, good: list[Any], bad: list[Any], problem: str) -> None:
    user = new_user()
    for value in good:
        assert change(app, user, **{name: value})[name] == value
    before = settings(app, user)
    for value in bad:
        with expect_error(400) as error:
            change(app, user, **{name: value, "theme" if name != "theme" else "model": "light"})
        assert error.fields == {name: problem}, value
    assert settings(app, user) == before


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({}, {"settings": "is required"}),
        ({"theme": "dark"}, {"settings": "is required", "theme": "is not a known field"}),
        *(({"settings": other}, {"settings": "must be an object"}) for other in NO_OBJECTS),
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
def test_a_body_may_not_be(app: Connection, body: dict[str, Any], fields: dict[str, str]) -> None:
    with expect_error(400) as error:
        call(app, new_user(), "update_settings", body)
    assert error.fields == fields


@pytest.mark.parametrize("given", [{}, {"isPremium": True}, {"updatedAt": "x", "isPremium": False}])
def test_an_update_has_at_least_one_setting(app: Connection, given: dict[str, object]) -> None:
    with expect_error(400) as error:
        call(app, new_user(), "update_settings", {"settings": given})
    assert error.message == (
        "The body must have at least one of: model, theme, context, runtime, responseStyle, alwaysShowCode."
    )


def test_settings_are_ones_own(app: Connection) -> None:
    one, other = new_user(), new_user()
    change(app, one, theme="dark")
    assert change(app, other, theme="light")["theme"] == "light"
    assert settings(app, one)["theme"] == "dark"


@pytest.mark.parametrize("function", ["get_settings", "update_settings", "get_profile", "update_profile"])
def test_who_is_deleted_during_a_request_is_nobody(dba: Connection, function: str) -> None:
    user = new_user()
    body = {"update_settings": {"settings": {"theme": "dark"}}, "update_profile": {"name": "Ada"}}.get(function)
    arguments = [json.dumps(body)] if body else []
    statement = f"select api.{function}({'%s' * len(arguments)})"
    dba.execute("select session.authenticate(%s)", [json.dumps({"sub": user})])
    assert dba.execute(statement, arguments).fetchone()
    dba.execute("delete from next_auth.users where id = %s", [user])
    with expect_error(401), dba.transaction():
        dba.execute(statement, arguments)


def test_a_user_of_the_web_app_gets_settings_at_the_first_request(dba: Connection) -> None:
    user = new_user()
    dba.execute("insert into next_auth.users (id, name) values (%s, 'Ada')", [user])
    assert settings(dba, user)["theme"] == "system"
    assert call(dba, user, "get_profile")["user"]["name"] == "Ada"
