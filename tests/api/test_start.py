"""What the API refuses to start with: one line that names the variable, and never a secret."""

import asyncio
import os
import secrets
import socket
import subprocess
import sys
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psycopg
import pytest

from api.__main__ import check_database, check_metrics, check_storage, listen
from api.dev.postgres import Postgres
from api.dev.process import find_free_port
from api.settings import Settings
from api.shared.settings import SettingsError
from tests.support import ROOT, SECRET, Api

GOOD = {
    "DATABASE_URL": "postgresql://app:app@127.0.0.1/parley",
    "REDIS_URL": "redis://127.0.0.1:6379/0",
    "NEXTAUTH_SECRET": SECRET,
}
HIDDEN = "hidden-word"
WEAK_SECRETS = [
    "a" * 44,
    "abc" * 15,
    "0123456789abcdef" * 2,
    "0a1b2c3d" * 8,
    "aaaabbbbccccddddaaaabbbbccccdddd!",
    *(
        f"{before}{word}{after}Kq7vT2mZx9Lw4Rb8Ns3Hd6Yf1Gj5"
        for before, after in (("", "-"), ("x_", "_"))
        for word in (
            "secret",
            "secrets",
            "supersecret",
            "CHANGEME",
            "change",
            "Replace",
            "your",
            "password",
            "example",
            "placeholder",
            "generate",
            "generated",
            "insert",
            "openssl",
            "default",
        )
    ),
    *(f"Kq7vT2mZx9{piece}Rb8Ns3Hd6Yf1Gj5" for piece in ("12345678", "87654321", "abcdefgh", "qwertyui", "DeadBeef")),
    "a-string-secret-at-least-256-bits-long",
    "MySuperSecretKeyForJWTTokenGeneration",
    "thisisaverylongsecretkeythatislongenough",
    "00112233445566778899aabbccddeeff",
    "404E635266556A586E3272357538782F413F4428472B4B6250645367566B5970",
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHA",
    "q8Zk\udcff\udcfeT3xWmV7nB2yLpD9sQ4jF6hA3bC7eD1gY4",
    "INp8IvdIyeMcoGAgFGoA61DdBglwwSqnXJZkgz8PSnw",
    "LlKq6ZtYbr+hTC073mAmAh9/h2HwMfsFo4hrfCx5mLg=",
    "MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAu1SU1LfVLPHCozMxH2Mo",
    "MIIDdzCCAl+gAwIBAgIEAgAAuTANBgkqhkiG9w0BAQUFADBaMQswCQYDVQQGEwJJ",
    "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=",
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl",
]


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment with which the API would start."""
    for name in {*Settings.model_fields, "AUTH_SECRET", "NEXTAUTH_SECRET"}:
        monkeypatch.delenv(name.upper(), raising=False)
    for name, value in GOOD.items():
        monkeypatch.setenv(name, value)


def problem() -> str:
    """What is wrong with the environment, in one line."""
    with pytest.raises(SettingsError) as caught:
        Settings.load()
    said = str(caught.value)
    assert "\n" not in said
    assert HIDDEN not in said
    return said


def database_problem(url: str) -> str:
    """What is wrong with that database, in one line."""
    os.environ["DATABASE_URL"] = url
    with pytest.raises(SettingsError) as caught:
        asyncio.run(check_database(Settings.load()))
    said = str(caught.value)
    assert said.startswith("DATABASE_URL: ")
    assert "\n" not in said
    assert HIDDEN not in said
    return said


@contextmanager
def login(postgres: Postgres, name: str, *options: str) -> Iterator[None]:
    """A login role for a while."""
    with psycopg.connect(postgres.url("postgres"), autocommit=True) as dba:
        dba.execute(f"create role {name} login password '{HIDDEN}' {' '.join(options)}")
        try:
            yield
        finally:
            dba.execute(f"drop role {name}")


def test_a_random_secret_may_begin_like_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEXTAUTH_SECRET", "miik7vT2mZx9qoursLw4Rb8Ns3Hd6Yf1Gj5, MIIGq7vT2mZx9Lw4Rb8Ns3Hd6Yf1Gj5p")
    assert len(Settings.load().secrets) == 2


def test_a_word_inside_another_is_no_word(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEXTAUTH_SECRET", "Kq7vT2mZx9yoursLw4Rb8Ns3Hd6Yf1Gj5, Kq7vT2mZx9-yours-Rb8Ns3Hd6Yf1Gj5")
    assert len(Settings.load().secrets) == 2


@pytest.mark.parametrize("name", ["NEXTAUTH_SECRET", "AUTH_SECRET"])
def test_a_random_secret_is_good(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.delenv("NEXTAUTH_SECRET")
    for make in (secrets.token_urlsafe, secrets.token_hex, lambda n: b64encode(secrets.token_bytes(n)).decode()):
        random = [make(32) for _ in range(100)]
        monkeypatch.setenv(name, " , ".join(random))
        assert Settings.load().secrets == random
        monkeypatch.setenv(name, ",".join(secret[:32] for secret in random))
        assert len(Settings.load().secrets) == 100
        monkeypatch.setenv(name, random[0][:31])
        assert "NEXTAUTH_SECRET or AUTH_SECRET: each secret must have at least 32 characters" in problem()


def test_origins_are_as_browsers_write_them(monkeypatch: pytest.MonkeyPatch) -> None:
    given = "https://App.Example.org/ , http://localhost:3000,https://a.example:443,http://a.example:80,http://b.example:443"
    monkeypatch.setenv(
        "ALLOWED_ORIGINS", f"{given},http://[::1]:3000,capacitor://localhost,https://xn--bcher-kva.example"
    )
    assert Settings.load().allowed_origins == {
        "https://app.example.org",
        "http://localhost:3000",
        "https://a.example",
        "http://a.example",
        "http://b.example:443",
        "http://[::1]:3000",
        "capacitor://localhost",
        "https://xn--bcher-kva.example",
    }


def test_three_variables_are_enough() -> None:
    settings = Settings.load()
    assert (settings.rate_limit_requests, settings.rate_limit_window, settings.trusted_proxies) == (10, 10, 0)
    assert (settings.host, settings.port, settings.workers) == ("127.0.0.1", 8000, 1)
    assert settings.secrets == [SECRET]
    assert settings.allowed_origins == frozenset()
    assert SECRET not in repr(settings)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *((name, value) for name in ("DATABASE_URL", "REDIS_URL") for value in ("", HIDDEN, f"http://{HIDDEN}@host")),
        ("DATABASE_URL", f"postgresql+psycopg://u:{HIDDEN}@127.0.0.1/db"),
        ("REDIS_URL", f"redis://:{HIDDEN}@127.0.0.1:port/0"),
        ("REDIS_URL", f"redis://:{HIDDEN}@127.0.0.1:65536/0"),
        ("REDIS_URL", f"redis://:{HIDDEN}@[::1/0"),
        ("REDIS_URL", f"redis://:{HIDDEN}\u2100word@127.0.0.1/0"),
        ("REDIS_URL", f"redis://:{HIDDEN}/word@127.0.0.1/0"),
        ("REDIS_URL", f"redis://:{HIDDEN}@127.0.0.1/0?no_such_option={HIDDEN}"),
        ("REDIS_URL", f"redis://:{HIDDEN}@127.0.0.1/0?socket_timeout={HIDDEN}"),
        *(("NEXTAUTH_SECRET", value) for value in ("", HIDDEN, SECRET + ",", f"{SECRET},{HIDDEN}", " " * 40, "," * 40)),
        *(("NEXTAUTH_SECRET", value) for value in WEAK_SECRETS),
        ("NEXTAUTH_SECRET", f"{SECRET}, {WEAK_SECRETS[0]}"),
        *(("METRICS_PORT", value) for value in ("0", "65536", "x")),
        ("LOG_FORMAT", "yaml"),
        *(("LOG_REQUESTS_OVER", value) for value in ("-1", "often", "nan")),
        *(
            ("ALLOWED_ORIGINS", value)
            for value in (
                "*",
                "null",
                "app.example.org",
                "https://",
                "https://*.example.org",
                "https://app.example.org/path",
                "https://app.example.org?x",
                "https://app.example.org#x",
                f"https://{HIDDEN}@app.example.org",
                "https://app.example.org,",
                "https://app.example.org https://b.example.org",
                "https://app.example.org:port",
                "https://bücher.example",
                "//app.example.org",
            )
        ),
        *(("RATE_LIMIT_REQUESTS", value) for value in ("0", "-1", "1.5", "ten")),
        *(("RATE_LIMIT_WINDOW", value) for value in ("0", "-1", "nan", "inf", "86401", "10s")),
        *(("TRUSTED_PROXIES", value) for value in ("-1", "33", "yes")),
        *(("PUSHER_KEY", value) for value in ("a key", "a:b", "é")),
        *(("PORT", value) for value in ("0", "65536", "http", "-1")),
        *(("WORKERS", value) for value in ("0", "-2", "257", "auto")),
        *(("DATABASE_POOL_SIZE", value) for value in ("0", "1001", "big")),
        *(("DATABASE_STATEMENT_CACHE_SIZE", value) for value in ("-1", "1001", "none")),
        *(("DATABASE_REPLICA_WINDOW", value) for value in ("0.9", "30.1", "60", "nan", "10s")),
        ("DATABASE_REPLICA_URL", f"http://{HIDDEN}@host"),
        *(
            ("STORAGE_URL", value)
            for value in (
                "/var/lib",
                "file:/var/lib",
                "file://var/lib",
                "file://",
                "s3://",
                "s3:bucket",
                "ftp://x/y",
                f"s3://key:{HIDDEN}@bucket",
                f"s3://bucket/x?{HIDDEN}",
                "memory:///",
                HIDDEN,
            )
        ),
        *(
            ("PUBLIC_URL", value)
            for value in (
                "chat.example",
                "//chat.example",
                "ftp://chat.example",
                "https://",
                "https://x/?a",
                "https://x/#a",
                f"https://u:{HIDDEN}@x",
                "https://a b",
                HIDDEN,
            )
        ),
    ],
)
def test_a_missing_or_malformed_variable_is_named(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    assert problem().startswith(f"{name}: " if name != "NEXTAUTH_SECRET" else "NEXTAUTH_SECRET or AUTH_SECRET: ")


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("DATABASE_POOL_SIZE", ("1", "1000")),
        ("DATABASE_STATEMENT_CACHE_SIZE", ("0", "1000")),
        ("DATABASE_REPLICA_WINDOW", ("1", "30")),
    ],
)
def test_the_bounds_themselves_are_good(monkeypatch: pytest.MonkeyPatch, name: str, values: tuple[str, ...]) -> None:
    for value in values:
        monkeypatch.setenv(name, value)
        assert getattr(Settings.load(), name.lower()) == float(value)


def test_an_auth_secret_will_do_and_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NEXTAUTH_SECRET")
    assert problem().startswith("NEXTAUTH_SECRET or AUTH_SECRET: ")
    monkeypatch.setenv("AUTH_SECRET", f"{SECRET} , {SECRET[::-1]}")
    assert Settings.load().secrets == [SECRET, SECRET[::-1]]
    monkeypatch.setenv("AUTH_SECRET", HIDDEN)
    assert problem().startswith("NEXTAUTH_SECRET or AUTH_SECRET: ")


def test_pushers_key_and_secret_go_together(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("PUSHER_KEY", "key"), ("PUSHER_SECRET", HIDDEN)):
        with monkeypatch.context() as only:
            only.setenv(name, value)
            assert problem() == "PUSHER_KEY and PUSHER_SECRET: both or none must be given"
    monkeypatch.setenv("PUSHER_KEY", "key")
    monkeypatch.setenv("PUSHER_SECRET", HIDDEN)
    assert HIDDEN not in repr(Settings.load())


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://u:{HIDDEN}@127.0.0.1:port/db",
        f"postgresql://u:{HIDDEN}@[::1/db",
        f"postgresql://u:{HIDDEN}@127.0.0.1/db?sslmode={HIDDEN}",
        f"postgresql://u:{HIDDEN}@127.0.0.1:1/db",
    ],
)
def test_a_database_that_is_away_is_no_database(url: str) -> None:
    assert "no connection to PostgreSQL" in database_problem(url)


def test_a_database_that_refuses_the_login_is_no_database(postgres: Postgres, shared_database: str) -> None:
    for url in (postgres.url(shared_database, "app", HIDDEN), postgres.url("no_such_database", "app", "app")):
        assert "no connection to PostgreSQL" in database_problem(url)


def test_a_database_without_parley_is_refused(postgres: Postgres) -> None:
    assert "yoyo apply" in database_problem(postgres.url("postgres"))


def test_a_role_without_the_grant_is_refused(postgres: Postgres, shared_database: str) -> None:
    with login(postgres, "app_ungranted"):
        assert "grant it parley_api" in database_problem(postgres.url(shared_database, "app_ungranted", HIDDEN))


@pytest.mark.parametrize("attribute", ["superuser", "bypassrls"])
def test_a_role_that_row_level_security_does_not_bind_is_refused(
    postgres: Postgres, shared_database: str, attribute: str
) -> None:
    with login(postgres, "app_unbound", attribute, "in role parley_api"):
        said = database_problem(postgres.url(shared_database, "app_unbound", HIDDEN))
    assert "row-level security does not bind the role app_unbound" in said


def test_the_owner_of_a_table_is_refused(postgres: Postgres, new_database: Callable[[str], str]) -> None:
    database = new_database("parley_owned")
    connection = psycopg.connect(postgres.url(database), autocommit=True)
    with login(postgres, "app_owner", "in role parley_api"), connection as dba:
        dba.execute("alter table parley.settings owner to app_owner")
        said = database_problem(postgres.url(database, "app_owner", HIDDEN))
        dba.execute("alter table parley.settings owner to postgres")
    assert "row-level security does not bind the role app_owner" in said


def test_a_directory_that_cannot_be_written_to_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for place in (tmp_path / "file", tmp_path / "file" / "below", Path("/proc/below")):
        monkeypatch.setenv("STORAGE_URL", f"file://{place}")
        with pytest.raises(SettingsError) as caught:
            check_storage(Settings.load())
        assert str(caught.value).startswith(f"STORAGE_URL: can't write to {place}: ")


def test_a_storage_is_made_where_it_is_wanted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    places = {"file://./a b": "a b", f"file://{tmp_path}/c%20d/e": "c d/e", "": ".parley/images"}
    for url, place in places.items():
        monkeypatch.setenv("STORAGE_URL", url)
        check_storage(Settings.load())
        assert (tmp_path / place).is_dir()


def test_without_a_public_url_clients_are_on_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Settings.load().public_url == "http://127.0.0.1:8000"
    monkeypatch.setenv("PORT", "8080")
    assert Settings.load().public_url == "http://127.0.0.1:8080"
    for url in ("https://chat.example", "https://chat.example/", "https://chat.example/base/", "http://[::1]:8000"):
        monkeypatch.setenv("PUBLIC_URL", url)
        assert Settings.load().public_url == url.rstrip("/")


def test_a_place_where_it_cannot_listen_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        for host in ("127.0.0.1", "203.0.113.1"):
            monkeypatch.setenv("HOST", host)
            monkeypatch.setenv("PORT", port)
            with pytest.raises(SettingsError) as caught:
                listen(Settings.load())
            assert str(caught.value).startswith(f"HOST or PORT: can't listen on {host}:{port}: ")


def test_a_port_that_another_would_share_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0), reuse_port=True) as taken:
        monkeypatch.setenv("PORT", str(taken.getsockname()[1]))
        for workers in ("1", "2"):
            monkeypatch.setenv("WORKERS", workers)
            with pytest.raises(SettingsError, match="HOST or PORT: can't listen on"):
                listen(Settings.load())


@pytest.mark.parametrize("workers", ["1", "2"])
def test_it_listens_on_ipv6_too(monkeypatch: pytest.MonkeyPatch, workers: str) -> None:
    monkeypatch.setenv("HOST", "::")
    monkeypatch.setenv("PORT", str(find_free_port()))
    monkeypatch.setenv("WORKERS", workers)
    with ExitStack() as stack:
        servers = [stack.enter_context(server) for server in listen(Settings.load())]
        assert len(servers) == int(workers)
        for host in ("127.0.0.1", "::1"):
            client = stack.enter_context(socket.create_connection((host, servers[0].getsockname()[1]), timeout=5))
            assert client.getpeername()[0] == host


def test_the_process_ends_with_one_line_and_a_failure(new_api: Callable[..., Api], shared_database: str) -> None:
    wrong = {"REDIS_URL": "", "NEXTAUTH_SECRET": HIDDEN, "PORT": "x"}
    environment = new_api(shared_database, **wrong).environment
    command = [sys.executable, "-m", "api"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=20, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("parley: ")
    assert done.stderr.count("\n") == 1
    assert HIDDEN not in done.stderr
    for name in wrong:
        assert f"{name}: " in done.stderr or f"{name} or AUTH_SECRET: " in done.stderr


def test_each_worker_needs_a_port_for_prometheus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKERS", "2")
    for port, of_metrics, words in (
        (8000, 7999, "8000, which a worker needs, is PORT"),
        (8000, 65_535, "65536, which a worker needs, is no port"),
    ):
        monkeypatch.setenv("PORT", str(port))
        monkeypatch.setenv("METRICS_PORT", str(of_metrics))
        with pytest.raises(SettingsError, match=f"METRICS_PORT: .*{words}"):
            check_metrics(Settings.load())
