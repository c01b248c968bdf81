"""The listener's settings, from environment variables. An invalid or missing one is an error that names it."""

from typing import Annotated, Any, Self

from pydantic import Field, SecretStr, StringConstraints, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from api.shared.logs import LogFormat
from api.shared.settings import PostgresUrl, SettingsError

PusherName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]+$")]


class Settings(BaseSettings):
    """Each field is the environment variable of the same name in capitals."""

    model_config = SettingsConfigDict(env_ignore_empty=True, hide_input_in_errors=True)

    database_url: PostgresUrl
    pusher_app_id: Annotated[str, StringConstraints(pattern=r"^[0-9]+$")]
    pusher_key: PusherName
    pusher_secret: Annotated[SecretStr, Field(min_length=1)]
    pusher_cluster: PusherName | None = None
    pusher_host: PusherName | None = None
    pusher_port: int | None = Field(default=None, ge=1, le=65_535)
    pusher_use_tls: bool = True
    outbox_retention_days: float = Field(default=7, ge=0, le=3650)
    log_format: LogFormat = "json"
    metrics_host: str = "127.0.0.1"
    listener_metrics_port: int | None = Field(default=None, ge=1, le=65_535)

    @model_validator(mode="after")
    def require_cluster_or_host(self) -> Self:
        """Require a cluster of Pusher's, or the host of another server with the same protocol."""
        if not (self.pusher_cluster or self.pusher_host):
            raise ValueError("one of them is required")
        return self

    @property
    def pusher_options(self) -> dict[str, Any]:
        """The arguments of the `pusher` package's client. A host takes precedence over a cluster."""
        server = {"host": self.pusher_host} if self.pusher_host else {"cluster": self.pusher_cluster}
        return {
            "app_id": self.pusher_app_id,
            "key": self.pusher_key,
            "secret": self.pusher_secret.get_secret_value(),
            "ssl": self.pusher_use_tls,
            "port": self.pusher_port,
            **server,
        }

    @classmethod
    def load(cls) -> Self:
        """Read the environment. Raises SettingsError, which lists all errors in one line."""
        try:
            return cls()  # type: ignore[call-arg]  # The environment has the values.
        except ValidationError as error:
            messages = (f"{get_variable(e)}: {e['msg'].removeprefix('Value error, ')}" for e in error.errors())
            raise SettingsError("; ".join(messages)) from None


def get_variable(error: Any) -> str:
    """Return the name of the invalid environment variable."""
    return str(error["loc"][0]).upper() if error["loc"] else "PUSHER_CLUSTER or PUSHER_HOST"
