"""What the environment may be wrong in, for either process."""

from typing import Annotated

from pydantic import AfterValidator, SecretStr


class SettingsError(Exception):
    """One line for whoever starts the process: which variables are wrong, and how."""


def postgres_url(value: SecretStr) -> SecretStr:
    """A check of the scheme; the driver looks at the rest. What a check says holds nothing of the URL."""
    if not value.get_secret_value().startswith(("postgresql://", "postgres://")):
        raise ValueError("must be a URL that begins with postgresql:// or postgres://")
    return value


PostgresUrl = Annotated[SecretStr, AfterValidator(postgres_url)]
