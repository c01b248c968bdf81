"""Session tokens: from a request to the caller's identity, the first argument of every statement.

A token is a JWT, encrypted as NextAuth.js and Auth.js do it or signed with HS256, or the opaque name of a database
session. Any token that is not a valid JWT is looked up as a database session, by its digest. So every invalid token is
rejected by the database, with the same response and after about the same time, regardless of the reason.
"""

import json
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from itertools import islice, product
from typing import Any, NamedTuple, Self
from urllib.parse import unquote

import jwt
from cachetools import TLRUCache
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from joserfc import jwe
from joserfc.errors import InvalidClaimError, JoseError
from joserfc.jwk import OctKey, thumbprint
from joserfc.jwt import JWTClaimsRegistry
from joserfc.util import json_b64decode, urlsafe_b64encode
from sanic import Request

from api.auth.cookies import SESSION_COOKIES, read_session_cookies
from api.http.errors import ApiError, unauthorized

MAX_TOKENS = 8  # verified per request; a browser sends one, and possibly a stale one
MAX_TOKEN_CHARACTERS = 32 * 1024  # of a JWT; Node.js accepts 16 KiB of headers
CACHE_BYTES = 16 * 1024 * 1024
CACHE_ENTRY_BYTES = 400  # of an entry, in addition to its identity

IDENTITY_CLAIMS = ("sub", "name", "email", "picture")
VALIDATED_CLAIMS = ("sub", "exp", "nbf", "iat")
LEEWAY_SECONDS = 30  # of clock skew that is accepted
KEY_BYTES = {"A256GCM": 32, "A256CBC-HS512": 64}
JWS = jwt.PyJWS()
JWE_REGISTRY = jwe.JWERegistry(algorithms=["dir", *KEY_BYTES])  # without zip, so that no token can inflate
# Errors of an invalid JWT. joserfc raises TypeError for some values of `crit`.
INVALID_TOKEN_ERRORS = (JoseError, jwt.PyJWTError, ValueError, TypeError, RecursionError)


class Token(NamedTuple):
    """A token of a request, and the name of the cookie that it was in."""

    value: str
    cookie: str | None = None


class VerifiedToken(NamedTuple):
    """The identity in a verified token, as JSON, and its expiry in Unix time."""

    identity: str
    exp: float


@dataclass(frozen=True, slots=True)
class EncryptionKey:
    """A key that a web app derives from its secret.

    Auth.js derives one for each cookie and content encryption, and names it in the token (`kid`); NextAuth.js has one.
    """

    enc: str
    cookie: str | None
    kid: str
    key: OctKey

    @classmethod
    def derive(cls, secret: str, enc: str, cookie: str | None = None) -> Self:
        """Derive the key of Auth.js for a cookie, or that of NextAuth.js 4."""
        info = f"Auth.js Generated Encryption Key ({cookie})" if cookie else "NextAuth.js Generated Encryption Key"
        length = KEY_BYTES[enc]
        key = HKDF(SHA256(), length, (cookie or "").encode(), info.encode()).derive(secret.encode())
        members = {"kty": "oct", "k": urlsafe_b64encode(key).decode()}
        kid = thumbprint(members, "sha512" if length == 64 else "sha256")
        return cls(enc, cookie, kid, OctKey.import_key(key))

    def is_candidate(self, header: dict[str, Any], cookie: str | None) -> bool:
        """Return whether this may be the key of a token with this header that was in this cookie, or in none."""
        return (
            header.get("enc") == self.enc
            and header.get("kid") in (None, self.kid)
            and (cookie is None or self.cookie in (None, cookie))
        )


class ClaimsRegistry(JWTClaimsRegistry):
    """The rules for claims of RFC 7519, but `iat` may be in the future, as in jose, which NextAuth.js uses.

    A web app whose clock is ahead issues such tokens; `nbf` sets the time from which a token is valid.
    """

    def validate_iat(self, value: object) -> None:
        """Check that `iat` is a number."""
        if type(value) not in (int, float):
            raise InvalidClaimError("iat")


class Tokens:
    """Verifies session tokens with any of the secrets, and caches verified tokens until they expire."""

    def __init__(
        self,
        secrets: list[str],
        cookies: tuple[str, ...] = SESSION_COOKIES,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._secrets, self._cookies, self._clock = secrets, cookies, clock
        self._keys = [key for secret in secrets for key in derive_keys(secret)]
        # The key is a digest, so that no token stays in memory; and the cookie, since a token is valid only there.
        self.cache: TLRUCache[tuple[bytes, str | None], VerifiedToken] = TLRUCache(
            CACHE_BYTES,
            ttu=lambda _, verified, __: verified.exp,
            timer=clock,
            getsizeof=lambda verified: len(verified.identity.encode()) + CACHE_ENTRY_BYTES,
        )

    def authenticate(self, request: Request, *, allow_cookie: bool) -> str:
        """Return the caller's identity as JSON.

        It is {"sub", "name"?, "email"?, "picture"?} of a JWT, or else {"session_digests"} of tokens that only the
        database can verify.

        Raises ApiError 401 if there is no token. Raises ApiError 403 if there is only a cookie but `allow_cookie` is
        false: browsers attach cookies to requests that other sites make.
        """
        tokens = read_bearer_tokens(request)
        if tokens is None:
            cookies = islice(read_session_cookies(request, self._cookies), MAX_TOKENS)
            tokens = [Token(url_decode(value), name) for name, value in cookies]
            if tokens and not allow_cookie:
                raise ApiError(403, "A change that a session cookie authorizes must come from an allowed origin.")
        if not tokens:
            raise unauthorized()
        digests = []
        for token in tokens:
            digest = sha256(token.value.encode(errors="surrogatepass"))
            entry = (digest.digest(), token.cookie)
            try:
                return self.cache[entry].identity
            except KeyError:
                if verified := self._verify(token):
                    self.cache[entry] = verified
                    return verified.identity
            digests.append(digest)
        return json.dumps({"session_digests": [digest.hexdigest() for digest in digests]})

    def _verify(self, token: Token) -> VerifiedToken | None:
        """Verify a JWT; return None if it is invalid or not made with one of the secrets."""
        if len(token.value) > MAX_TOKEN_CHARACTERS:
            return None
        for decode, key in self._list_candidates(token):
            with suppress(*INVALID_TOKEN_ERRORS):
                return verify_claims(decode(token.value, key), now=int(self._clock()))
        return None

    def _list_candidates(self, token: Token) -> Iterable[tuple[Callable[[str, Any], bytes], Any]]:
        """Return the functions and keys that may decode a token, by its form: a JWS has 3 parts, a JWE 5."""
        match token.value.count("."):
            case 2:
                return product([decode_jws], self._secrets)
            case 4:
                header = parse_jwe_header(token.value)
                return product([decrypt_jwe], [key.key for key in self._keys if key.is_candidate(header, token.cookie)])
        return ()


def get_caller_ids(identity: str) -> list[str]:
    """Return the ids of the caller: the user's id or, if only the database knows that, the sessions' digests."""
    claims = json.loads(identity)
    return [claims["sub"]] if "sub" in claims else claims.get("session_digests", [])


def derive_keys(secret: str) -> list[EncryptionKey]:
    """Derive all keys that web apps derive from a secret."""
    auth_js_keys = [EncryptionKey.derive(secret, enc, cookie) for cookie in SESSION_COOKIES for enc in KEY_BYTES]
    return [EncryptionKey.derive(secret, "A256GCM"), *auth_js_keys]


def read_bearer_tokens(request: Request) -> list[Token] | None:
    """Return the Bearer token, an empty list for another or malformed Authorization, or None if there is none."""
    authorization = request.headers.get("authorization", "")
    if not authorization:
        return None
    scheme, _, value = authorization.partition(" ")
    return [Token(url_decode(value.strip()))] if scheme.lower() == "bearer" and value.strip() else []


def url_decode(value: str) -> str:
    """Decode a URL-encoded token; leave one that is too long to be a JWT as it is."""
    return unquote(value) if len(value) <= MAX_TOKEN_CHARACTERS else value


def parse_jwe_header(token: str) -> dict[str, Any]:
    """Return the unverified protected header of an encrypted JWT; empty if it is malformed."""
    with suppress(*INVALID_TOKEN_ERRORS):
        header = json_b64decode(token.partition(".")[0].encode())
        if isinstance(header, dict):
            return header
    return {}


def decode_jws(token: str, secret: str) -> bytes:
    """Return the payload of a JWT signed with HS256. Raises one of INVALID_TOKEN_ERRORS."""
    payload: bytes = JWS.decode(token, secret, algorithms=["HS256"])
    return payload


def decrypt_jwe(token: str, key: OctKey) -> bytes:
    """Return the payload of a JWT encrypted with this key. Raises one of INVALID_TOKEN_ERRORS."""
    return jwe.decrypt_compact(token, key, registry=JWE_REGISTRY).plaintext or b""


def verify_claims(payload: bytes, now: int) -> VerifiedToken:
    """Verify that the claims are valid at `now` and acceptable to PostgreSQL. Raises one of INVALID_TOKEN_ERRORS."""
    claims = json.loads(payload)
    if not isinstance(claims, dict):
        raise TypeError("the payload is not an object")
    rules = ClaimsRegistry(now, LEEWAY_SECONDS, sub={"essential": True}, exp={"essential": True})
    rules.validate({claim: claims[claim] for claim in VALIDATED_CLAIMS if claim in claims})
    identity_claims = {claim: text for claim in IDENTITY_CLAIMS if isinstance(text := claims.get(claim), str)}
    if any("\0" in text for text in identity_claims.values()):
        raise ValueError("a claim contains NUL")
    identity = json.dumps(identity_claims, ensure_ascii=False)
    identity.encode()  # raises for lone surrogates
    return VerifiedToken(identity, claims["exp"])
