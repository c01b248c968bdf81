"""TLS with a PostgreSQL that accepts no other connections, by the parameters of DATABASE_URL."""

import asyncio
import os
import ssl
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from api.dev.account import find_account
from api.dev.postgres import Postgres
from api.dev.pusher_process import PusherProcess
from api.settings import Settings
from api.shared.postgres import connect
from api.shared.settings import SettingsError
from api.startup_checks import check_database
from tests.api.support import post_chat, unlimited_client
from tests.api_process import Api, running
from tests.certificates import Issuer
from tests.conftest import QUICK
from tests.listener.process import Listener, running_listener
from tests.servers import migrate

pytestmark = pytest.mark.e2e

IS_ENCRYPTED = "select ssl from pg_stat_ssl where pid = pg_backend_pid()"
ONLY_TLS = "hostssl all all 127.0.0.1/32 scram-sha-256\n"


@dataclass
class TlsServer:
    """A PostgreSQL with TLS and a migrated database; its certificate is for `localhost`."""

    postgres: Postgres
    issuer: Issuer
    other_issuer: Issuer

    def url(self, parameters: str = "", host: str = "localhost", login: str = "app") -> str:
        """Return a URL; {issuer} and {other} in `parameters` become the files of the issuers' certificates."""
        files = {"issuer": self.issuer.certificate, "other": self.other_issuer.certificate}
        return f"postgresql://{login}:{login}@{host}:{self.postgres.port}/parley?{parameters.format(**files)}"


def find_programs() -> Path:
    """Find a PostgreSQL that was built with TLS, unlike the wheel; skip the test if there is none."""
    candidates = [os.environ.get("PARLEY_TEST_POSTGRES", ""), *map(str, Path("/usr/lib/postgresql").glob("*/bin"))]
    for programs in filter(None, candidates):
        command = [f"{programs}/pg_config", "--configure"]
        configuration = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        if "--with-openssl" in configuration or "--with-ssl" in configuration:
            return Path(programs)
    pytest.skip("there is no PostgreSQL with TLS in PARLEY_TEST_POSTGRES or /usr/lib/postgresql")


@pytest.fixture(scope="module")
def server(directory: Path) -> Iterator[TlsServer]:
    programs = find_programs()
    files = directory / "certificates"
    files.mkdir()
    issuer, other_issuer = (Issuer(files, name) for name in ("issuer", "other"))
    certificate, key = issuer.issue("server", "localhost")
    if account := find_account():
        os.chown(key, account.pw_uid, account.pw_gid)
    settings = {**QUICK, "ssl_cert_file": str(certificate), "ssl_key_file": str(key)}
    settings["ssl_ca_file"] = str(issuer.certificate)
    with Postgres(directory / "postgres-tls", bin_dir=programs, settings={**settings, "ssl": "on"}) as postgres:
        migrate(postgres)
        (postgres.data / "pg_hba.conf").write_text(ONLY_TLS)
        with psycopg.connect(postgres.url("postgres"), autocommit=True) as dba:
            dba.execute("select pg_reload_conf()")
        yield TlsServer(postgres, issuer, other_issuer)


async def fetch(url: str, query: str) -> str:
    connection = await connect(url)
    try:
        return str(await connection.fetchval(query))
    finally:
        connection.terminate()


def get_start_error(monkeypatch: pytest.MonkeyPatch, url: str) -> str:
    """Return the error with which the API does not start."""
    monkeypatch.setenv("DATABASE_URL", url)
    with pytest.raises(SettingsError, match=r"\ADATABASE_URL: [^\n]+\Z") as caught:
        asyncio.run(check_database(Settings.load()))
    return str(caught.value).removeprefix("DATABASE_URL: ")


@pytest.mark.parametrize(
    ("parameters", "host"),
    [
        ("", "127.0.0.1"),
        ("sslmode=allow", "127.0.0.1"),
        ("sslmode=require", "127.0.0.1"),
        ("sslmode=require&channel_binding=prefer&gssencmode=prefer&sslcompression=0", "127.0.0.1"),
        ("sslmode=require&sslrootcert={issuer}", "127.0.0.1"),
        ("sslmode=verify-ca&sslrootcert={issuer}", "127.0.0.1"),
        ("sslmode=verify-full&sslrootcert={issuer}", "localhost"),
        ("sslmode=verify-full&sslrootcert={issuer}&ssl_min_protocol_version=TLSv1.3", "localhost"),
        ("sslmode=require&channel_binding=require&sslrootcert={issuer}", "localhost"),
        ("sslmode=require&hostaddr=127.0.0.1", "no-such-host.invalid"),
    ],
)
def test_connection_is_encrypted(server: TlsServer, parameters: str, host: str) -> None:
    assert asyncio.run(fetch(server.url(parameters, host), IS_ENCRYPTED)) == "True"


@pytest.mark.usefixtures("minimal_environment")
@pytest.mark.parametrize(
    ("parameters", "host", "error"),
    [
        ("sslmode=disable", "localhost", "InvalidAuthorizationSpecificationError"),
        ("sslmode=require&sslrootcert={other}", "localhost", "certificate is not valid"),
        ("sslmode=verify-ca&sslrootcert={other}", "localhost", "certificate is not valid"),
        ("sslmode=verify-full&sslrootcert={issuer}", "127.0.0.1", "certificate names another host"),
        ("channel_binding=require&sslrootcert={issuer}", "127.0.0.1", "certificate names another host"),
        ("channel_binding=require", "localhost", "certificate is not valid"),
        ("sslrootcert=system", "localhost", "certificate is not valid"),
        ("sslmode=require&sslcert={issuer}", "localhost", "SSLError"),
    ],
)
def test_unusable_connection_is_reported(
    monkeypatch: pytest.MonkeyPatch, server: TlsServer, parameters: str, host: str, error: str
) -> None:
    assert error in get_start_error(monkeypatch, server.url(parameters, host))


@pytest.mark.parametrize("parameters", ["sslrootcert=system", "sslmode=require&channel_binding=require"])
def test_root_certificates_of_the_system_verify_the_server(
    monkeypatch: pytest.MonkeyPatch, server: TlsServer, parameters: str
) -> None:
    monkeypatch.setenv(ssl.get_default_verify_paths().openssl_cafile_env, str(server.issuer.certificate))
    assert asyncio.run(fetch(server.url(parameters), IS_ENCRYPTED)) == "True"


@pytest.mark.parametrize("roots", ["sslmode=verify-full&sslrootcert={issuer}", "sslrootcert=system"])
def test_client_sends_its_certificate(monkeypatch: pytest.MonkeyPatch, server: TlsServer, roots: str) -> None:
    monkeypatch.setenv(ssl.get_default_verify_paths().openssl_cafile_env, str(server.issuer.certificate))
    certificate, key = server.issuer.issue("client")
    query = "select client_dn from pg_stat_ssl where pid = pg_backend_pid()"
    url = server.url(f"{roots}&sslcert={certificate}&sslkey={key}")
    assert asyncio.run(fetch(url, query)) == "/CN=client"
    assert asyncio.run(fetch(server.url(roots), query)) == "None"


def test_both_processes_start_with_the_url_that_psql_takes(
    server: TlsServer, new_api: Callable[..., Api], directory: Path
) -> None:
    parameters = (
        "sslmode=verify-full&sslrootcert={issuer}&channel_binding=require&connect_timeout=10&application_name=chat"
        "&options=-c%20geqo%3Doff&keepalives_idle=30&target_session_attrs=read-write&gssencmode=disable"
    )
    names = "select usename from pg_stat_activity where application_name = 'chat' order by 1"
    with psycopg.connect(server.url(parameters)) as connection:  # with libpq
        assert connection.execute("show geqo").fetchone() == ("off",)
    api = new_api("", DATABASE_URL=server.url(parameters))
    with PusherProcess(directory / "pusher-tls") as pusher, running(api), unlimited_client(api) as client:
        assert post_chat(client).status_code == 201
        listener = Listener(directory, server.url(parameters, login="events"), pusher)
        with running_listener(listener), psycopg.connect(server.postgres.url("postgres")) as dba:
            assert {name for (name,) in dba.execute(names)} == {"app", "events"}
