"""Profiles: validation, uniqueness and verification of e-mail addresses, and updates."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest

from api.dev.postgres import Postgres
from tests.database import Connection, call, expect_error
from tests.tokens import new_user
from tests.waiting import next_millisecond

LOCAL_64 = "x" * 64


def get_profile(connection: Connection, user: str) -> dict[str, Any]:
    """Return the profile of a user."""
    response: dict[str, Any] = call(connection, user, "get_profile")["user"]
    return response


def sign_in(connection: Connection, **identity: str) -> dict[str, Any]:
    """Authenticate as an identity; return its profile."""
    row = connection.execute(
        "select api.get_profile() from session.authenticate(%s)", [json.dumps(identity)]
    ).fetchone()
    assert row
    response: dict[str, Any] = row[0]["user"]
    return response


def test_first_request_of_a_user_can_read_the_profile(app: Connection) -> None:
    user = new_user()
    got = sign_in(app, sub=user, name="Ada", email=f"{user}@x.org", picture="https://x.org/a.png")
    updated_at = got.pop("updatedAt")
    assert got == {"id": user, "name": "Ada", "email": f"{user}@x.org", "imageUrl": "https://x.org/a.png"}
    assert get_profile(app, user)["updatedAt"] == updated_at


def test_update_returns_the_updated_fields(app: Connection) -> None:
    user = new_user()
    response = call(app, user, "update_profile", {"name": "Ada", "email": f"{user}@x.org"})
    assert list(response["user"]) == ["name", "email", "updatedAt"]
    assert get_profile(app, user) == response["user"] | {"id": user, "imageUrl": None}
    assert call(app, user, "update_profile", {"name": "Ada L."})["user"]["email"] == f"{user}@x.org"
    assert call(app, user, "update_profile", {"email": f"{user}@y.org"})["user"]["name"] == "Ada L."


def test_updated_at_changes_only_with_a_field(dba: Connection) -> None:
    user = new_user()
    before = call(dba, user, "update_profile", {"name": "Ada", "email": f"{user}@x.org"})["user"]["updatedAt"]
    next_millisecond()
    assert call(dba, user, "update_profile", {"name": "Ada", "email": f"{user}@x.org"})["user"]["updatedAt"] == before
    dba.execute('update next_auth.users set "emailVerified" = now() where id = %s', [user])
    assert get_profile(dba, user)["updatedAt"] == before
    assert call(dba, user, "update_profile", {"email": f"{user}@X.org"})["user"]["updatedAt"] == before
    for change in ({"name": "Ada L."}, {"email": f"{user}@y.org"}):
        after = call(dba, user, "update_profile", change)["user"]["updatedAt"]
        assert after > before
        before = after
        next_millisecond()
    dba.execute("update next_auth.users set image = 'https://x.org/b.png' where id = %s", [user])
    assert get_profile(dba, user)["updatedAt"] > before


def test_updated_at_increases_with_each_change(app: Connection) -> None:
    user = new_user()
    times = [call(app, user, "update_profile", {"name": f"Ada {n}"})["user"]["updatedAt"] for n in range(20)]
    assert times == sorted(set(times))


def is_verified(connection: Connection, user: str) -> bool:
    """Return whether the e-mail address of a user is verified."""
    query = 'select from next_auth.users where id = %s and "emailVerified" is not null'
    return connection.execute(query, [user]).rowcount == 1


VERIFY_EMAIL = 'update next_auth.users set email = %s, "emailVerified" = now() where id = %s'


@pytest.mark.parametrize(
    ("before", "after", "remains_verified"),
    [
        ("{}@x.org", "{}@X.ORG", True),
        ("{}@X.ORG", "{}@x.org", True),
        ("ü-{}@x.org", "ü-{}@X.org", True),
        ("{}@x.org", "{}@y.org", False),
        ("alİce-{}@x.org", "alice-{}@x.org", False),
        ("alice-{}@x.org", "alİce-{}@x.org", False),
        ("al\u0131ce-{}@x.org", "alice-{}@x.org", False),
        ("\u212aelvin-{}@x.org", "kelvin-{}@x.org", False),
        ("kelvin-{}@x.org", "\u212aelvin-{}@x.org", False),
        ("{}@x.\u212aom", "{}@x.kom", False),
        ("\uff41-{}@x.org", "a-{}@x.org", False),
        ("ß-{}@x.org", "ss-{}@x.org", False),
        ("ς-{}@x.org", "\u03c3-{}@x.org", False),
    ],
)
def test_email_remains_verified_if_only_its_ascii_case_changes(
    dba: Connection, before: str, after: str, remains_verified: bool
) -> None:
    user = new_user()
    call(dba, user, "get_settings")
    dba.execute(VERIFY_EMAIL, [before.format(user), user])
    assert is_verified(dba, user)
    call(dba, user, "update_profile", {"name": "Ada", "email": after.format(user)})
    assert is_verified(dba, user) == remains_verified


def test_web_app_can_set_and_verify_an_email_in_one_statement(dba: Connection) -> None:
    user = new_user()
    call(dba, user, "update_profile", {"email": f"{user}@x.org"})
    assert not is_verified(dba, user)
    dba.execute(VERIFY_EMAIL, [f"{user}@z.org", user])
    assert is_verified(dba, user)


@pytest.mark.parametrize("name", ["x", "x" * 100, "🎉" * 100, " Ada ", "Ada\nL."])
def test_valid_name_is_stored_as_sent(app: Connection, name: str) -> None:
    assert call(app, new_user(), "update_profile", {"name": name})["user"]["name"] == name


@pytest.mark.parametrize(
    "email",
    [
        "a@b.c",
        "ada.lovelace+chat@mail.example.org",
        "o'brien_{}|!#$%&*/=?^`~-@x-y--z.example",
        "Ada@EXAMPLE.org",
        "юзер@почта.рф",
        "用户@例子.公司",
        f"{LOCAL_64}@{'y' * 63}.{'z' * 63}.{'w' * 57}.org",
        "1@2.3a",
        f"ada@{'y' * 63}.org",
    ],
)
def test_valid_email_is_stored_in_lower_case(app: Connection, email: str) -> None:
    user = new_user()
    assert call(app, user, "update_profile", {"email": email})["user"]["email"] == email.lower()
    assert get_profile(app, user)["email"] == email.lower()


def test_email_is_lower_cased_as_the_web_app_does(dba: Connection) -> None:
    code_points = [c for c in range(0x80, 0x110000) if not 0xD800 <= c < 0xE000]
    addresses = [f"A{chr(c)}B{chr(c)}@X.ORG" for c in code_points]
    addresses += ["ΝΙΚΟΣ@X.GR", "Σ.Σ@X.GR", "ΣΑΣ.@X.GR", "ΣΑΣ.\u0391@ΣΑΣ.GR", "ΣΣ2Σ@X.GR", "İİ@İ.TR"]
    lower = "select array(select rules.lower_email(a) from unnest(%s::text[]) with ordinality u (a, n) order by n)"
    row = dba.execute(lower, [addresses]).fetchone()
    assert row
    different = [address for address, stored in zip(addresses, row[0], strict=True) if stored != address.lower()]
    assert different == ["A\u212aB\u212a@X.ORG"]  # lower() would make this an ASCII address
    user = new_user()
    insert = "insert into next_auth.users (id, email) values (%s, %s) returning email"
    assert dba.execute(insert, [user, f"{user}@EXAMPLE.org"]).fetchone() == (f"{user}@example.org",)
    with pytest.raises(psycopg.errors.UniqueViolation), dba.transaction():
        dba.execute(insert, [new_user(), f"{user}@Example.ORG"])


INVISIBLE = "\u00ad\u034f\u061c\u115f\u180b\u200c\u200d\u2066\u2800\u3164\ufe0f\uffa0\ufff9\ufffe\U000e0041"
EMAIL_FORMAT = "must be an e-mail address, like ada@example.org"
EMAIL_LENGTH = "must be 3 to 254 characters"


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({"name": ""}, {"name": "must be 1 to 100 characters"}),
        ({"name": "x" * 101}, {"name": "must be 1 to 100 characters"}),
        ({"name": "\u3000"}, {"name": "must not be blank"}),
        ({"name": None}, {"name": "must be a string"}),
        ({"email": None}, {"email": "must be a string"}),
        ({"email": ""}, {"email": EMAIL_LENGTH}),
        ({"email": f"{LOCAL_64}@{'y' * 63}.{'z' * 63}.{'w' * 58}.org"}, {"email": EMAIL_LENGTH}),
        ({"email": f"{LOCAL_64}x@x.org"}, {"email": EMAIL_FORMAT}),
        *(
            ({"email": email}, {"email": EMAIL_FORMAT})
            for email in [
                "ada", "ada@", "@x.org", "ada@x", "ada@.org", "ada@x.", "ada@x..org", "ada@-x.org", "ada@x-.org",
                "a@b@x.org", ".ada@x.org", "ada.@x.org", "a..b@x.org", "a b@x.org", " ada@x.org", "ada@x.org ",
                "ada@x.org\n", "ada@x_y.org", "ada@x.org,b@x.org", "Ada <ada@x.org>", '"a b"@x.org', "ada@[127.0.0.1]",
                "a\u200bda@x.org", "ada@x.org\u202e", "ada@\u3000x.org", "a\u00ada@x.org", "ada\\@x.org", "ada@x.org/",
                "ada@1.2.3.4", f"ada@{'y' * 64}.org", "ada@x\u3002org.x", "ada@x\uff0eorg.x", "ada\uff20@x.org",
                *(f"a{character}da@x.org" for character in INVISIBLE),
                *(f"ada@x{character}.org" for character in INVISIBLE),
            ]
        ),
        ({"email": "ada", "name": "", "id": "x"}, {
            "email": EMAIL_FORMAT, "name": "must be 1 to 100 characters", "id": "is not a known field"}),
        ({"updatedAt": "2026-11-23T10:15:30.123Z", "name": "Ada"}, {"updatedAt": "is not a known field"}),
    ],
)  # fmt: skip
def test_invalid_profile_is_rejected(app: Connection, body: dict[str, Any], fields: dict[str, str]) -> None:
    with expect_error(400) as error:
        call(app, new_user(), "update_profile", body)
    assert error.fields == fields


def test_update_requires_a_name_or_an_email(app: Connection) -> None:
    with expect_error(400) as error:
        call(app, new_user(), "update_profile", {})
    assert error.message == "The body must have at least one of: name, email."


def test_email_is_unique_regardless_of_case(app: Connection) -> None:
    first, second = new_user(), new_user()
    call(app, first, "update_profile", {"email": f"{first}@x.org"})
    for used_email in (f"{first}@x.org", f"{first}@X.ORG"):
        with expect_error(409) as error:
            call(app, second, "update_profile", {"email": used_email, "name": "Second"})
        assert error.fields == {"email": "is another user's"}
    assert get_profile(app, second)["name"] is None
    call(app, first, "update_profile", {"email": f"{first}@y.org"})
    assert call(app, second, "update_profile", {"email": f"{first}@x.org"})["user"]["email"] == f"{first}@x.org"


def test_one_of_many_concurrent_updates_gets_an_email(postgres: Postgres, new_database: Callable[[str], str]) -> None:
    url = postgres.url(new_database("parley_addresses"), "app", "app")

    def update_email(n: int) -> str | None:
        with psycopg.connect(url, autocommit=True) as connection:
            try:
                call(connection, f"user {n}", "update_profile", {"email": f"{'Aa'[n % 2]}da@x.org"})
            except psycopg.Error as error:
                return error.sqlstate
        return None

    with ThreadPoolExecutor(8) as threads:
        assert sorted(threads.map(update_email, range(16)), key=str) == [None, *["PT409"] * 15]


def test_update_without_a_user_is_rejected(dba: Connection) -> None:
    users = "select id, name, email, image, updated_at from next_auth.users order by id"
    call(dba, new_user(), "update_profile", {"name": "Ada"})
    before = dba.execute(users).fetchall()
    dba.execute("select set_config('parley.user_id', '', true)")
    for body in ({"name": "x"}, {"email": "x@x.org"}):
        with expect_error(401), dba.transaction():
            dba.execute("select api.update_profile(%s)", [json.dumps(body)])
    assert dba.execute(users).fetchall() == before


def test_name_from_a_token_is_truncated_to_100_characters(app: Connection) -> None:
    assert sign_in(app, sub=new_user(), name="x" * 101)["name"] == "x" * 100
    assert sign_in(app, sub=new_user(), name=" \t")["name"] is None
    assert sign_in(app, sub=new_user(), name="x" * 100)["name"] == "x" * 100


@pytest.mark.parametrize(
    ("email", "stored"),
    [
        ("", None),
        (" \t", None),
        ("ada@localhost", None),
        ("Ada <ada@x.org>", None),
        (f"{LOCAL_64}@{'y' * 63}.{'z' * 63}.{'w' * 58}.org", None),
        (f"{LOCAL_64}@{'y' * 63}.{'z' * 63}.{'w' * 57}.org",) * 2,
        ("Ada@Token.example.org", "ada@token.example.org"),
    ],
)
def test_email_from_a_token_is_stored_only_if_it_is_valid(app: Connection, email: str, stored: str | None) -> None:
    assert sign_in(app, sub=new_user(), email=email)["email"] == stored


@pytest.mark.parametrize(
    ("picture", "is_stored"),
    [
        ("https://x.org/a.png", True),
        ("HTTP://x", True),
        ("https://x.org:8443?size=é#a", True),
        ("https://x.org/" + "y" * 1986, True),
        ("https://x.org/" + "y" * 1987, False),
        ("", False),
        ("a.png", False),
        ("//x.org/a.png", False),
        ("https://", False),
        ("https:///a.png", False),
        ("ftp://x.org/a.png", False),
        ("javascript:alert(1)", False),
        ("data:image/png;base64,iVBORw0KGgo=", False),
        (" https://x.org/a.png", False),
        ("https://x.org/a.png\n", False),
        ("https://x.org/a b.png", False),
        ("https://x.org/a\u202eb.png", False),
        ('https://x.org/a.png"onerror="alert(1)', False),
        ("https://x.org/<b>", False),
        ("https://x.org\\a.png", False),
    ],
)
def test_picture_from_a_token_is_stored_only_if_it_is_an_http_url(
    app: Connection, picture: str, is_stored: bool
) -> None:
    assert sign_in(app, sub=new_user(), picture=picture)["imageUrl"] == (picture if is_stored else None)
