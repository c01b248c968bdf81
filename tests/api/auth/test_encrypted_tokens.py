"""Encrypted session tokens: those of web apps are accepted, all others get the same 401 as every invalid token.

session_tokens.json has tokens of NextAuth.js, Auth.js and jsonwebtoken (tests/e2e/test_web_app.py). All others
are created here, with keys that are derived here.
"""

import hmac
import json
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from joserfc import jwe
from joserfc.jwk import OctKey

from api.auth.cookies import SESSION_COOKIES
from tests.api.support import expect_unauthorized, get_user_id, load_session_tokens, token_headers
from tests.api_process import Api
from tests.tokens import OLD_SECRET, SECRET, claims, token

COOKIE = "authjs.session-token"


def derive_key(length: int, cookie: str = COOKIE, secret: str = SECRET) -> OctKey:
    """Derive the key of Auth.js for a cookie, or of NextAuth.js for "", by RFC 5869."""
    info = f"Auth.js Generated Encryption Key ({cookie})" if cookie else "NextAuth.js Generated Encryption Key"
    extracted = hmac.digest(cookie.encode() or bytes(32), secret.encode(), "sha256")
    block, key = b"", b""
    for number in range(1, 3):
        block = hmac.digest(extracted, block + info.encode() + bytes([number]), "sha256")
        key += block
    return OctKey.import_key(key[:length])


def encrypt(payload: Any = None, key: OctKey | None = None, **header: Any) -> str:
    """Return a token with this payload, by default valid claims, encrypted with the key that the header requires."""
    header = {"alg": "dir", "enc": "A256GCM"} | header
    plain = payload if isinstance(payload, bytes) else json.dumps(payload or claims()).encode()
    names = [header["alg"], header["enc"], *([header["zip"]] if "zip" in header else [])]
    key = key or derive_key(64 if header["enc"] == "A256CBC-HS512" else 32)
    return jwe.encrypt_compact(header, plain, key, registry=jwe.JWERegistry(algorithms=names))


def replace_header(header: Any) -> str:
    """Return a token whose protected header is replaced by this one."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return ".".join([urlsafe_b64encode(text).rstrip(b"=").decode(), *encrypt().split(".")[1:]])


def change_part(number: int, change: Callable[[str], str]) -> str:
    """Return a token with one of its five parts changed."""
    parts = encrypt().split(".")
    parts[number] = change(parts[number])
    return ".".join(parts)


def flip_bit(part: str) -> str:
    """Return a part with its first bit inverted."""
    data = bytearray(urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    data[0] ^= 0x80
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def compress_token(megabytes: int) -> str:
    """Return a compressed token with valid claims that inflates to this size."""
    return encrypt(json.dumps(claims(x="x" * megabytes * 1_000_000)).encode(), zip="DEF")


VALID: dict[str, Callable[[], str]] = {
    "the usual": encrypt,
    "A256CBC-HS512": lambda: encrypt(enc="A256CBC-HS512"),
    "NextAuth.js 4's key": lambda: encrypt(key=derive_key(32, "")),
    "another cookie's key": lambda: encrypt(key=derive_key(32, SESSION_COOKIES[3])),
    "the secret before": lambda: encrypt(key=derive_key(32, secret=OLD_SECRET)),
    "a name that is no type": lambda: encrypt(claims(name=1)),
    "typ": lambda: encrypt(typ="JWT"),
    "expired less than 30 s ago": lambda: encrypt(claims(exp=int(time.time()) - 25)),
    "not valid for less than 30 s": lambda: encrypt(claims(nbf=int(time.time()) + 25)),
    "24 kB": lambda: encrypt(claims(groups="x" * 24_000)),
}

INVALID: dict[str, Callable[[], str]] = {
    "another secret": lambda: encrypt(key=derive_key(32, secret="what somebody else signs with")),
    "the secret itself for a key": lambda: encrypt(key=OctKey.import_key(SECRET.encode()[:32])),
    "a key for no cookie of theirs": lambda: encrypt(key=derive_key(32, "session")),
    "a key of zeros": lambda: encrypt(key=OctKey.import_key(bytes(32))),
    "half of the other key": lambda: encrypt(key=OctKey.import_key(derive_key(64).raw_value[32:])),
    "A128GCM": lambda: encrypt(enc="A128GCM", key=OctKey.import_key(derive_key(32).raw_value[:16])),
    "A128CBC-HS256": lambda: encrypt(enc="A128CBC-HS256"),
    "A256KW": lambda: encrypt(alg="A256KW"),
    "A256GCMKW": lambda: encrypt(alg="A256GCMKW"),
    "an unknown kid": lambda: encrypt(kid="x"),
    "a kid of another type": lambda: replace_header({"alg": "dir", "enc": "A256GCM", "kid": ["x"]}),
    "a critical header": lambda: replace_header({"alg": "dir", "enc": "A256GCM", "crit": ["exp"], "exp": 1}),
    "crit a number": lambda: replace_header({"alg": "dir", "enc": "A256GCM", "crit": 1}),
    "crit null": lambda: replace_header({"alg": "dir", "enc": "A256GCM", "crit": None}),
    "crit a list of lists": lambda: replace_header({"alg": "dir", "enc": "A256CBC-HS512", "crit": [[]]}),
    "alg none": lambda: replace_header({"alg": "none", "enc": "A256GCM"}),
    "alg missing": lambda: replace_header({"enc": "A256GCM"}),
    "alg a list": lambda: replace_header({"alg": ["dir"], "enc": "A256GCM"}),
    "enc missing": lambda: replace_header({"alg": "dir"}),
    "enc a list": lambda: replace_header({"alg": "dir", "enc": ["A256GCM"]}),
    "enc an object": lambda: replace_header({"alg": "dir", "enc": {}}),
    "header another": lambda: replace_header({"alg": "dir", "enc": "A256GCM", "typ": "JWT"}),
    "header a list": lambda: replace_header(["dir", "A256GCM"]),
    "header null": lambda: replace_header(None),
    "header no JSON": lambda: replace_header(b"dir"),
    "header no UTF-8": lambda: replace_header(b'{"alg": "dir", "enc": "A256GCM", "x": "\xff"}'),
    "header of 5 kB": lambda: replace_header({"alg": "dir", "enc": "A256GCM", "x": "x" * 5000}),
    "header nested deep": lambda: replace_header(b"[" * 20_000),
    "header empty": lambda: change_part(0, lambda _: ""),
    "an encrypted key": lambda: change_part(1, lambda _: "AAAA"),
    "nonce flipped": lambda: change_part(2, flip_bit),
    "nonce missing": lambda: change_part(2, lambda _: ""),
    "nonce long": lambda: change_part(2, lambda part: part * 4),
    "ciphertext flipped": lambda: change_part(3, flip_bit),
    "ciphertext truncated": lambda: change_part(3, lambda part: part[:-4]),
    "ciphertext missing": lambda: change_part(3, lambda _: ""),
    "tag flipped": lambda: change_part(4, flip_bit),
    "tag of 12 bytes": lambda: change_part(4, lambda part: part[:16]),
    "tag of 4 bytes": lambda: change_part(4, lambda part: part[:6]),
    "tag missing": lambda: change_part(4, lambda _: ""),
    "padded": lambda: change_part(4, lambda part: part + "=="),
    "no base64": lambda: change_part(3, lambda part: "+/" + part[2:]),
    "truncated": lambda: encrypt().rpartition(".")[0],
    "dots": lambda: "....",
    "100 kB of dots": lambda: "." * 100_000,
    "100 kB in a part": lambda: change_part(3, lambda part: part + "A" * 100_000),
    "zip": lambda: encrypt(zip="DEF"),
    "zip that inflates to 20 MB": lambda: compress_token(20),
    "zip that inflates to 100 MB": lambda: compress_token(100),
    "nested: a signed token": lambda: encrypt(token().encode(), cty="JWT"),
    "nested: an encrypted token": lambda: encrypt(encrypt().encode(), cty="JWT"),
    "no claims": lambda: encrypt(b""),
    "claims a list": lambda: encrypt(b"[]"),
    "claims null": lambda: encrypt(b"null"),
    "claims no JSON": lambda: encrypt(b"claims"),
    "claims no UTF-8": lambda: encrypt(b'{"sub": "\xff"}'),
    "claims nested deep": lambda: encrypt(b"[" * 20_000),
    "expired": lambda: encrypt(claims(exp=int(time.time()) - 35)),
    "not yet valid": lambda: encrypt(claims(nbf=int(time.time()) + 60)),
    "iat a word": lambda: encrypt(claims(iat="now")),
    "no exp": lambda: encrypt(claims(exp=None)),
    "exp not a number": lambda: encrypt(claims(exp=float("nan"))),
    "no sub": lambda: encrypt(claims(sub=None)),
    "sub empty": lambda: encrypt(claims(sub="")),
    "sub a number": lambda: encrypt(claims(sub=1)),
    "sub of 10 kB": lambda: encrypt(claims(sub="x" * 10_000)),
    "NUL in the sub": lambda: encrypt(claims(sub="a\0b")),
    "NUL in the name": lambda: encrypt(claims(name="a\0b")),
    "a lone surrogate in the sub": lambda: encrypt(claims(sub="a\ud800")),
}


@pytest.mark.parametrize("made", load_session_tokens(), ids=lambda made: str(made["kind"]))
def test_tokens_of_web_apps_are_accepted_in_their_cookie(anonymous_client: httpx.Client, made: dict[str, Any]) -> None:
    for headers in token_headers(made["token"], made["cookie"]):
        assert get_user_id(anonymous_client, **headers) == "zoe"
    for cookie in set(SESSION_COOKIES) - {made["cookie"]}:
        headers = {"Cookie": f"{cookie}={made['token']}"}
        if "Auth.js," in made["kind"]:
            expect_unauthorized(anonymous_client.get("/api/profile", headers=headers))
        else:  # NextAuth.js uses one key for all cookies
            assert get_user_id(anonymous_client, **headers) == "zoe"


@pytest.mark.parametrize("kind", VALID)
def test_valid_tokens_are_accepted(anonymous_client: httpx.Client, kind: str) -> None:
    headers = {"Authorization": f"Bearer {VALID[kind]()}"}
    assert get_user_id(anonymous_client, **headers) == get_user_id(anonymous_client, **headers)


@pytest.mark.parametrize("kind", INVALID)
def test_every_invalid_token_gets_the_same_response(anonymous_client: httpx.Client, kind: str) -> None:
    expect_unauthorized(anonymous_client.get("/api/profile", headers={"Authorization": f"Bearer {INVALID[kind]()}"}))


def test_truncated_tokens_are_rejected(anonymous_client: httpx.Client) -> None:
    whole = encrypt()
    for length in range(1, len(whole), 7):
        expect_unauthorized(anonymous_client.get("/api/profile", headers={"Authorization": f"Bearer {whole[:length]}"}))


def test_compressed_token_is_not_inflated(api: Api, anonymous_client: httpx.Client) -> None:
    assert api.child
    status = Path(f"/proc/{api.child.pid}/status")

    def peak() -> int:
        """Return the peak memory of the API so far, in kB."""
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1])

    token_of_20_mb = compress_token(20)
    before = peak()
    for _ in range(5):
        expect_unauthorized(anonymous_client.get("/api/profile", headers={"Authorization": f"Bearer {token_of_20_mb}"}))
    assert peak() - before < 5_000
