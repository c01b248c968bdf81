"""Profiles: what may be in them, whose e-mail address it is, when they change."""

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


def profile(connection: Connection, user: str) -> dict[str, Any]:
    """The user as GET answers."""
    answer: dict[str, Any] = call(connection, user, "get_profile")["user"]
    return answer


def sign_in(connection: Connection, **identity: str) -> dict[str, Any]:
    """The profile that the first request of this identity gets."""
    row = connection.execute(
        "select api.get_profile() from session.authenticate(%s)", [json.dumps(identity)]
    ).fetchone()
    assert row
    answer: dict[str, Any] = row[0]["user"]
    return answer


def test_the_first_request_of_a_user_may_ask_for_the_profile(app: Connection) -> None:
    user = new_user()
    got = sign_in(app, sub=user, name="Ada", email=f"{user}@x.org", picture="https://x.org/a.png")
    updated_at = got.pop("updatedAt")
    assert got == {"id": user, "name": "Ada", "email": f"{user}@x.org", "imageUrl": "https://x.org/a.png"}
    assert profile(app, user)["updatedAt"] == updated_at


def test_an_update_answers_what_is_so_from_now_on(app: Connection) -> None:
    user = new_user()
    answer = call(app, user, "update_profile", {"name": "Ada", "email": f"{user}@x.org"})
    assert list(answer["user"]) == ["name", "email", "updatedAt"]
    assert profile(app, user) == answer["user"] | {"id": user, "imageUrl": None}
    assert call(app, user, "update_profile", {"name": "Ada L."})["user"]["email"] == f"{user}@x.org"
    assert call(app, user, "update_profile", {"email": f"{user}@y.org"})["user"]["name"] == "Ada L."


def test_updated_at_moves_only_with_a_change(dba: Connection) -> None:
    user = new_user()
    before = call(dba, user, "update_profile", {"name": "Ada", "email": f"{user}@x.org"})["user"]["updatedAt"]
    next_millisecond()
    assert call(dba, user, "update_profile", {"name": "Ada", "email": f"{user}@x.org"})["user"]["updatedAt"] == before
    dba.execute('update next_auth.users set "emailVerified" = now() where id = %s', [user])
    assert profile(dba, user)["updatedAt"] == before
    assert call(dba, user, "update_profile", {"email": f"{user}@X.org"})["user"]["updatedAt"] == before
    for change in ({"name": "Ada L."}, {"email": f"{user}@y.org"}):
        after = call(dba, user, "update_profile", change)["user"]["updatedAt"]
        assert after > before
        before = after
        next_millisecond()
    dba.execute("update next_auth.users set image = 'https://x.org/b.png' where id = %s", [user])
    assert profile(dba, user)["updatedAt"] > before


def test_each_change_has_a_later_time(app: Connection) -> None:
    user = new_user()
    times = [call(app, user, "update_profile", {"name": f"Ada {n}"})["user"]["updatedAt"] for n in range(20)]
    assert times == sorted(set(times))


def is_verified(connection: Connection, user: str) -> bool:
    """Whether the user's address counts as verified."""
    query = 'select from next_auth.users where id = %s and "emailVerified" is not null'
    return connection.execute(query, [user]).rowcount == 1


VERIFIED = 'update next_auth.users set email = %s, "emailVerified" = now() where id = %s'


@pytest.mark.parametrize(
    ("before", "after", "stays"),
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
def test_only_an_address_that_differs_in_ascii_case_stays_verified(
    dba: Connection, before: str, after: str, stays: bool
) -> None:
    user = new_user()
    call(dba, user, "get_settings")
    dba.execute(VERIFIED, [before.format(user), user])
    assert is_verified(dba, user)
    call(dba, user, "update_profile", {"name": "Ada", "email": after.format(user)})
    assert is_verified(dba, user) == stays


def test_who_verifies_an_address_may_say_so_as_they_write_it(dba: Connection) -> None:
    user = new_user()
    call(dba, user, "update_profile", {"email": f"{user}@x.org"})
    assert not is_verified(dba, user)
    dba.execute(VERIFIED, [f"{user}@z.org", user])
    assert is_verified(dba, user)


@pytest.mark.parametrize("name", ["x", "x" * 100, "🎉" * 100, " Ada ", "Ada\nL."])
def test_a_name_may_be(app: Connection, name: str) -> None:
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
def test_an_address_may_be(app: Connection, email: str) -> None:
    user = new_user()
    assert call(app, user, "update_profile", {"email": email})["user"]["email"] == email.lower()
    assert profile(app, user)["email"] == email.lower()


def test_an_address_is_stored_as_the_web_app_looks_it_up(dba: Connection) -> None:
    code_points = [c for c in range(0x80, 0x110000) if not 0xD800 <= c < 0xE000]
    addresses = [f"A{chr(c)}B{chr(c)}@X.ORG" for c in code_points]
    addresses += ["ΝΙΚΟΣ@X.GR", "Σ.Σ@X.GR", "ΣΑΣ.@X.GR", "ΣΑΣ.\u0391@ΣΑΣ.GR", "ΣΣ2Σ@X.GR", "İİ@İ.TR"]
    lower = "select array(select rules.lower_email(a) from unnest(%s::text[]) with ordinality u (a, n) order by n)"
    row = dba.execute(lower, [addresses]).fetchone()
    assert row
    unlike = [address for address, stored in zip(addresses, row[0], strict=True) if stored != address.lower()]
    assert unlike == ["A\u212aB\u212a@X.ORG"]  # which would become an address of ASCII
    user = new_user()
    insert = "insert into next_auth.users (id, email) values (%s, %s) returning email"
    assert dba.execute(insert, [user, f"{user}@EXAMPLE.org"]).fetchone() == (f"{user}@example.org",)


UNSEEN = "\u00ad\u034f\u061c\u115f\u180b\u200c\u200d\u2066\u2800\u3164\ufe0f\uffa0\ufff9\ufffe\U000e0041"
FORM = "must be an e-mail address, like ada@example.org"
SIZE = "must be 3 to 254 characters"


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({"name": ""}, {"name": "must be 1 to 100 characters"}),
        ({"name": "x" * 101}, {"name": "must be 1 to 100 characters"}),
        ({"name": "\u3000"}, {"name": "must not be blank"}),
        ({"name": None}, {"name": "must be a string"}),
        ({"email": None}, {"email": "must be a string"}),
        ({"email": ""}, {"email": SIZE}),
        ({"email": f"{LOCAL_64}@{'y' * 63}.{'z' * 63}.{'w' * 58}.org"}, {"email": SIZE}),
        ({"email": f"{LOCAL_64}x@x.org"}, {"email": FORM}),
        *(
            ({"email": email}, {"email": FORM})
            for email in [
                "ada", "ada@", "@x.org", "ada@x", "ada@.org", "ada@x.", "ada@x..org", "ada@-x.org", "ada@x-.org",
                "a@b@x.org", ".ada@x.org", "ada.@x.org", "a..b@x.org", "a b@x.org", " ada@x.org", "ada@x.org ",
                "ada@x.org\n", "ada@x_y.org", "ada@x.org,b@x.org", "Ada <ada@x.org>", '"a b"@x.org', "ada@[127.0.0.1]",
                "a\u200bda@x.org", "ada@x.org\u202e", "ada@\u3000x.org", "a\u00ada@x.org", "ada\\@x.org", "ada@x.org/",
                "ada@1.2.3.4", f"ada@{'y' * 64}.org", "ada@x\u3002org.x", "ada@x\uff0eorg.x", "ada\uff20@x.org",
                *(f"a{unseen}da@x.org" for unseen in UNSEEN), *(f"ada@x{unseen}.org" for unseen in UNSEEN),
            ]
        ),
        ({"email": "ada", "name": "", "id": "x"}, {
            "email": FORM, "name": "must be 1 to 100 characters", "id": "is not a known field"}),
        ({"updatedAt": "2026-11-23T10:15:30.123Z", "name": "Ada"}, {"updatedAt": "is not a known field"}),
    ],
)  # fmt: skip
def test_a_profile_may_not_be(app: Connection, body: dict[str, Any], fields: dict[str, str]) -> None:
    with expect_error(400) as error:
        call(app, new_user(), "update_profile", body)
    assert error.fields == fields


def test_an_update_has_a_name_or_an_address(app: Connection) -> None:
    with expect_error(400) as error:
        call(app, new_user(), "update_profile", {})
    assert error.message == "The body must have at least one of: name, email."


def test_an_address_is_one_users_in_whatever_case(app: Connection) -> None:
    first, second = new_user(), new_user()
    call(app, first, "update_profile", {"email": f"{first}@x.org"})
    for taken in (f"{first}@x.org", f"{first}@X.ORG"):
        with expect_error(409) as error:
            call(app, second, "update_profile", {"email": taken, "name": "Second"})
        assert error.fields == {"email": "is another user's"}
    assert profile(app, second)["name"] is None
    call(app, first, "update_profile", {"email": f"{first}@y.org"})
    assert call(app, second, "update_profile", {"email": f"{first}@x.org"})["user"]["email"] == f"{first}@x.org"


def test_of_many_who_want_one_address_one_gets_it(postgres: Postgres, new_database: Callable[[str], str]) -> None:
    url = postgres.url(new_database("parley_addresses"), "app", "app")

    def want(n: int) -> str | None:
        with psycopg.connect(url, autocommit=True) as connection:
            try:
                call(connection, f"user {n}", "update_profile", {"email": f"{'Aa'[n % 2]}da@x.org"})
            except psycopg.Error as error:
                return error.sqlstate
        return None

    with ThreadPoolExecutor(8) as threads:
        assert sorted(threads.map(want, range(16)), key=str) == [None, *["PT409"] * 15]


def test_nobody_changes_anybody(dba: Connection) -> None:
    users = "select id, name, email, image, updated_at from next_auth.users order by id"
    call(dba, new_user(), "update_profile", {"name": "Ada"})
    before = dba.execute(users).fetchall()
    dba.execute("select set_config('parley.user_id', '', true)")
    for body in ({"name": "x"}, {"email": "x@x.org"}):
        with expect_error(401), dba.transaction():
            dba.execute("select api.update_profile(%s)", [json.dumps(body)])
    assert dba.execute(users).fetchall() == before


def test_a_name_from_a_token_is_cut_to_what_a_name_may_be(app: Connection) -> None:
    assert sign_in(app, sub=new_user(), name="x" * 101)["name"] == "x" * 100
    assert sign_in(app, sub=new_user(), name=" \t")["name"] is None
    assert sign_in(app, sub=new_user(), name="x" * 100)["name"] == "x" * 100


@pytest.mark.parametrize(
    ("email", "known"),
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
def test_an_address_from_a_token_is_one_that_a_profile_may_have(app: Connection, email: str, known: str | None) -> None:
    assert sign_in(app, sub=new_user(), email=email)["email"] == known


@pytest.mark.parametrize(
    ("picture", "is_known"),
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
def test_a_picture_from_a_token_is_at_a_web_address(app: Connection, picture: str, is_known: bool) -> None:
    assert sign_in(app, sub=new_user(), picture=picture)["imageUrl"] == (picture if is_known else None)
