"""`parley token`, and the stack whose secret it uses.

A stack runs on a directory for as long as it holds the lock, which the tests hold in its place.
"""

import secrets
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import jwt
import pytest

from api.dev.data_directory import get_default_directory, is_running, lock_directory
from tests.e2e.dev import run_parley, run_parley_token, temporary_directory


@pytest.fixture(name="directory")
def _directory() -> Iterator[Path]:
    with temporary_directory() as directory:
        yield directory


def sign_by_stack(directory: Path, *arguments: str, secret: str = "") -> str:
    """Run `parley token` in a directory, with this secret in the environment; return the token."""
    done = run_parley(directory, "token", "--user", "carol", *arguments, AUTH_SECRET=secret)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def is_signed(signed: str, secret: str) -> bool:
    try:
        jwt.decode(signed, secret, algorithms=["HS256"])
    except jwt.InvalidSignatureError:
        return False
    return True


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
        (("--user", "carol"), {}, 1, "set NEXTAUTH_SECRET, or run `parley dev` first: no stack runs in /"),
        (("--user", "carol", "--data", "data"), {}, 1, "data is not a data directory of `parley dev`"),
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


def test_running_stack_is_used_whatever_its_port(directory: Path) -> None:
    stopped, running = (directory / get_default_directory(port) for port in (8000, 8001))
    with lock_directory(stopped, fresh=False) as old_secret:
        assert is_signed(sign_by_stack(directory), old_secret)
    with lock_directory(running, fresh=False) as secret:
        assert (is_running(stopped), is_running(running)) == (False, True)
        assert is_signed(sign_by_stack(directory), secret)
        assert is_signed(sign_by_stack(directory, "--data", ".parley/8000"), old_secret)
        other = secrets.token_urlsafe(32)
        assert is_signed(sign_by_stack(directory, secret=other), other)
        assert is_signed(sign_by_stack(directory, "--data", ".parley/8001", secret=other), secret)
    done = run_parley(directory, "token", "--user", "carol")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"parley token: set NEXTAUTH_SECRET, or run `parley dev` first: no stack runs in {directory / '.parley'}\n"
    )


@pytest.mark.parametrize(("command", "arguments"), [("token", ()), ("listen", ("chat",))])
def test_several_running_stacks_are_listed(directory: Path, command: str, arguments: tuple[str, ...]) -> None:
    with ExitStack() as stacks:
        for port in (8001, 8000):
            stacks.enter_context(lock_directory(directory / get_default_directory(port), fresh=False))
        done = run_parley(directory, command, *arguments, "--user", "carol")
    assert (done.returncode, done.stdout) == (1, "")
    listed = "--data .parley/8000, --data .parley/8001"
    assert done.stderr == f"parley {command}: several stacks run, choose one of them: {listed}\n"


def test_stack_starts_while_its_directory_is_probed(directory: Path) -> None:
    with lock_directory(directory, fresh=False) as secret:
        pass
    with ThreadPoolExecutor(1) as threads:
        stop = threading.Event()

        def probe() -> None:
            while not stop.is_set():
                is_running(directory)

        probing = threads.submit(probe)
        for _ in range(200):
            with lock_directory(directory, fresh=False) as locked:
                assert locked == secret
        stop.set()
        probing.result()
