"""A new .env, created by the README's command."""

import tempfile
from pathlib import Path

import pytest

from tests.e2e.compose.services import create_env


@pytest.fixture(scope="module", name="compose_directory")
def _compose_directory(directory: Path) -> Path:
    compose_directory = Path(tempfile.mkdtemp(prefix="compose-", dir=directory))
    compose_directory.chmod(0o755)  # PostgreSQL runs as another user and has its files there
    (compose_directory / "uploads").mkdir()
    return compose_directory


@pytest.fixture(scope="module", name="env_file")
def _env_file(compose_directory: Path) -> Path:
    assert create_env(compose_directory).returncode == 0
    return compose_directory / ".env"


@pytest.fixture(scope="module", name="env")
def _env(env_file: Path) -> dict[str, str]:
    return dict(line.split("=", 1) for line in env_file.read_text().splitlines())
