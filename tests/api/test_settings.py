"""Settings: the process does not start with a missing or malformed variable, names it, and never prints a secret."""

import secrets
from base64 import b64encode

import pytest

from api.settings import Settings
from api.shared.settings import SettingsError
from tests.api.support import HIDDEN
from tests.tokens import SECRET

pytestmark = pytest.mark.usefixtures("minimal_environment")

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


def load_error() -> str:
    """Return the error of loading the settings, which must be one line."""
    with pytest.raises(SettingsError) as caught:
        Settings.load()
    message = str(caught.value)
    assert "\n" not in message
    assert HIDDEN not in message
    return message


def test_random_secret_may_start_like_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEXTAUTH_SECRET", "miik7vT2mZx9qoursLw4Rb8Ns3Hd6Yf1Gj5, MIIGq7vT2mZx9Lw4Rb8Ns3Hd6Yf1Gj5p")
    assert len(Settings.load().secrets) == 2


def test_well_known_word_inside_another_is_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEXTAUTH_SECRET", "Kq7vT2mZx9yoursLw4Rb8Ns3Hd6Yf1Gj5, Kq7vT2mZx9-yours-Rb8Ns3Hd6Yf1Gj5")
    assert len(Settings.load().secrets) == 2


@pytest.mark.parametrize("name", ["NEXTAUTH_SECRET", "AUTH_SECRET"])
def test_random_secrets_are_accepted(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.delenv("NEXTAUTH_SECRET")
    for make in (secrets.token_urlsafe, secrets.token_hex, lambda n: b64encode(secrets.token_bytes(n)).decode()):
        random = [make(32) for _ in range(100)]
        monkeypatch.setenv(name, " , ".join(random))
        assert Settings.load().secrets == random
        monkeypatch.setenv(name, ",".join(secret[:32] for secret in random))
        assert len(Settings.load().secrets) == 100
        monkeypatch.setenv(name, random[0][:31])
        assert "NEXTAUTH_SECRET or AUTH_SECRET: each secret must have at least 32 characters" in load_error()


def test_origins_are_normalized_to_the_form_of_browsers(monkeypatch: pytest.MonkeyPatch) -> None:
    origins = "https://App.Example.org/ , http://localhost:3000,https://a.example:443,http://a.example:80,http://b.example:443"
    monkeypatch.setenv(
        "ALLOWED_ORIGINS", f"{origins},http://[::1]:3000,capacitor://localhost,https://xn--bcher-kva.example"
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


def test_three_variables_are_sufficient() -> None:
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
        ("DATABASE_URL", f"postgresql://u:{HIDDEN}@127.0.0.1:port/db"),
        *(
            (name, f"postgresql://u:{HIDDEN}@host/db?sslmod={HIDDEN}")
            for name in ("DATABASE_URL", "DATABASE_REPLICA_URL")
        ),
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
        *(("DATABASE_REPLICA_MAX_LAG", value) for value in ("0.9", "30.1", "60", "nan", "10s")),
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
            (name, value)
            for name in ("PUBLIC_URL", "WEB_URL")
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
def test_missing_or_malformed_variable_is_named(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    assert load_error().startswith(f"{name}: " if name != "NEXTAUTH_SECRET" else "NEXTAUTH_SECRET or AUTH_SECRET: ")


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("DATABASE_POOL_SIZE", ("1", "1000")),
        ("DATABASE_STATEMENT_CACHE_SIZE", ("0", "1000")),
        ("DATABASE_REPLICA_MAX_LAG", ("1", "30")),
    ],
)
def test_bounds_are_inclusive(monkeypatch: pytest.MonkeyPatch, name: str, values: tuple[str, ...]) -> None:
    for value in values:
        monkeypatch.setenv(name, value)
        assert getattr(Settings.load(), name.lower()) == float(value)


def test_auth_secret_is_an_alternative_and_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NEXTAUTH_SECRET")
    assert load_error().startswith("NEXTAUTH_SECRET or AUTH_SECRET: ")
    monkeypatch.setenv("AUTH_SECRET", f"{SECRET} , {SECRET[::-1]}")
    assert Settings.load().secrets == [SECRET, SECRET[::-1]]
    monkeypatch.setenv("AUTH_SECRET", HIDDEN)
    assert load_error().startswith("NEXTAUTH_SECRET or AUTH_SECRET: ")


def test_pusher_key_and_secret_must_be_set_together(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("PUSHER_KEY", "key"), ("PUSHER_SECRET", HIDDEN)):
        with monkeypatch.context() as only:
            only.setenv(name, value)
            assert load_error() == "PUSHER_KEY and PUSHER_SECRET: set both or neither"
    monkeypatch.setenv("PUSHER_KEY", "key")
    monkeypatch.setenv("PUSHER_SECRET", HIDDEN)
    assert HIDDEN not in repr(Settings.load())


def test_default_public_url_is_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Settings.load().public_url == "http://127.0.0.1:8000"
    monkeypatch.setenv("PORT", "8080")
    assert Settings.load().public_url == "http://127.0.0.1:8080"
    for url in ("https://chat.example", "https://chat.example/", "https://chat.example/base/", "http://[::1]:8000"):
        monkeypatch.setenv("PUBLIC_URL", url)
        assert Settings.load().public_url == url.rstrip("/")
