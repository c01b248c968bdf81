"""What the secret must be that session tokens are made with."""

import re

LENGTH = 32  # characters at least; `openssl rand -base64 32` prints 44
VARIETY = 8  # different characters at least
# What people copy: words of examples, sequences, keys that are public, some secrets that documentation shows.
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
    """The comma-separated secrets, without the space around them: the first signs, all verify."""
    return [secret.strip() for secret in secrets.split(",")]


def weakness(secret: str) -> str | None:
    """Why a secret could be guessed, in words that tell nothing of it; None if it could not."""
    if len(secret) < LENGTH:
        return f"must have at least {LENGTH} characters: openssl rand -base64 32"
    if not secret.isprintable():  # bytes that are no text, too
        return "must be text"
    is_repeated = secret in (secret * 2)[1:-1]
    if is_repeated or len(set(secret)) < VARIETY or WELL_KNOWN.search(secret):
        return "must be random, and not an example: openssl rand -base64 32"
    return None
