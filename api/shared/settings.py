"""Settings that both processes have, and the error that rejects the environment."""

from typing import Annotated

from pydantic import AfterValidator, SecretStr

from api.shared.postgres_url import check_url


class SettingsError(Exception):
    """Invalid environment variables; the message is one line that names each of them and its error."""


def check_postgres_url(value: SecretStr) -> SecretStr:
    """Check the syntax of a URL and its parameters. Raises ValueError, which does not quote the URL."""
    check_url(value.get_secret_value())
    return value


PostgresUrl = Annotated[SecretStr, AfterValidator(check_postgres_url)]
