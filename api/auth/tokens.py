"""From a request's session token to the identity that `session.authenticate` takes.

A token is a JWT, encrypted as NextAuth.js and Auth.js do it or signed with HS256; or it is the name of a database
session, which only the database can tell. So each token that is no JWT of ours is looked up there, by its digest, and
whatever is wrong with one, its refusal comes from the same place and takes about the same time.
"""

import json
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from itertools import chain, count, islice, product, takewhile
from typing import Any, NamedTuple, Self
from urllib.parse import unquote

import jwt
from cachetools import TLRUCache
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from joserfc import jwe
from joserfc.errors import JoseError
from joserfc.jwk import OctKey, thumbprint
from joserfc.jwt import JWTClaimsRegistry
from joserfc.util import json_b64decode, urlsafe_b64encode
from sanic import Request

from api.http.errors import ApiError, unauthorized

SECURE = "__Secure-"  # browsers store a cookie with this prefix only if an https page sets it
COOKIES = tuple(f"{prefix}{name}.session-token" for prefix in (SECURE, "") for name in ("authjs", "next-auth"))
MAX_TOKENS = 8  # of one request that are looked at; a browser sends one, or a stale one beside it
MAX_CHARACTERS = 32 * 1024  # of a JWT; Node.js takes 16 KiB of headers
CACHE_BYTES = 16 * 1024 * 1024
ENTRY_BYTES = 400  # of an entry of the cache, beside its identity

IDENTITY = ("sub", "name", "email", "picture")
CHECKED = ("sub", "exp", "nbf", "iat")
LEEWAY_SECONDS = 30
KEY_BYTES = {"A256GCM": 32, "A256CBC-HS512": 64}
SIGNATURES = jwt.PyJWS()
ENCRYPTION = jwe.JWERegistry(algorithms=["dir", *KEY_BYTES])  # without zip: what inflates is refused
# What libraries and we make of one; TypeError is joserfc's for some values of `crit`.
NO_TOKEN_OF_OURS = (JoseError, jwt.PyJWTError, ValueError, TypeError, RecursionError)


class Token(NamedTuple):
    """A token of a request, and the name of the cookie that it was in."""

    value: str
    cookie: str | None = None


class Verified(NamedTuple):
    """The identity in a token, as JSON, and until when the token counts."""

    identity: str
    exp: float


@dataclass(frozen=True, slots=True)
class EncryptionKey:
    """A key that a web app derives from its secret.

    Auth.js has one for each cookie and content encryption, and names it in the token (`kid`); NextAuth.js has only one.
    """

    enc: str
    cookie: str | None
    kid: str
    key: OctKey

    @classmethod
    def derive(cls, secret: str, enc: str, cookie: str | None = None) -> Self:
        """The key of NextAuth.js 4, or of Auth.js for a cookie."""
        info = f"Auth.js Generated Encryption Key ({cookie})" if cookie else "NextAuth.js Generated Encryption Key"
        length = KEY_BYTES[enc]
        key = HKDF(SHA256(), length, (cookie or "").encode(), info.encode()).derive(secret.encode())
        members = {"kty": "oct", "k": urlsafe_b64encode(key).decode()}
        kid = thumbprint(members, "sha512" if length == 64 else "sha256")
        return cls(enc, cookie, kid, OctKey.import_key(key))

    def fits(self, header: dict[str, Any], cookie: str | None) -> bool:
        """Whether a token with this header that was in this cookie, or in none, may be for this key."""
        return (
            header.get("enc") == self.enc
            and header.get("kid") in (None, self.kid)
            and (cookie is None or self.cookie in (None, cookie))
        )


class Tokens:
    """Verifies session tokens with any of the secrets, and remembers those that it verified until they expire."""

    def __init__(
        self, secrets: list[str], cookies: tuple[str, ...] = COOKIES, clock: Callable[[], float] = time.time
    ) -> None:
        self._secrets, self._cookies, self._clock = secrets, cookies, clock
        self._keys = [key for secret in secrets for key in derived_keys(secret)]
        self.verified: TLRUCache[tuple[bytes, str | None], Verified] = TLRUCache(
            CACHE_BYTES,
            ttu=lambda _, verified, __: verified.exp,
            timer=clock,
            getsizeof=lambda verified: len(verified.identity.encode()) + ENTRY_BYTES,
        )

    def identity(self, request: Request, *, cookie_will_do: bool) -> str:
        """The caller's identity for `session.authenticate`, as JSON: {"sub", "name"?, "email"?, "picture"?} of a JWT.

        Or {"session_digests"}, of tokens that are for the database to know. Raises ApiError: 401 without any token, 403
        for a cookie where it won't do, since browsers send it with what other sites ask of them.
        """
        tokens = bearer_tokens(request)
        if tokens is None:
            tokens = list(islice(cookie_tokens(request, self._cookies), MAX_TOKENS))
            if tokens and not cookie_will_do:
                raise ApiError(403, "A change that a session cookie authorizes must come from an allowed origin.")
        if not tokens:
            raise unauthorized()
        digests = []
        for token in tokens:
            digest = sha256(token.value.encode(errors="surrogatepass"))
            entry = (digest.digest(), token.cookie)
            try:
                return self.verified[entry].identity
            except KeyError:
                if verified := self._verify(token):
                    self.verified[entry] = verified
                    return verified.identity
            digests.append(digest)
        return json.dumps({"session_digests": [digest.hexdigest() for digest in digests]})

    def _verify(self, token: Token) -> Verified | None:
        """What a JWT says that was made with one of the secrets and counts now."""
        if len(token.value) > MAX_CHARACTERS:
            return None
        for open_token, key in self._ways_to_open(token):
            with suppress(*NO_TOKEN_OF_OURS):
                return verified_claims(open_token(token.value, key), now=int(self._clock()))
        return None

    def _ways_to_open(self, token: Token) -> Iterable[tuple[Callable[[str, Any], bytes], Any]]:
        match token.value.count("."):
            case 2:
                return product([signed_payload], self._secrets)
            case 4:
                header = encryption_header(token.value)
                return product([decrypted_payload], [key.key for key in self._keys if key.fits(header, token.cookie)])
        return ()


def callers_of(identity: str) -> list[str]:
    """Return whose an identity is: the user's id or, where only the database knows that, the sessions' digests."""
    claims = json.loads(identity)
    return [claims["sub"]] if "sub" in claims else claims.get("session_digests", [])


def derived_keys(secret: str) -> list[EncryptionKey]:
    """All keys that web apps derive from a secret."""
    of_cookies = [EncryptionKey.derive(secret, enc, cookie) for cookie in COOKIES for enc in KEY_BYTES]
    return [EncryptionKey.derive(secret, "A256GCM"), *of_cookies]


def bearer_tokens(request: Request) -> list[Token] | None:
    """The token in the header Authorization; none when that has something else; None when it has nothing."""
    authorization = request.headers.get("authorization", "")
    if not authorization:
        return None
    scheme, _, value = authorization.partition(" ")
    return [Token(decoded(value.strip()))] if scheme.lower() == "bearer" and value.strip() else []


def session_cookies(public_url: str) -> tuple[str, ...]:
    """Return the names of session cookies, in their order.

    A page on a sibling domain, or one of plain http, can set a cookie without the prefix, and so sign a user in as
    somebody else. Therefore prefixed ones come first, and are the only ones where clients use https.
    """
    is_secure = public_url.startswith("https://")
    return tuple(name for name in COOKIES if name.startswith(SECURE) or not is_secure)


def cookie_tokens(request: Request, names: tuple[str, ...]) -> Iterator[Token]:
    """The tokens in cookies of these names; one that is too long for a cookie is in NAME.0, NAME.1 and so on.

    A name is repeated where pages of several paths or domains set it. Cookies of one page are in the same order for
    each chunk, so the nth token is of the nth cookie of each chunk, or of its last.
    """
    cookies = cookies_of(request)
    for name in names:
        chunks = list(takewhile(bool, (cookies.get(f"{name}.{number}", []) for number in count())))
        rows = range(max(map(len, chunks), default=0))
        joined = ("".join(values[min(row, len(values) - 1)] for values in chunks) for row in rows)
        for value in chain(cookies.get(name, []), joined):
            yield Token(decoded(value), name)


def cookies_of(request: Request) -> dict[str, list[str]]:
    """The values of each cookie, but empty ones; Sanic's own reading takes quadratic time for a quoted value."""
    cookies: dict[str, list[str]] = {}
    for pair in ";".join(request.headers.getall("cookie", [])).split(";"):
        name, _, value = pair.partition("=")
        if value := value.strip().removeprefix('"').removesuffix('"'):
            cookies.setdefault(name.strip(), []).append(value)
    return cookies


def decoded(value: str) -> str:
    """A token as it was before it was URL-encoded; one that is too long for ours, as it is."""
    return unquote(value) if len(value) <= MAX_CHARACTERS else value


def encryption_header(token: str) -> dict[str, Any]:
    """The header of an encrypted JWT, of which nobody knows yet whether it is genuine; empty if it is malformed."""
    with suppress(*NO_TOKEN_OF_OURS):
        header = json_b64decode(token.partition(".")[0].encode())
        if isinstance(header, dict):
            return header
    return {}


def signed_payload(token: str, secret: str) -> bytes:
    """The payload of a JWT signed with HS256; raises one of NO_TOKEN_OF_OURS."""
    payload: bytes = SIGNATURES.decode(token, secret, algorithms=["HS256"])
    return payload


def decrypted_payload(token: str, key: OctKey) -> bytes:
    """The payload of a JWT encrypted with this key; raises one of NO_TOKEN_OF_OURS."""
    return jwe.decrypt_compact(token, key, registry=ENCRYPTION).plaintext or b""


def verified_claims(payload: bytes, now: int) -> Verified:
    """The claims of a JWT, if they count now and PostgreSQL takes them; raises one of NO_TOKEN_OF_OURS."""
    claims = json.loads(payload)
    if not isinstance(claims, dict):
        raise TypeError("no claims")
    rules = JWTClaimsRegistry(now, LEEWAY_SECONDS, sub={"essential": True}, exp={"essential": True})
    rules.validate({claim: claims[claim] for claim in CHECKED if claim in claims})
    known = {claim: text for claim in IDENTITY if isinstance(text := claims.get(claim), str)}
    if any("\0" in text for text in known.values()):
        raise ValueError("NUL in a claim")
    identity = json.dumps(known, ensure_ascii=False)
    identity.encode()  # no lone surrogates
    return Verified(identity, claims["exp"])
