"""TLS of a PostgreSQL URL where asyncpg differs from libpq: channel binding, and the system's root certificates."""

import ssl
from typing import Any

SYSTEM_ROOTS = "system"  # the value of sslrootcert for the root certificates of the operating system
_ALWAYS_TLS = ("require", "verify-ca", "verify-full")  # values of sslmode


def build_tls_arguments(parameters: dict[str, str]) -> dict[str, Any]:
    """Return the argument `ssl` for the system's root certificates, and adapt the parameters that asyncpg reads.

    Raises ValueError for a combination of parameters that is not accepted.
    """
    _replace_channel_binding(parameters)
    is_system = parameters.get("sslrootcert") == SYSTEM_ROOTS
    mode = parameters.setdefault("sslmode", "verify-full") if is_system else parameters.get("sslmode")
    if is_system and mode != "verify-full":
        raise ValueError("sslmode must be verify-full with sslrootcert=system")
    if parameters.get("sslnegotiation") == "direct" and mode not in _ALWAYS_TLS:
        raise ValueError(f"sslmode must be {' or '.join(_ALWAYS_TLS)} with sslnegotiation=direct")
    if mode == "verify-full" and "hostaddr" in parameters:
        raise ValueError("hostaddr is not accepted if the server's name is verified: the driver verifies that in host")
    return {"ssl": _build_system_context(parameters)} if is_system else {}


def _replace_channel_binding(parameters: dict[str, str]) -> None:
    """Require a verified certificate in place of channel binding, which asyncpg does not support.

    Both reject a server without the expected secret: the password's verifier, or the key of the certificate.
    """
    if parameters.get("channel_binding") != "require":
        return
    hosts = (parameters.get("hostaddr") or parameters.get("host", "")).split(",")
    if any(not host or host.startswith("/") for host in hosts):
        raise ValueError("channel_binding must not be require with a Unix socket, which has no TLS")
    parameters["sslmode"] = "verify-full"
    parameters.setdefault("sslrootcert", SYSTEM_ROOTS)


def _build_system_context(parameters: dict[str, str]) -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.set_alpn_protocols(["postgresql"])  # required for sslnegotiation=direct
    if version := parameters.get("ssl_min_protocol_version"):
        context.minimum_version = _parse_version(version)
    if version := parameters.get("ssl_max_protocol_version"):
        context.maximum_version = _parse_version(version)
    if certificate := parameters.get("sslcert"):
        context.load_cert_chain(certificate, parameters.get("sslkey"), parameters.get("sslpassword", ""))
    if revoked := parameters.get("sslcrl"):
        context.load_verify_locations(revoked)
        context.verify_flags |= ssl.VERIFY_CRL_CHECK_CHAIN
    return context


def _parse_version(text: str) -> ssl.TLSVersion:
    return ssl.TLSVersion[text.replace(".", "_")]
