"""Settings that both processes have, and the error that rejects the environment."""

from typing import Annotated

from pydantic import AfterValidator, SecretStr


class SettingsError(Exception):
    """Invalid environment variables; the message is one line that names each of them and its error."""


def check_postgres_url(value: SecretStr) -> SecretStr:
    """Check the scheme of a URL; the driver checks the rest. Raises ValueError, which does not quote the URL."""
    if not value.get_secret_value().startswith(("postgresql://", "postgres://")):
        raise ValueError("must be a URL that begins with postgresql:// or postgres://")
    return value


PostgresUrl = Annotated[SecretStr, AfterValidator(check_postgres_url)]
