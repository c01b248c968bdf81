"""`parley dev`: start PostgreSQL, Valkey, Pusher, the API and the listener with demo data, and run until interrupted.

Signals that end the process are blocked from the start and handled only in process.poll_until, so that every started
server is stopped, and stopping is not interrupted.
"""

import asyncio
import contextlib
import logging
import math
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn
from urllib.parse import quote

import asyncpg

from api.dev import demo, node, web_app
from api.dev.api_process import ApiProcess
from api.dev.data_directory import (
    CLIENT_FILE,
    IMAGE_FILE,
    PSQL_FILE,
    WEB_FILE,
    StartError,
    find_last_pusher_port,
    format_variables,
    lock_directory,
    write_private,
)
from api.dev.database import API_USER, DATABASE, LISTENER_USER, ROOT, WEB_USER, migrate
from api.dev.greeting import format_greeting
from api.dev.postgres import Postgres
from api.dev.process import (
    STOP_SIGNALS,
    ChildProcess,
    ProcessFailedError,
    Server,
    find_free_port,
    is_port_free,
    poll_until,
    reserve_port,
)
from api.dev.pusher_process import PusherProcess
from api.dev.valkey import Valkey

WEB_PORT = 3000  # the default port of a Next.js app
WEB_DIRECTORY = "web"  # of the logs of the web app, in the data directory
PUSHER_KEY = "parley-dev"
CHECK_SECONDS = 0.2  # between checks whether a server has exited
# The log shows which request a slow statement belongs to, but no text that users wrote.
POSTGRES_SETTINGS = {
    "log_line_prefix": "%m [%p] %q<%a> ",
    "log_min_duration_statement": "100ms",
    "log_parameter_max_length": "0",
    "log_parameter_max_length_on_error": "0",
}


def main(directory: Path, port: int, fresh: bool, web_port: int | None = None) -> int:
    """Run the stack; return the exit status of the process.

    `fresh` empties the directory first. With `web_port`, the example web app runs on that port too. Changes the signal
    mask, the logging and the environment of the process permanently.
    """
    ignores_hangup = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN  # as nohup does
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS - ({signal.SIGHUP} if ignores_hangup else set()))
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    # libpq's variables would change the meaning of the stack's URLs; AUTH_SECRET is an alias of NEXTAUTH_SECRET.
    for name in [name for name in os.environ if name.startswith("PG") or name == "AUTH_SECRET"]:
        del os.environ[name]
    os.environ.setdefault("ALLOWED_ORIGINS", _format_origins(WEB_PORT))
    os.environ.setdefault("LOG_FORMAT", "text")
    directory = directory.resolve()
    try:
        if web_port:
            _check_web(port, web_port)
        with lock_directory(directory, fresh) as secret, contextlib.ExitStack() as stack:
            _reserve_port(port, "--port")
            if web_port:
                _reserve_port(web_port, "--web")
                _set_web_defaults(web_port)
                web_app.prepare(directory / WEB_DIRECTORY)
            _run(stack, directory, port, secret, web_port)
    except KeyboardInterrupt:
        print(f"Stopped; the data is kept in {directory}", flush=True)
        return 0
    except (StartError, ProcessFailedError, OSError, asyncpg.PostgresError) as error:
        print(f"parley dev: {error}", file=sys.stderr)
    return 1


def _check_web(port: int, web_port: int) -> None:
    if web_port == port:
        raise StartError(f"--port and --web need different ports, and both are {port}")
    web_app.check_sources()
    node.check_versions()


def _reserve_port(port: int, option: str) -> None:
    if not is_port_free(port):
        raise StartError(f"port {port} of 127.0.0.1 is in use or not allowed; {option} takes another one")
    reserve_port(port)  # The API and the web app start last, so no other server may get their ports.


def _format_origins(web_port: int) -> str:
    return ",".join(f"http://{host}:{web_port}" for host in ("localhost", "127.0.0.1"))


def _set_web_defaults(port: int) -> None:
    """Have the API allow pages on this port, and link to them."""
    origins = [*os.environ["ALLOWED_ORIGINS"].split(","), *_format_origins(port).split(",")]
    os.environ["ALLOWED_ORIGINS"] = ",".join(dict.fromkeys(filter(None, origins)))
    os.environ.setdefault("WEB_URL", f"http://localhost:{port}")


def _run(stack: contextlib.ExitStack, directory: Path, port: int, secret: str, web_port: int | None) -> NoReturn:
    """Start everything, and wait until a server exits. Raises ProcessFailedError, or KeyboardInterrupt."""
    print(f"Starting, with data in {directory} …", flush=True)
    valkey = stack.enter_context(Valkey(directory / "valkey"))
    postgres = stack.enter_context(Postgres(directory / "postgres", settings=POSTGRES_SETTINGS))
    pusher = stack.enter_context(PusherProcess(directory / "pusher", find_last_pusher_port(directory), key=PUSHER_KEY))
    passwords = migrate(postgres, directory)
    url = postgres.url(DATABASE, API_USER, passwords[API_USER])
    chat_id = asyncio.run(demo.ensure_demo_data(url))
    environment = {
        "DATABASE_URL": url,
        "REDIS_URL": valkey.url(),
        "NEXTAUTH_SECRET": secret,
        "STORAGE_URL": f"file://{quote(str(directory / 'images'))}",
        "PUBLIC_URL": f"http://127.0.0.1:{port}",
        **pusher.environment,
        **{name: str(find_free_port()) for name in ("METRICS_PORT", "LISTENER_METRICS_PORT")},
        "METRICS_HOST": "127.0.0.1",
    }
    listener_url = postgres.url(DATABASE, LISTENER_USER, passwords[LISTENER_USER])
    listener = _start_listener(environment | {"DATABASE_URL": listener_url})
    stack.callback(listener.stop, signal.SIGTERM)
    api = stack.enter_context(ApiProcess(directory, port, environment))
    _write_files(directory, environment, postgres, passwords)
    servers: list[Server] = [api, postgres, valkey, pusher]
    if web_port:
        variables = web_app.build_variables(environment, web_port)
        web_app.write_environment(variables)
        variables["NEXT_DIST_DIR"] = f".next-{web_port}"  # Stacks share the directory of the example.
        servers.append(stack.enter_context(web_app.WebApp(directory / WEB_DIRECTORY, web_port, variables)))
    print(format_greeting(directory, environment, postgres, chat_id, web_port), flush=True)
    children = [listener, *(server.child for server in servers if server.child)]
    poll_until(lambda: any(child.exit_code is not None for child in children), math.inf, interval=CHECK_SECONDS)
    raise ProcessFailedError("; ".join(child.describe_exit() for child in children if child.exit_code is not None))


def _start_listener(environment: Mapping[str, str]) -> ChildProcess:
    command = [sys.executable, "-m", "listener"]
    return ChildProcess("the listener", command, cwd=ROOT, env={**os.environ, **environment}, umask=0o077)


def _write_files(
    directory: Path, environment: Mapping[str, str], postgres: Postgres, passwords: Mapping[str, str]
) -> None:
    """Write the files for clients, web apps and psql, and the image to upload."""
    pusher = {name: environment[name] for name in ("PUSHER_KEY", "PUSHER_HOST", "PUSHER_PORT", "PUSHER_USE_TLS")}
    write_private(directory / CLIENT_FILE, format_variables({"PUBLIC_URL": environment["PUBLIC_URL"], **pusher}))
    secret = environment["NEXTAUTH_SECRET"]
    # The page calls the API by the host name of Next.js's default address, so that the API receives its cookies.
    public = {"API_URL": environment["PUBLIC_URL"].replace("127.0.0.1", "localhost"), **pusher, "PUSHER_CLUSTER": ""}
    web_url = postgres.url(DATABASE, WEB_USER, passwords[WEB_USER])
    web = {"DATABASE_URL": web_url, "NEXTAUTH_SECRET": secret, "AUTH_SECRET": secret}
    web |= {f"NEXT_PUBLIC_{name}": value for name, value in public.items()}
    write_private(directory / WEB_FILE, format_variables(web))
    psql = {"postgres": postgres.password, API_USER: passwords[API_USER]}
    write_private(directory / PSQL_FILE, "".join(f"*:*:*:{name}:{password}\n" for name, password in psql.items()))
    write_private(directory / IMAGE_FILE, demo.draw_image())
