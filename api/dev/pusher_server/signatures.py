"""The signatures of Pusher's protocols: HMAC-SHA256 with the app's secret, in hexadecimal digits."""

import hashlib
import hmac
from collections.abc import Iterable
from dataclasses import dataclass
from operator import itemgetter
from typing import Any


@dataclass(frozen=True, slots=True)
class Credentials:
    """The app's ID, key and secret."""

    app_id: str
    key: str
    secret: str

    def is_signed(self, auth: Any, text: str) -> bool:
        """Return whether `auth`, from a client, is the key and the signature of the text."""
        return isinstance(auth, str) and is_equal(auth, f"{self.key}:{sign(self.secret, text)}")


def sign(secret: str, text: str) -> str:
    """Return the signature of a text."""
    return hmac.digest(secret.encode(), text.encode(errors="surrogatepass"), hashlib.sha256).hex()


def sign_request(secret: str, method: str, path: str, query: Iterable[tuple[str, str]]) -> str:
    """Return the auth_signature of a request; `query` is not URL-encoded and lacks auth_signature."""
    parameters = sorted(((name.lower(), value) for name, value in query), key=itemgetter(0))
    return sign(secret, "\n".join([method, path, "&".join(map("=".join, parameters))]))


def is_equal(given: str, expected: str) -> bool:
    """Compare in constant time, which does not reveal the position of a difference."""
    return hmac.compare_digest(given.encode(errors="surrogatepass"), expected.encode())
