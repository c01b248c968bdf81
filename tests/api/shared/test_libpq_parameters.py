"""libpq's parameters in DATABASE_URL: each is in the table, and what is not accepted is named without its value."""

import pytest
from psycopg import pq

from api.shared.libpq_parameters import PARAMETERS, Use
from api.shared.postgres_url import ConnectArguments, check_url
from tests.api.support import HIDDEN

TABLE_VERSION = 180000  # of libpq
REJECTED = [name for name, parameter in PARAMETERS.items() if parameter.use is Use.REJECTED]
LIMITED = [(name, value) for name, parameter in PARAMETERS.items() for value in parameter.values]
# Combinations that a value requires.
NEEDED = {"sslnegotiation=direct": "&sslmode=require"}


def get_error(parameters: str) -> str:
    """Return the error of a URL with these parameters: one line without its values."""
    with pytest.raises(ValueError, match=r"\A[^\n]+\Z") as caught:
        check_url(f"postgresql://user:{HIDDEN}@host/name?{parameters}")
    assert HIDDEN not in str(caught.value)
    return str(caught.value)


def test_table_has_the_parameters_of_libpq() -> None:
    known = {option.keyword.decode() for option in pq.Conninfo.get_defaults()}
    assert known <= PARAMETERS.keys()
    if pq.version() >= TABLE_VERSION:
        assert known == PARAMETERS.keys()


@pytest.mark.parametrize(("name", "value"), LIMITED, ids=lambda text: text)
def test_documented_value_is_accepted(name: str, value: str) -> None:
    pair = f"{name}={value}"
    check_url(f"postgresql://user:password@host/name?{pair}{NEEDED.get(pair, '')}")


@pytest.mark.parametrize("name", sorted({name for name, _ in LIMITED}))
def test_other_value_is_rejected(name: str) -> None:
    assert get_error(f"{name}={HIDDEN}") == f"{name} must be {' or '.join(PARAMETERS[name].values)}"


@pytest.mark.parametrize("name", REJECTED)
def test_unsupported_parameter_is_rejected(name: str) -> None:
    assert get_error(f"{name}={HIDDEN}") == f"{name} is not accepted, since {PARAMETERS[name].reason}"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("gssencmode", "require"),
        ("gssdelegation", "1"),
        ("min_protocol_version", "3.2"),
        ("sslcertmode", "require"),
        ("sslcertmode", "disable"),
        ("sslsni", "0"),
    ],
)
def test_value_that_the_driver_would_ignore_is_rejected(name: str, value: str) -> None:
    assert get_error(f"{name}={value}").startswith(f"{name} must be ")


@pytest.mark.parametrize(
    ("name", "similar"),
    [("sslmod", "sslmode"), ("Sslmode", "sslmode"), ("user_name", ""), ("applicationname", "application_name")],
)
def test_misspelled_parameter_is_named(name: str, similar: str) -> None:
    assert get_error(f"{name}={HIDDEN}") == f"{name} is not a parameter of libpq{f'; {similar} is' if similar else ''}"


def test_all_errors_are_listed() -> None:
    error = get_error(f"pgbouncer={HIDDEN}&connection_limit={HIDDEN}&sslmode={HIDDEN}&keepalives_idle={HIDDEN}")
    names = [part.split()[0] for part in error.split("; ")]
    assert names == ["pgbouncer", "connection_limit", "sslmode", "keepalives_idle"]


@pytest.mark.parametrize("name", ["sslcompression", "client_encoding"])
def test_parameter_without_effect_is_dropped(name: str) -> None:
    assert ConnectArguments.parse(f"postgresql://host?{name}=1") == ConnectArguments.parse("postgresql://host")
