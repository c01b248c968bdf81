"""Connections of both processes: names of prepared statements, settings of the session, and errors."""

import asyncio
import multiprocessing
import re
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

from api.db import pool
from api.dev.postgres import Postgres
from api.http.errors import UNAVAILABLE_ERRORS
from api.settings import Settings
from api.shared.postgres import SESSION_SETTINGS, Connection, connect
from api.shared.settings import SettingsError
from api.startup_checks import check_database
from listener.database import DATABASE_ERRORS
from tests.tokens import new_user

NAMES = "select name from pg_prepared_statements"
DIFFERENT = {"default_transaction_isolation": "serializable", "standard_conforming_strings": "off"}


def fetch(url: str, *queries: str) -> list[Any]:
    """Return the value of each query, all on one connection."""

    async def fetch_all() -> list[Any]:
        connection = await connect(url)
        try:
            return [await connection.fetchval(query) for query in queries]
        finally:
            connection.terminate()

    return asyncio.run(fetch_all())


def fetch_name(url: str) -> str:
    """Return the name of the first prepared statement of a connection."""
    return str(fetch(url, NAMES)[0])


def test_statements_of_forked_processes_have_different_names(postgres: Postgres, shared_database: str) -> None:
    url = postgres.url(shared_database, "app", "app")
    here = fetch_name(url)
    with multiprocessing.get_context("fork").Pool(2) as processes:
        names = [here, fetch_name(url), *processes.map(fetch_name, [url] * 4)]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"parley_[0-9a-f]{16}_stmt_1", name) for name in names)


def test_names_are_identifiers_of_savepoints_and_portals(postgres: Postgres, shared_database: str) -> None:
    async def use_names() -> list[int]:
        connection = await connect(postgres.url(shared_database, "app", "app"))
        async with connection.transaction(), connection.transaction():
            rows = [row[0] async for row in connection.cursor("select generate_series(1, 3)", prefetch=2)]
        connection.terminate()
        return rows

    assert asyncio.run(use_names()) == [1, 2, 3]


@pytest.mark.parametrize("name", SESSION_SETTINGS)
def test_session_settings_have_precedence_over_all_defaults(
    postgres: Postgres, shared_database: str, name: str
) -> None:
    role = new_user("role").replace("-", "_")
    url = postgres.url(shared_database, role, role)
    with psycopg.connect(postgres.url("postgres"), autocommit=True) as dba:
        dba.execute(f"create role {role} login password '{role}'")
        dba.execute(f"alter role {role} in database {shared_database} set {name} = '{DIFFERENT[name]}'")
        try:
            with psycopg.connect(url) as connection:
                assert connection.execute(f"show {name}").fetchone() == (DIFFERENT[name],)
            options = f"-c%20{name}%3D{DIFFERENT[name]}"
            for parameters in ("", f"?options={options}"):
                assert fetch(url + parameters, f"show {name}") == [SESSION_SETTINGS[name]]
        finally:
            dba.execute(f"drop owned by {role}")
            dba.execute(f"drop role {role}")


@pytest.mark.parametrize(
    ("parameters", "name"),
    [("", "parley"), ("?application_name=chat", "chat"), ("?fallback_application_name=chat", "chat")],
)
def test_application_has_a_name(postgres: Postgres, shared_database: str, parameters: str, name: str) -> None:
    assert fetch(postgres.url(shared_database, "app", "app") + parameters, "show application_name") == [name]


def test_socket_has_the_options_of_the_url(postgres: Postgres, shared_database: str) -> None:
    async def get_options(parameters: str) -> list[int]:
        connection: Connection = await connect(f"{postgres.url(shared_database, 'app', 'app')}?{parameters}")
        connected = connection._transport.get_extra_info("socket")
        names = [(socket.SOL_SOCKET, socket.SO_KEEPALIVE), (socket.IPPROTO_TCP, socket.TCP_KEEPCNT)]
        options = [connected.getsockopt(*name) for name in names]
        connection.terminate()
        return options

    assert asyncio.run(get_options("keepalives_count=3")) == [1, 3]
    assert asyncio.run(get_options("keepalives=0"))[0] == 0


@pytest.mark.usefixtures("minimal_environment")
def test_first_available_host_is_used(
    monkeypatch: pytest.MonkeyPatch, postgres: Postgres, shared_database: str
) -> None:
    url = postgres.url(shared_database, "app", "app").replace("@", "@127.0.0.1:1,")
    assert fetch(f"{url}?target_session_attrs=read-write", "select 1") == [1]
    monkeypatch.setenv("DATABASE_URL", f"{postgres.url(shared_database, 'app', 'app')}?target_session_attrs=standby")
    with pytest.raises(SettingsError, match=r"no connection to PostgreSQL: TargetServerAttributeNotMatched$"):
        asyncio.run(check_database(Settings.load()))


@pytest.mark.usefixtures("minimal_environment")
@pytest.mark.parametrize("options", ["-c%20no_such%3Dhidden", "-c%20work_mem%3Dhidden", "--work-mem%3Dhidden"])
def test_option_that_the_server_rejects_is_named(
    monkeypatch: pytest.MonkeyPatch, postgres: Postgres, shared_database: str, options: str
) -> None:
    monkeypatch.setenv("DATABASE_URL", f"{postgres.url(shared_database, 'app', 'app')}?options={options}")
    with pytest.raises(SettingsError, match=r"the server rejects the parameter (no_such|work_mem)$"):
        asyncio.run(check_database(Settings.load()))


@pytest.mark.usefixtures("minimal_environment")
def test_database_that_does_not_respond_at_the_start_is_named(
    monkeypatch: pytest.MonkeyPatch, postgres: Postgres, new_database: Callable[[str], str]
) -> None:
    name = new_database(f"parley_{new_user().replace('-', '_')}")
    monkeypatch.setenv("DATABASE_URL", postgres.url(name, "app", "app"))
    monkeypatch.setattr(pool, "STATEMENT_TIMEOUT_SECONDS", 0.5)
    with psycopg.connect(postgres.url(name)) as dba:
        dba.execute("lock table parley.repeatable_migrations in access exclusive mode")
        with pytest.raises(SettingsError, match=r"DATABASE_URL: no response of PostgreSQL: TimeoutError$"):
            asyncio.run(check_database(Settings.load()))
    asyncio.run(check_database(Settings.load()))


def test_service_that_was_removed_is_an_outage(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "services"
    file.write_text("")
    monkeypatch.setenv("PGSERVICEFILE", str(file))
    with pytest.raises(ValueError, match="service must name a section") as caught:
        fetch("postgresql:///name?service=parley")
    assert isinstance(caught.value, UNAVAILABLE_ERRORS)
    assert isinstance(caught.value, DATABASE_ERRORS)
