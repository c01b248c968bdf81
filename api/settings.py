"""The settings of the API: typed environment variables. The process does not start if one is missing or malformed."""

from typing import Annotated, Self

from pydantic import (
    AfterValidator,
    AliasChoices,
    BeforeValidator,
    Field,
    HttpUrl,
    SecretStr,
    StringConstraints,
    ValidationError,
    model_validator,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict
from redis.asyncio import ConnectionPool

from api.auth.secrets import find_weakness, split_secrets
from api.http.cors import parse_origins
from api.images.storage import parse_storage_url
from api.shared.logs import LogFormat
from api.shared.settings import PostgresUrl, SettingsError


def check_redis_url(value: SecretStr) -> SecretStr:
    """Check that redis-py accepts a URL and its options."""
    try:
        ConnectionPool.from_url(value.get_secret_value()).make_connection()  # type: ignore[no-untyped-call]
    except (TypeError, ValueError):
        raise ValueError("must be a URL like redis://:password@host:6379/0, rediss://… or unix://…") from None
    return value


def check_storage_url(value: str) -> str:
    """Check that a URL names a directory or a bucket."""
    parse_storage_url(value)
    return value


def check_base_url(value: str) -> str:
    """Check that paths can be appended to a URL, and remove a trailing slash."""
    try:
        url = HttpUrl(value)
    except ValidationError:
        url = None
    if url is None or url.query is not None or url.fragment is not None or url.username or url.password:
        raise ValueError("must be a URL like https://chat.example.org")
    return value.rstrip("/")


def check_secrets(value: SecretStr) -> SecretStr:
    """Check that none of the comma-separated secrets is weak."""
    if error := next(filter(None, map(find_weakness, split_secrets(value.get_secret_value()))), None):
        raise ValueError(f"each secret {error}")
    return value


class Settings(BaseSettings):
    """The settings. Each field is the environment variable with the same name in capitals."""

    model_config = SettingsConfigDict(env_ignore_empty=True, hide_input_in_errors=True)

    database_url: PostgresUrl
    database_pool_size: int = Field(default=10, ge=1, le=1000)
    database_statement_cache_size: int = Field(default=100, ge=0, le=1000)
    database_replica_url: PostgresUrl | None = None
    # In seconds. The response to a write may be delayed by this, so it must be well below the response timeout.
    database_replica_max_lag: float = Field(default=10, ge=1, le=30)
    redis_url: Annotated[SecretStr, AfterValidator(check_redis_url)]
    secret: Annotated[SecretStr, AfterValidator(check_secrets)] = Field(
        validation_alias=AliasChoices("NEXTAUTH_SECRET", "AUTH_SECRET")
    )
    rate_limit_requests: int = Field(default=10, ge=1)
    rate_limit_window: float = Field(default=10, ge=1, le=86_400)
    rate_limit_prefix: str = "@upstash/ratelimit"
    allowed_origins: Annotated[frozenset[str], NoDecode, BeforeValidator(parse_origins)] = Field(
        default=frozenset(), validate_default=False
    )
    trusted_proxies: int = Field(default=0, ge=0, le=32)
    pusher_key: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]+$")] | None = None
    pusher_secret: Annotated[SecretStr, Field(min_length=1)] | None = None
    storage_url: Annotated[str, AfterValidator(check_storage_url)] = "file://./.parley/images"
    public_url: Annotated[str, AfterValidator(check_base_url)] = "http://127.0.0.1:8000"
    web_url: Annotated[str, AfterValidator(check_base_url)] | None = None
    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=1, le=65_535)
    workers: int = Field(default=1, ge=1, le=256)
    log_format: LogFormat = "json"
    log_requests_over: float = Field(default=0.5, ge=0)
    metrics_host: str = "127.0.0.1"
    metrics_port: int | None = Field(default=None, ge=1, le=65_535)

    @model_validator(mode="after")
    def set_default_public_url(self) -> Self:
        """Without PUBLIC_URL, assume that clients are on this machine."""
        if "public_url" not in self.model_fields_set:
            self.public_url = f"http://127.0.0.1:{self.port}"
        return self

    @model_validator(mode="after")
    def check_pusher(self) -> Self:
        """Check that PUSHER_KEY and PUSHER_SECRET are set together."""
        if (self.pusher_key is None) != (self.pusher_secret is None):
            raise ValueError("set both or neither")
        return self

    @property
    def secrets(self) -> list[str]:
        """The secrets that verify session tokens; the first one signs."""
        return split_secrets(self.secret.get_secret_value())

    @classmethod
    def load(cls) -> Self:
        """Read the environment. Raises SettingsError with all errors in one line."""
        try:
            return cls()  # type: ignore[call-arg]  # the fields come from the environment
        except ValidationError as error:
            errors = (f"{get_variable(e['loc'])}: {e['msg'].removeprefix('Value error, ')}" for e in error.errors())
            raise SettingsError("; ".join(errors)) from None


def get_variable(location: tuple[int | str, ...]) -> str:
    """Return the name of the variable that a validation error is about."""
    if not location:
        return "PUSHER_KEY and PUSHER_SECRET"
    return "NEXTAUTH_SECRET or AUTH_SECRET" if location[0] == "NEXTAUTH_SECRET" else str(location[0]).upper()
