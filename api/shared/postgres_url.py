"""PostgreSQL's URLs: parsed as libpq parses them, and translated to the arguments of asyncpg.

libpq_parameters.py has the table of parameters. Errors are ValueErrors that name parameters and quote no value.
"""

import configparser
import os
import random
import re
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlencode

from api.shared.libpq_parameters import PARAMETERS, Use, find_errors
from api.shared.postgres_tls import SYSTEM_ROOTS, build_tls_arguments

DEFAULT_PORT = "5432"
MAX_PORT = 65_535
_URL = re.compile(
    r"postgres(?:ql)?://(?:(?P<user>[^:@/]*)(?::(?P<password>[^@/]*))?@)?(?P<hosts>[^/?]*)"
    r"(?:/(?P<dbname>[^?]*))?(?:\?(?P<query>.*))?",
    re.DOTALL,
)
_HOST = re.compile(r"(?P<host>\[[^\]]+\]|[^\[\]:]*)(?::(?P<port>[^:]*))?")
_UNENCODED_LOGIN = "must have a percent-encoded user and password: / is %2F, @ is %40"
_FILES = ("sslcert", "sslkey", "sslrootcert", "sslcrl")
_SOCKET_OPTIONS = {  # Systems that lack one ignore it, as libpq does.
    "keepalives_idle": "TCP_KEEPIDLE",
    "keepalives_interval": "TCP_KEEPINTVL",
    "keepalives_count": "TCP_KEEPCNT",
    "tcp_user_timeout": "TCP_USER_TIMEOUT",
}
_INTEGERS = ("connect_timeout", *_SOCKET_OPTIONS)


@dataclass(frozen=True, slots=True)
class ConnectArguments:
    """The arguments of asyncpg.connect(), its settings of the session, and options of the socket."""

    arguments: dict[str, Any]
    server_settings: dict[str, str]
    socket_options: list[tuple[int, int, int]]

    @classmethod
    def parse(cls, url: str) -> "ConnectArguments":
        """Translate a URL. Raises ValueError for a malformed URL, and for parameters that are not accepted."""
        parameters = _read_service(parse_url(url))
        if errors := [*find_errors(parameters), *_find_integer_errors(parameters)]:
            raise ValueError("; ".join(errors))
        tls = build_tls_arguments(parameters)
        query = {name: value for name, value in parameters.items() if PARAMETERS[name].use is Use.PASSED}
        arguments = {"dsn": f"postgresql://?{urlencode(query)}", **_build_hosts(parameters), **tls}
        if (seconds := int(parameters.get("connect_timeout", 0))) > 0:
            arguments["timeout"] = seconds
        name = parameters.get("application_name") or parameters.get("fallback_application_name")
        settings = {"application_name": name, "options": parameters.get("options")}
        server_settings = {name: value for name, value in settings.items() if value}
        return cls(arguments, server_settings, _build_socket_options(parameters))


def check_url(url: str) -> None:
    """Raise ValueError if a URL is malformed, has unacceptable parameters, or names files that cannot be read."""
    parameters = _read_service(parse_url(url))
    paths = {name: parameters[name] for name in _FILES if parameters.get(name, SYSTEM_ROOTS) != SYSTEM_ROOTS}
    if missing := [name for name, path in paths.items() if not os.path.isfile(path)]:  # noqa: PTH113 (raises no error)
        raise ValueError(f"{' and '.join(missing)} must name a file that exists")
    try:
        ConnectArguments.parse(url)
    except OSError:
        raise ValueError(f"{' and '.join(paths)} must name files that can be read") from None


def parse_url(url: str) -> dict[str, str]:
    """Return libpq's parameters in a URL, without those that are empty. Raises ValueError for a malformed URL."""
    match = _URL.fullmatch(url)
    if not match:
        raise ValueError("must be a URL that begins with postgresql:// or postgres://")
    if "@" in match["hosts"]:
        raise ValueError(_UNENCODED_LOGIN)
    hosts, ports = _split_hosts(match["hosts"])
    parameters = {name: match[name] or "" for name in ("user", "password", "dbname")}
    try:
        parameters = {name: unquote(value, errors="strict") for name, value in parameters.items()}
        parameters |= {"host": hosts, "port": ports, **dict(_parse_query(match["query"] or ""))}
    except UnicodeDecodeError:
        raise ValueError("must be percent-encoded UTF-8") from None
    if not parameters["user"] and "@" in f"{match['dbname']}{match['query']}":
        raise ValueError(_UNENCODED_LOGIN)
    if "\0" in "".join(parameters.values()):
        raise ValueError("must not contain NUL")
    return {name: value for name, value in parameters.items() if value}


def _split_hosts(text: str) -> tuple[str, str]:
    """Return the hosts and the ports, each separated by commas, as libpq does."""
    hosts, ports = [], []
    for part in text.split(","):
        match = _HOST.fullmatch(part)
        if not match:
            raise ValueError("must have hosts like name, 192.0.2.1 or [2001:db8::1], each with an optional :port")
        hosts.append(unquote(match["host"].strip("[]")))
        ports.append(unquote(match["port"] or ""))
    return ",".join(hosts) if any(hosts) else "", ",".join(ports) if any(ports) else ""


def _parse_query(query: str) -> Iterator[tuple[str, str]]:
    for pair in query.removesuffix("&").split("&") if query else ():
        name, separator, value = (unquote(part, errors="strict") for part in pair.partition("="))
        if not separator or not name.isidentifier():
            raise ValueError("must have parameters like name=value, separated by &")
        # JDBC's parameter, which libpq accepts too.
        yield ("sslmode", "require") if (name, value) == ("ssl", "true") else (name, value)


def _read_service(parameters: dict[str, str]) -> dict[str, str]:
    """Add the parameters of the service that `service` names. Those of the URL have precedence."""
    if "service" not in parameters:
        return parameters
    file = Path(os.environ.get("PGSERVICEFILE") or Path.home() / ".pg_service.conf")
    common_file = Path(os.environ.get("PGSYSCONFDIR", "/etc/postgresql-common")) / "pg_service.conf"
    for path in (file, common_file):
        parser = configparser.ConfigParser(interpolation=None, delimiters="=", comment_prefixes="#", strict=False)
        try:
            parser.read(path)
        except (configparser.Error, UnicodeDecodeError):
            raise ValueError("service must be in a service file that is well-formed") from None
        if parser.has_section(parameters["service"]):
            return {**{name: value for name, value in parser[parameters["service"]].items() if value}, **parameters}
    raise ValueError("service must name a section of ~/.pg_service.conf or PGSERVICEFILE")


def _find_integer_errors(parameters: dict[str, str]) -> list[str]:
    return [f"{n} must be an integer" for n in _INTEGERS if not re.fullmatch(r"-?\d{1,9}", parameters.get(n, "0"))]


def _build_hosts(parameters: dict[str, str]) -> dict[str, Any]:
    """Return the arguments `host` and `port`, lists of the same length; none for the default, a local socket."""
    hosts = (parameters.get("hostaddr") or parameters.get("host", "")).split(",")
    ports = parameters.get("port", "").split(",")
    ports = ports * len(hosts) if len(ports) == 1 else ports
    if len(ports) != len(hosts):
        raise ValueError("must have one port, or as many as hosts")
    ports = [port or os.environ.get("PGPORT") or DEFAULT_PORT for port in ports]
    if not all(re.fullmatch(r"\d{1,5}", port) and 1 <= int(port) <= MAX_PORT for port in ports):
        raise ValueError(f"port must be 1 to {MAX_PORT}")
    if hosts == [""]:
        return {"port": [int(ports[0])]} if "port" in parameters else {}
    if not all(hosts):
        raise ValueError("host must not be empty in a list of hosts")
    addresses = list(zip(hosts, map(int, ports), strict=True))
    if parameters.get("load_balance_hosts") == "random":
        random.shuffle(addresses)
    return {"host": [host for host, _ in addresses], "port": [port for _, port in addresses]}


def _build_socket_options(parameters: dict[str, str]) -> list[tuple[int, int, int]]:
    """Return options for setsockopt(). As in libpq, keepalives are on by default, and 0 is the system's default."""
    is_kept_alive = parameters.get("keepalives", "1") == "1"
    options = [(socket.SOL_SOCKET, socket.SO_KEEPALIVE, int(is_kept_alive))]
    for name, option in _SOCKET_OPTIONS.items():
        if (value := int(parameters.get(name, 0))) > 0 and hasattr(socket, option):
            options.append((socket.IPPROTO_TCP, getattr(socket, option), value))
    return options
