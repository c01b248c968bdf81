"""`python -m api`: the HTTP API, configured by environment variables."""

import asyncio
import sys

from api.observability import logs
from api.server import bind_sockets, raise_open_files_limit, serve
from api.settings import Settings
from api.shared.process_memory import protect_memory
from api.shared.settings import SettingsError
from api.startup_checks import (
    check_database,
    check_memory,
    check_metrics,
    check_sandbox,
    check_storage,
    check_temporary_directory,
    check_traces,
)
from api.workers import Workers


def main() -> None:
    """Check the settings, the database and the sockets, then serve until a signal stops the process."""
    protect_memory()
    try:
        settings = Settings.load()
        logs.configure_logging(settings.log_format)
        check_traces()
        asyncio.run(check_database(settings))
        check_storage(settings)
        check_metrics(settings)
        check_temporary_directory()
        servers = bind_sockets(settings)
    except SettingsError as error:
        sys.exit(f"parley: {error}")
    raise_open_files_limit()
    check_sandbox()
    check_memory(settings)
    if settings.workers == 1:
        serve(settings, servers[0])
    else:
        Workers(settings, servers).run()


if __name__ == "__main__":
    main()
