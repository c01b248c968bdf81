"""What the secret must be that session tokens are made with."""

import re

LENGTH = 32  # characters at least; `openssl rand -base64 32` prints 44
VARIETY = 8  # different characters at least
# What people copy: words of examples, sequences, keys that are public, secrets that documentation shows.
WELL_KNOWN = re.compile(
    r"(?<![a-z0-9])"
    r"(secrets?|supersecret|changeme|change|replace|your|password|example|placeholder|generated?|insert|openssl|default)"
    r"(?![a-z0-9])"
    r"|abcdefgh|12345678|87654321|qwertyui|deadbeef"
    r"|-----begin|ssh-(rsa|ed25519)"
    r"|inp8ivdiyemcogagfgoa61ddbglwwsqnxjzkgz8psnw|llkq6ztybr\+htc073mamah9/h2hwmfsfo4hrfcx5mlg",
    re.IGNORECASE,
)


def split(secrets: str) -> list[str]:
    """The comma-separated secrets, without the space around them: the first signs, all verify."""
    return [secret.strip() for secret in secrets.split(",")]


def weakness(secret: str) -> str | None:
    """Why a secret could be guessed, in words that tell nothing of it; None if it could not."""
    if len(secret) < LENGTH:
        return f"must have at least {LENGTH} characters: openssl rand -base64 32"
    is_repeated = secret in (secret * 2)[1:-1]
    if is_repeated or len(set(secret)) < VARIETY or WELL_KNOWN.search(secret):
        return "must be random, and not an example: openssl rand -base64 32"
    return None
