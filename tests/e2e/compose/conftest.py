"""A new .env, made by the README's command."""

import tempfile
from pathlib import Path

import pytest

from tests.e2e.compose.services import make_env


@pytest.fixture(scope="module", name="place")
def _place(directory: Path) -> Path:
    place = Path(tempfile.mkdtemp(prefix="compose-", dir=directory))
    place.chmod(0o755)  # PostgreSQL, which runs as another user, has its files there
    return place


@pytest.fixture(scope="module", name="env_file")
def _env_file(place: Path) -> Path:
    assert make_env(place).returncode == 0
    return place / ".env"


@pytest.fixture(scope="module", name="env")
def _env(env_file: Path) -> dict[str, str]:
    return dict(line.split("=", 1) for line in env_file.read_text().splitlines())
