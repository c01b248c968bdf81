"""Checks before the start: each raises SettingsError with one line that names the variable, or logs a warning."""

import logging
import os
import tempfile
from pathlib import Path

import asyncpg

from api.db.pool import Database
from api.images.reencode import sandbox
from api.images.reencode_capacity import is_memory_scarce
from api.images.storage import Storage
from api.server import bind_socket
from api.settings import Settings
from api.shared import traces
from api.shared.postgres import describe_connection_error
from api.shared.settings import SettingsError

logger = logging.getLogger("parley.api")

MAX_PORT = 65_535
CONNECT_ERRORS = (
    OSError, ValueError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError,
)  # fmt: skip
MEMORY_FILE_SYSTEMS = {"tmpfs", "ramfs"}


async def check_database(settings: Settings) -> None:
    """Check that PostgreSQL is available and has a Parley database whose row-level security applies to the role."""
    try:
        database = await Database.connect(settings)
    except CONNECT_ERRORS as error:
        raise SettingsError(f"DATABASE_URL: no connection to PostgreSQL: {describe_connection_error(error)}") from None
    try:
        await database.fetch_value("select api.check_readiness()")
        await check_statement_cache(database)
    except (asyncpg.InvalidSchemaNameError, asyncpg.UndefinedFunctionError, asyncpg.InsufficientPrivilegeError):
        message = "no Parley database for this role: run `yoyo apply --batch` and grant it parley_api"
        raise SettingsError(f"DATABASE_URL: {message}") from None
    except asyncpg.PostgresError as error:
        raise SettingsError(f"DATABASE_URL: {error.args[0]}") from None
    except CONNECT_ERRORS as error:
        raise SettingsError(f"DATABASE_URL: no response of PostgreSQL: {describe_connection_error(error)}") from None
    finally:
        await database.close()


async def check_statement_cache(database: Database) -> None:
    """Check that the statement cache is not used with a pooler that passes the names of prepared statements on.

    Such a pooler executes a prepared statement on a connection that may not have it.
    """
    if not await database.supports_statement_cache():
        raise SettingsError(
            "DATABASE_STATEMENT_CACHE_SIZE: must be 0, since the pooler in DATABASE_URL does not rename prepared "
            "statements, as PgBouncer 1.21 and later do with max_prepared_statements"
        )


def check_storage(settings: Settings) -> None:
    """Check that the directory for images is writable. A bucket is not checked, since it may be available later."""
    try:
        Storage.open(settings.storage_url)
    except OSError as error:
        raise SettingsError(f"STORAGE_URL: can't write to {error.filename}: {error.strerror}") from None


def check_metrics(settings: Settings) -> None:
    """Check that each worker can listen on its port for Prometheus."""
    if settings.metrics_port is None:
        return
    for port in range(settings.metrics_port, settings.metrics_port + settings.workers):
        if port == settings.port or port > MAX_PORT:
            reason = "PORT" if port == settings.port else "no port"
            raise SettingsError(f"METRICS_PORT: {port}, which a worker needs, is {reason}")
        try:
            bind_socket(settings.metrics_host, port).close()
        except OSError as error:
            message = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror
            address = f"{settings.metrics_host}:{port}"
            raise SettingsError(f"METRICS_HOST or METRICS_PORT: can't listen on {address}: {message}") from None


def check_traces() -> None:
    """Check that traces can be sent as OpenTelemetry's variables require."""
    if error := traces.find_configuration_error():
        raise SettingsError(error)


def check_temporary_directory() -> None:
    """Check that TMPDIR, in which uploads are received, is writable: Python would silently use another directory."""
    required = os.environ.get("TMPDIR")
    if required and Path(tempfile.gettempdir()).resolve() != Path(required).resolve():
        raise SettingsError(f"TMPDIR: can't write to {required}")


def get_file_system(directory: Path) -> str:
    """Return the type of the file system of a directory; "" on other systems than Linux."""
    try:
        lines = Path("/proc/self/mountinfo").read_text().splitlines()
    except OSError:
        return ""
    # The last of the deepest mounts hides the others.
    mounts = [(line.split(" ")[4], line.partition(" - ")[2].split(" ")[0]) for line in lines]
    covering = [
        (len(mount), number, kind) for number, (mount, kind) in enumerate(mounts) if directory.is_relative_to(mount)
    ]
    return max(covering, default=(0, 0, ""))[2]


def check_sandbox() -> None:
    """Log a warning if images are decoded without a sandbox: on other systems than Linux, or without seccomp."""
    if not sandbox.is_available():
        logger.warning("Images are decoded without a sandbox: this system has no seccomp filters")


def check_memory(settings: Settings) -> None:
    """Log a warning if memory is too small for the workers and one decoder, or if uploads in progress occupy it."""
    if is_memory_scarce(settings.workers):
        logger.warning(
            "The memory is too small for WORKERS=%s and an image: add memory or lower WORKERS",
            settings.workers,
        )
    directory = Path(tempfile.gettempdir()).resolve()
    if get_file_system(directory) in MEMORY_FILE_SYSTEMS:
        logger.warning("Uploads in progress are kept in memory, in %s: set TMPDIR to a directory on disk", directory)
