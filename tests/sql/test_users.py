"""Users are found by their whole e-mail address, with name and picture only, and added to chats by it."""

import json

import pytest

from tests.database import Connection, call, expect_error, new_chat
from tests.tokens import new_user

BOTH = {"userId": "cannot be combined with email", "email": "cannot be combined with userId"}
NEITHER = {"userId": "is required unless email is given", "email": "is required unless userId is given"}
NO_EMAIL = "must be an e-mail address, like ada@example.org"


def new_address(connection: Connection, user: str) -> str:
    """Register a user with a name, a picture and an e-mail address; return the address."""
    address = f"{user}@example.org"
    identity = {"sub": user, "name": "Ada", "email": address, "picture": "https://x.org/a.png"}
    connection.execute("select session.authenticate(%s)", [json.dumps(identity)])
    return address


def test_user_is_found_by_an_address_in_any_case(app: Connection) -> None:
    user = new_user()
    address = new_address(app, user)
    found = {"users": [{"id": user, "name": "Ada", "imageUrl": "https://x.org/a.png"}]}
    for sent in (address, address.upper(), address.title()):
        assert call(app, new_user(), "list_users", sent) == found


def test_address_with_letters_outside_ascii_is_found_in_any_case(app: Connection) -> None:
    user = new_user()
    call(app, user, "update_profile", {"email": f"Ö.{user}@Exämple.org"})
    for sent in (f"ö.{user}@exämple.org", f"Ö.{user}@EXÄMPLE.ORG"):
        assert [found["id"] for found in call(app, new_user(), "list_users", sent)["users"]] == [user]


def test_no_part_and_no_pattern_of_an_address_finds_a_user(app: Connection) -> None:
    user = new_user()
    address = new_address(app, user)
    assert len(call(app, new_user(), "list_users", address)["users"]) == 1
    for other in (f"%{address[1:]}", address.replace("-", "_"), f"{address}g", address[1:], new_user() + "@x.org"):
        assert call(app, new_user(), "list_users", other) == {"users": []}


@pytest.mark.parametrize(
    ("email", "error"),
    [
        (None, "is required"), ("", "must be 3 to 254 characters"), ("ada", NO_EMAIL), ("%@example.org%", NO_EMAIL),
        ("a@b", NO_EMAIL), ("x" * 300 + "@example.org", "must be 3 to 254 characters"), ("   ", "must not be blank"),
    ],
)  # fmt: skip
def test_missing_or_malformed_address_is_an_error(app: Connection, email: str | None, error: str) -> None:
    with expect_error(400) as caught:
        call(app, new_user(), "list_users", email)
    assert caught.fields == {"email": error}


def test_users_find_themselves_in_their_first_request(app: Connection) -> None:
    user = new_user()
    identity = {"sub": user, "email": f"{user}@example.org"}
    query = "select api.list_users(%s) from session.authenticate(%s)"
    row = app.execute(query, [identity["email"], json.dumps(identity)]).fetchone()
    assert row == ({"users": [{"id": user, "name": None, "imageUrl": None}]},)


def test_deleted_user_is_not_found(dba: Connection) -> None:
    address = new_address(dba, "deleted")
    assert len(call(dba, "other", "list_users", address)["users"]) == 1
    dba.execute("delete from next_auth.users where id = 'deleted'")
    assert call(dba, "other", "list_users", address) == {"users": []}


def test_session_without_a_user_finds_nobody(app: Connection) -> None:
    address = new_address(app, new_user())
    app.execute("select set_config('parley.user_id', '', true)")
    with expect_error(401), app.transaction():
        app.execute("select api.list_users(%s)", [address])


# Adding by e-mail address


def test_member_is_added_by_an_address_in_any_case(app: Connection) -> None:
    owner, first, second = new_user(), new_user(), new_user()
    chat = new_chat(app, owner)
    for user, address in ((first, new_address(app, first)), (second, new_address(app, second).upper())):
        added = call(app, owner, "add_member", chat, {"email": address})
        assert list(added) == ["userId", "name", "image", "role", "joinedAt", "lastReadMessageId"]
        assert (added["userId"], added["name"], added["role"]) == (user, "Ada", "member")
        with expect_error(409):
            call(app, owner, "add_member", chat, {"email": address})
    listed = call(app, owner, "list_members", chat)["members"]
    assert {member["userId"] for member in listed} == {owner, first, second}


@pytest.mark.parametrize(
    ("body", "errors"),
    [
        ({}, NEITHER),
        ({"userId": "bob", "email": "bob@example.org"}, BOTH),
        ({"email": "nobody@example.org"}, {"email": "is not a known user"}),
        ({"email": "bob"}, {"email": NO_EMAIL}),
        ({"email": None}, {"email": "must be a string"}),
        ({"email": ["a@b.org"], "x": 1}, {"email": "must be a string", "x": "is not a known field"}),
        ({"x": 1}, NEITHER | {"x": "is not a known field"}),
    ],
)
def test_member_is_named_by_exactly_one_of_two_fields(
    app: Connection, body: dict[str, object], errors: dict[str, str]
) -> None:
    owner = new_user()
    chat = new_chat(app, owner)
    with expect_error(400) as error:
        call(app, owner, "add_member", chat, body)
    assert error.fields == errors
    with expect_error(400) as error:
        call(app, owner, "add_member", chat, [body])
    assert error.message == "The body must be a JSON object."


def test_only_the_owner_learns_whether_an_address_is_known(app: Connection) -> None:
    owner, member, user = new_user(), new_user(), new_user()
    chat = new_chat(app, owner, member)
    address = new_address(app, user)
    errors = []
    for email in (address, f"no-{address}"):
        with expect_error(403) as error:
            call(app, member, "add_member", chat, {"email": email})
        errors.append(error)
        with expect_error(404):
            call(app, user, "add_member", chat, {"email": email})
    assert errors[0] == errors[1]
    assert call(app, owner, "add_member", chat, {"email": address})["userId"] == user
