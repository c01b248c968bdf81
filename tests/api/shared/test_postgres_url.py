"""PostgreSQL's URLs are read as libpq reads them, and as managed services write them."""

import re
import socket
from pathlib import Path
from typing import Any

import pytest
from psycopg import pq

from api.shared.postgres_url import ConnectArguments, check_url, parse_url
from tests.api.support import HIDDEN

URLS = [
    "postgresql://",
    "postgresql:///",
    "postgres://host",
    "postgresql://user:password@host:6543/name",
    "postgresql://user:p%40ss%2F%3A%25@host/a%20name",
    "postgresql://user:pa#ss?word@host/name",
    "postgresql://user:a:b@host/name",
    "postgresql://user:@host/",
    "postgresql://user:ü%C3%BC@host/name",
    "postgresql://[::1]:5433/name",
    "postgresql://one:5433,two/name",
    "postgresql://one,two:5434,[2001:db8::1]/name?target_session_attrs=read-write",
    "postgresql:///name?host=/var/run/postgresql&port=5433",
    "postgresql://%2Fvar%2Frun%2Fpostgresql/name",
    "postgresql://user@/name?host=2001:db8::1",
    "postgresql://one,two/name?port=5433",
    "postgresql://host/name?user=me@server&password=a%26b",
    "postgresql://host/name?application_name=a+b&options=-c%20geqo%3Doff",
    "postgresql://host/name?sslmode=&user=user",
    "postgresql://host/name?sslmode=prefer&sslmode=require",
    "postgresql://host/name?ssl=true",
    "postgresql://host/name?sslmode=require&",
]
MANAGED = {
    "Neon": "postgresql://u:p@ep-cool-1.eu-central-1.aws.neon.tech/db?sslmode=require&channel_binding=require",
    "Neon without SNI": "postgresql://u:p@ep-1.aws.neon.tech/db?sslmode=require&options=endpoint%3Dep-1",
    "Supabase": "postgresql://postgres.ref:p@aws-0-eu-central-1.pooler.supabase.com:5432/postgres",
    "Supabase by reference": "postgres://postgres:p@db.supabase.co:6543/postgres?options=reference%3Dref",
    "RDS": "postgresql://u:p@db.1.eu-central-1.rds.amazonaws.com:5432/db?sslmode=require&connect_timeout=10",
    "Azure": "postgres://me%40server:p@server.postgres.database.azure.com/postgres?sslmode=require",
    "Heroku": "postgres://u:p@ec2-1.compute-1.amazonaws.com:5432/d1",
    "DigitalOcean": "postgresql://doadmin:p@db-1.b.db.ondigitalocean.com:25060/defaultdb?sslmode=require",
    "Crunchy Bridge": "postgres://postgres:p@p.1.db.postgresbridge.com:5432/postgres?sslmode=require",
    "Aiven": "postgres://avnadmin:p@pg-1.aivencloud.com:12691/defaultdb?sslmode=require",
    "Cloud SQL": "postgresql://u:p@/db?host=/cloudsql/project:region:instance",
}


def get_error(url: str) -> str:
    with pytest.raises(ValueError, match=r"\A[^\n]+\Z") as caught:
        check_url(url)
    assert HIDDEN not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("url", URLS)
def test_url_is_parsed_as_by_libpq(url: str) -> None:
    options = pq.Conninfo.parse(url.encode())
    assert parse_url(url) == {option.keyword.decode(): option.val.decode() for option in options if option.val}
    check_url(url)


@pytest.mark.parametrize("service", MANAGED)
def test_url_of_a_managed_service_is_accepted(service: str) -> None:
    check_url(MANAGED[service])


def test_parameters_of_prisma_are_named() -> None:
    error = get_error(f"postgresql://u:{HIDDEN}@host:6543/db?pgbouncer=true&connection_limit=1")
    assert error == "pgbouncer is not a parameter of libpq; connection_limit is not a parameter of libpq"


@pytest.mark.parametrize(
    ("url", "error"),
    [
        (f"http://u:{HIDDEN}@host", "begins with postgresql://"),
        (f"postgresql://u:{HIDDEN}/x@host/db", "percent-encoded user and password"),
        (f"postgresql://u:x@{HIDDEN}@host/db", "percent-encoded user and password"),
        (f"postgresql://u:12/db?{HIDDEN.replace('-', '_')}=x@host/db", "percent-encoded user and password"),
        (f"postgresql://u:{HIDDEN}@[::1/db", "must have hosts like"),
        (f"postgresql://u:{HIDDEN}@::1/db", "must have hosts like"),
        (f"postgresql://u:{HIDDEN}@host:{HIDDEN}/db", "port must be 1 to 65535"),
        (f"postgresql://u:{HIDDEN}@host:0/db", "port must be 1 to 65535"),
        (f"postgresql://u:{HIDDEN}@host:65536/db", "port must be 1 to 65535"),
        (f"postgresql://u:{HIDDEN}@one,two,three/db?port=1,2", "as many as hosts"),
        (f"postgresql://u:{HIDDEN}@one,,three/db", "host must not be empty"),
        (f"postgresql://u:{HIDDEN}@host/db?{HIDDEN}", "name=value"),
        (f"postgresql://u:{HIDDEN}@host/db?a%0a=b", "name=value"),
        (f"postgresql://u:{HIDDEN}%00@host/db", "NUL"),
        (f"postgresql://u:{HIDDEN}%ff@host/db", "UTF-8"),
        (f"postgresql://u:{HIDDEN}@host/db?connect_timeout={HIDDEN}", "connect_timeout must be an integer"),
        (f"postgresql://u:{HIDDEN}@host/db?sslrootcert=/no/{HIDDEN}", "sslrootcert must name a file that exists"),
        (f"postgresql://u:x@host/db?sslkey={HIDDEN}{'x' * 300}", "sslkey must name a file that exists"),
        (f"postgresql://u:{HIDDEN}@host/db?service={HIDDEN}", "service must name a section"),
        ("postgresql://host/db?sslrootcert=system&sslmode=require", "sslmode must be verify-full"),
        ("postgresql://host/db?sslnegotiation=direct", "sslmode must be require or verify-ca"),
        ("postgresql://host/db?hostaddr=192.0.2.1&sslmode=verify-full", "hostaddr is not accepted"),
        ("postgresql://host/db?hostaddr=192.0.2.1&channel_binding=require", "hostaddr is not accepted"),
        ("postgresql:///db?host=/run&channel_binding=require", "channel_binding must not be require"),
        ("postgresql:///db?channel_binding=require", "channel_binding must not be require"),
    ],
)
def test_malformed_url_is_rejected(url: str, error: str) -> None:
    assert error in get_error(url)


@pytest.mark.parametrize(
    ("url", "hosts"),
    [
        ("postgresql:///db", {}),
        ("postgresql:///db?port=5433", {"port": [5433]}),
        ("postgresql://a,b:5433,[::1]/db", {"host": ["a", "b", "::1"], "port": [5432, 5433, 5432]}),
        ("postgresql://a/db?hostaddr=192.0.2.1&port=5433", {"host": ["192.0.2.1"], "port": [5433]}),
        ("postgresql:///db?host=/run/postgresql", {"host": ["/run/postgresql"], "port": [5432]}),
    ],
)
def test_hosts_become_arguments(monkeypatch: pytest.MonkeyPatch, url: str, hosts: dict[str, Any]) -> None:
    monkeypatch.delenv("PGPORT", raising=False)
    arguments = ConnectArguments.parse(url).arguments
    assert {name: arguments[name] for name in ("host", "port") if name in arguments} == hosts


def test_load_is_balanced_by_the_order_of_hosts() -> None:
    url = "postgresql://a:1,b:2,c:3,d:4/db?load_balance_hosts="
    orders = {mode: {tuple(parse_order(url + mode)) for _ in range(100)} for mode in ("random", "disable")}
    assert len(orders["random"]) > 1
    assert orders["disable"] == {(("a", 1), ("b", 2), ("c", 3), ("d", 4))}
    assert all(sorted(order) == [("a", 1), ("b", 2), ("c", 3), ("d", 4)] for order in orders["random"])


def parse_order(url: str) -> list[tuple[str, int]]:
    arguments = ConnectArguments.parse(url).arguments
    return list(zip(arguments["host"], arguments["port"], strict=True))


@pytest.mark.parametrize(
    ("parameters", "settings"),
    [
        ("application_name=a&fallback_application_name=b", {"application_name": "a"}),
        ("fallback_application_name=b", {"application_name": "b"}),
        ("options=-c%20geqo%3Doff", {"options": "-c geqo=off"}),
        ("", {}),
    ],
)
def test_parameters_become_settings(parameters: str, settings: dict[str, str]) -> None:
    assert ConnectArguments.parse(f"postgresql://host?{parameters}").server_settings == settings


@pytest.mark.parametrize(("value", "timeout"), [("15", 15), ("0", None), ("-1", None), ("", None)])
def test_connect_timeout_becomes_an_argument(value: str, timeout: int | None) -> None:
    assert ConnectArguments.parse(f"postgresql://host?connect_timeout={value}").arguments.get("timeout") == timeout


def test_keepalives_become_socket_options() -> None:
    def parse_options(parameters: str) -> list[tuple[int, int, int]]:
        return ConnectArguments.parse(f"postgresql://host?{parameters}").socket_options

    assert parse_options("") == [(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)]
    assert parse_options("keepalives=0&keepalives_count=0") == [(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 0)]
    assert (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3) in parse_options("keepalives_count=3")
    assert (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 2) in parse_options("keepalives_interval=2")


def test_service_adds_its_parameters(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "services"
    file.write_text("# A comment\n[parley]\nhost=db.internal\nport=5433\nuser=app\npassword=a%b\nsslmode=require\n")
    monkeypatch.setenv("PGSERVICEFILE", str(file))
    arguments = ConnectArguments.parse("postgresql:///name?service=parley&sslmode=disable").arguments
    assert (arguments["host"], arguments["port"]) == (["db.internal"], [5433])
    assert re.findall(r"(?:user|password|dbname|sslmode)=[^&]*", arguments["dsn"]) == [
        "user=app", "password=a%25b", "sslmode=disable", "dbname=name",
    ]  # fmt: skip
    file.write_text(f"[parley]\nsslmod={HIDDEN}\n")
    assert get_error("postgresql:///name?service=parley").startswith("sslmod is not a parameter")
    file.write_text(HIDDEN)
    assert get_error("postgresql:///name?service=parley").startswith("service must be in a service file")
