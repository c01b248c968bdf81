"""Names of stored images: 64 hexadecimal digits, and a suffix for the content type.

The digits of a profile image are the SHA-256 of its content, so equal images share a name. Those of an image in a
message are random: it belongs to one chat, and its URL cannot be derived from a copy of the image. The content behind a
name never changes, so clients may cache it without revalidation.
"""

import hashlib
import re
import secrets
from pathlib import PurePath

SUFFIXES = {"image/gif": ".gif", "image/jpeg": ".jpg", "image/png": ".png"}  # by content type
CONTENT_TYPES = {suffix: content_type for content_type, suffix in SUFFIXES.items()}
NAME = re.compile(r"[0-9a-f]{64}[.](?:gif|jpg|png)")


def derive_name(content: bytes, content_type: str) -> str:
    """Return the name that all images with this content share."""
    return hashlib.sha256(content).hexdigest() + SUFFIXES[content_type]


def generate_name(_content: bytes, content_type: str) -> str:
    """Return a random name that no other image has."""
    return secrets.token_hex(32) + SUFFIXES[content_type]


def get_content_type(name: str) -> str:
    """Return the content type of the image with this name."""
    return CONTENT_TYPES[PurePath(name).suffix]
