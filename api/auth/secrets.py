"""Requirements for the secret that signs and encrypts session tokens."""

import re

MIN_CHARACTERS = 32  # `openssl rand -base64 32` prints 44
MIN_DISTINCT_CHARACTERS = 8
# Text that people copy: words from examples, sequences, public keys, and secrets that are printed in documentation.
WELL_KNOWN = re.compile(
    r"(?<![a-z0-9])(secrets?|change|replace|your|generated?|insert|openssl|default)(?![a-z0-9])"
    r"|secretkey|mysecret|supersecret|longsecret|changeme|password|example|placeholder"
    r"|abcdefgh|12345678|87654321|qwertyui|deadbeef|00010203|00112233"
    r"|-----begin|ssh-(rsa|dss|ed25519)|ecdsa-sha2-|^(MFkwEwYHKoZI|MCowBQYDK2Vw)"
    r"|^(?-i:MII[A-Z]..(AN|CC|KC|IB))"
    r"|inp8ivdiyemcogagfgoa61ddbglwwsqnxjzkgz8psnw|llkq6ztybr\+htc073mamah9/h2hwmfsfo4hrfcx5mlg"
    r"|404e635266556a58|aym1sysppbydfgzl|d41d8cd98f00b204|e3b0c44298fc1c14",
    re.IGNORECASE,
)


def split_secrets(secrets: str) -> list[str]:
    """Split comma-separated secrets, without surrounding whitespace: the first signs, all of them verify."""
    return [secret.strip() for secret in secrets.split(",")]


def find_weakness(secret: str) -> str | None:
    """Return why a secret could be guessed, without quoting any of it, or None."""
    if len(secret) < MIN_CHARACTERS:
        return f"must have at least {MIN_CHARACTERS} characters: openssl rand -base64 32"
    if not secret.isprintable():  # also rejects bytes that are not UTF-8
        return "must be text"
    is_repeated = secret in (secret * 2)[1:-1]
    if is_repeated or len(set(secret)) < MIN_DISTINCT_CHARACTERS or WELL_KNOWN.search(secret):
        return "must be random, and not an example: openssl rand -base64 32"
    return None
