"""Names of stored images: the SHA-256 of the content in hexadecimal digits, and a suffix for the content type.

Equal images share a name, and the content behind a name never changes, so clients may cache it without revalidation.
"""

import hashlib
import re
from pathlib import PurePath

SUFFIXES = {"image/gif": ".gif", "image/jpeg": ".jpg", "image/png": ".png"}  # by content type
CONTENT_TYPES = {suffix: content_type for content_type, suffix in SUFFIXES.items()}
NAME = re.compile(r"[0-9a-f]{64}[.](?:gif|jpg|png)")


def derive_name(content: bytes, content_type: str) -> str:
    """Return the name of an image with this content."""
    return hashlib.sha256(content).hexdigest() + SUFFIXES[content_type]


def get_content_type(name: str) -> str:
    """Return the content type of the image with this name."""
    return CONTENT_TYPES[PurePath(name).suffix]
