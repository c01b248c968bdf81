"""`parley token`."""

import secrets

import jwt
import pytest

from tests.e2e.dev import run_parley_token


def test_token_has_the_given_claims_and_is_signed_by_the_first_secret() -> None:
    first, second = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
    done = run_parley_token(
        *("--user", "carol", "--name", "Carol", "--expires", "2d"),
        NEXTAUTH_SECRET=f"{first},{second}",
        AUTH_SECRET=second,
    )
    claims = jwt.decode(done.stdout.strip(), first, algorithms=["HS256"])
    assert (claims["sub"], claims["name"]) == ("carol", "Carol")
    assert claims["exp"] - claims["iat"] == 2 * 86_400
    assert "email" not in claims


@pytest.mark.parametrize(
    ("arguments", "variables", "status", "error"),
    [
        (("--user", "carol"), {}, 1, "set NEXTAUTH_SECRET"),
        (("--user", "carol"), {"AUTH_SECRET": "short"}, 1, "AUTH_SECRET must have at least 32"),
        (("--user", "carol"), {"AUTH_SECRET": "short " * 8}, 1, "AUTH_SECRET must be random"),
        (("--user", "carol", "--expires", "1y"), {}, 2, "'1y' is not a time"),
        (("--user", "carol", "--expires", "0s"), {}, 2, "'0s' is not a time"),
        (("--user", "carol", "--expires", "367d"), {}, 2, "up to 366d"),
        (("--user", " "), {}, 2, "blank"),
    ],
)
def test_invalid_arguments_and_secrets_are_rejected(
    arguments: tuple[str, ...], variables: dict[str, str], status: int, error: str
) -> None:
    done = run_parley_token(*arguments, **variables)
    assert (done.returncode, done.stdout) == (status, "")
    assert error in done.stderr.splitlines()[-1]
    assert "short" not in done.stderr
