"""Settings that the listener rejects at its start: one line that names the variable, and no secret."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest

from api.dev.postgres import Postgres
from api.shared.settings import SettingsError
from listener.__main__ import check_database
from listener.settings import Settings
from tests.listener.conftest import Harness
from tests.waiting import wait_until

HIDDEN = "hidden-word"
VALID_VARIABLES = {
    "DATABASE_URL": "postgresql://events:events@127.0.0.1/parley",
    "PUSHER_APP_ID": "1",
    "PUSHER_KEY": "key",
    "PUSHER_SECRET": HIDDEN,
    "PUSHER_CLUSTER": "eu",
}


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set valid variables."""
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    for name, value in VALID_VARIABLES.items():
        monkeypatch.setenv(name, value)


def get_load_error() -> str:
    """Return the error of loading the settings, which is one line without secrets."""
    with pytest.raises(SettingsError) as caught:
        Settings.load()
    error = str(caught.value)
    assert "\n" not in error
    assert HIDDEN not in error
    return error


def get_database_error(settings: Settings) -> str:
    """Return the error of checking the database."""
    with pytest.raises(SettingsError) as caught:
        asyncio.run(check_database(settings))
    assert HIDDEN not in str(caught.value)
    return str(caught.value)


def load_pusher_options(monkeypatch: pytest.MonkeyPatch, **variables: str) -> dict[str, Any]:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return Settings.load().pusher_options


def test_pusher_options_are_built_from_the_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_pusher_options(monkeypatch)["cluster"] == "eu"
    assert HIDDEN not in repr(Settings.load())
    changed = load_pusher_options(
        monkeypatch, PUSHER_HOST="soketi.internal", PUSHER_PORT="6001", PUSHER_USE_TLS="false"
    )
    assert changed | {"secret": ""} == {
        "app_id": "1", "key": "key", "secret": "", "host": "soketi.internal", "port": 6001, "ssl": False,
    }  # fmt: skip


def test_default_retention_is_a_week(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Settings.load().outbox_retention_days == 7
    monkeypatch.setenv("OUTBOX_RETENTION_DAYS", "0.5")
    assert Settings.load().outbox_retention_days == 0.5


@pytest.mark.parametrize("name", VALID_VARIABLES)
def test_missing_variable_is_named(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.delenv(name)
    expected = "PUSHER_CLUSTER or PUSHER_HOST" if name == "PUSHER_CLUSTER" else name
    assert get_load_error().startswith(f"{expected}: ")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DATABASE_URL", f"http://{HIDDEN}@host"),
        ("DATABASE_URL", f"postgresql://u:{HIDDEN}@host:port/db"),
        ("DATABASE_URL", f"postgresql://u:{HIDDEN}@host/db?sslmod={HIDDEN}"),
        ("PUSHER_APP_ID", "one"),
        ("PUSHER_KEY", "a/b"),
        ("PUSHER_CLUSTER", "eu/../x"),
        ("PUSHER_HOST", "http://soketi"),
        *(("PUSHER_PORT", value) for value in ("0", "65536", "x")),
        ("PUSHER_USE_TLS", "perhaps"),
        *(("LISTENER_METRICS_PORT", value) for value in ("0", "65536", "x")),
        ("LOG_FORMAT", "yaml"),
        *(("OUTBOX_RETENTION_DAYS", value) for value in ("-1", "3651", "week", "nan")),
    ],
)
def test_malformed_variable_is_named(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    assert get_load_error().startswith(f"{name}: ")


def test_unreachable_database_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", f"postgresql://u:{HIDDEN}@127.0.0.1:1/db")
    assert "no connection to PostgreSQL" in get_database_error(Settings.load())


@contextmanager
def ungranted_role(postgres: Postgres) -> Iterator[str]:
    """Create a role without grants for the block."""
    with psycopg.connect(postgres.url("postgres"), autocommit=True) as dba:
        dba.execute(f"create role ungranted login password '{HIDDEN}'")
        yield "ungranted"
        dba.execute("drop role ungranted")


def test_database_without_parley_or_a_grant_is_rejected(
    monkeypatch: pytest.MonkeyPatch, postgres: Postgres, shared_database: str
) -> None:
    with ungranted_role(postgres) as role:
        for url in (postgres.url("postgres"), postgres.url(shared_database, role, HIDDEN)):
            monkeypatch.setenv("DATABASE_URL", url)
            error = get_database_error(Settings.load())
            assert "run `yoyo apply --batch` and grant it parley_listener" in error


def test_invalid_variable_ends_the_process_with_one_line(harness: Harness) -> None:
    listener = harness.new_listener(PUSHER_APP_ID="one").spawn()
    child = listener.child
    assert child is not None
    wait_until(lambda: child.exit_code is not None)
    assert child.exit_code == 1
    (line,) = listener.log.read_text().splitlines()
    assert line.startswith("parley-listener: PUSHER_APP_ID: ")
    listener.stop()
