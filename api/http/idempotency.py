"""Idempotent requests: the Idempotency-Key header, and the fingerprint by which a repeat is recognized.

sql/functions/idempotency.sql finds and stores the responses.
"""

from hashlib import sha256
from typing import IO

from api.http.request import ParleyRequest


def read_idempotency(request: ParleyRequest, content: bytes) -> tuple[str | None, bytes | None]:
    """Return the key and the fingerprint of a POST, the arguments $3 and $4 of its statement; both None without a key.

    `content` is the body or, for an upload, the digest of the image.
    """
    key = request.combine_fields("idempotency-key")
    return key, None if key is None else compute_fingerprint(request, content)


def compute_fingerprint(request: ParleyRequest, content: bytes) -> bytes:
    """Return a digest of the method, the path and the content, which a repeat has in common with the first request.

    The body of an upload is not part of it: clients choose a new multipart boundary each time.
    """
    return sha256(f"{request.method} {request.path}\n".encode() + content).digest()


def compute_digest(file: IO[bytes]) -> bytes:
    """Return the SHA-256 digest of a file, and rewind it."""
    file.seek(0)
    digest = sha256(file.read()).digest()
    file.seek(0)
    return digest
