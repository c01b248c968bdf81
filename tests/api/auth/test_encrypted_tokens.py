"""Encrypted session tokens: those of web apps are accepted, all others get the 401 that every bad token gets.

Those that are kept were made by NextAuth.js, Auth.js and jsonwebtoken (tests/e2e/test_web_app.py). What these never
make is made here, with keys that are derived here.
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

from api.auth.tokens import COOKIES
from tests.api.support import kept_tokens, sent_as, unauthorized, user_of
from tests.support import OLD_SECRET, SECRET, Api, claims, token

COOKIE = "authjs.session-token"


def derived(length: int, cookie: str = COOKIE, secret: str = SECRET) -> OctKey:
    """The key of Auth.js for a cookie, or of NextAuth.js for "", as RFC 5869 has it."""
    info = f"Auth.js Generated Encryption Key ({cookie})" if cookie else "NextAuth.js Generated Encryption Key"
    extracted = hmac.digest(cookie.encode() or bytes(32), secret.encode(), "sha256")
    block, key = b"", b""
    for number in range(1, 3):
        block = hmac.digest(extracted, block + info.encode() + bytes([number]), "sha256")
        key += block
    return OctKey.import_key(key[:length])


def encrypted(payload: Any = None, key: OctKey | None = None, **header: Any) -> str:
    """A token with this payload, claims by default, for the key that fits the header."""
    header = {"alg": "dir", "enc": "A256GCM"} | header
    plain = payload if isinstance(payload, bytes) else json.dumps(payload or claims()).encode()
    names = [header["alg"], header["enc"], *([header["zip"]] if "zip" in header else [])]
    key = key or derived(64 if header["enc"] == "A256CBC-HS512" else 32)
    return jwe.encrypt_compact(header, plain, key, registry=jwe.JWERegistry(algorithms=names))


def with_header(header: Any) -> str:
    """A token whose protected header is exchanged for this one."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return ".".join([urlsafe_b64encode(text).rstrip(b"=").decode(), *encrypted().split(".")[1:]])


def with_part(number: int, change: Callable[[str], str]) -> str:
    """A token with one of its five parts changed."""
    parts = encrypted().split(".")
    parts[number] = change(parts[number])
    return ".".join(parts)


def flipped(part: str) -> str:
    """A part with its first bit changed."""
    data = bytearray(urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    data[0] ^= 0x80
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def bomb(megabytes: int) -> str:
    """A token with good claims that inflates to so much."""
    return encrypted(json.dumps(claims(x="x" * megabytes * 1_000_000)).encode(), zip="DEF")


ACCEPTED: dict[str, Callable[[], str]] = {
    "the usual": encrypted,
    "A256CBC-HS512": lambda: encrypted(enc="A256CBC-HS512"),
    "NextAuth.js 4's key": lambda: encrypted(key=derived(32, "")),
    "another cookie's key": lambda: encrypted(key=derived(32, COOKIES[3])),
    "the secret before": lambda: encrypted(key=derived(32, secret=OLD_SECRET)),
    "a name that is no type": lambda: encrypted(claims(name=1)),
    "typ": lambda: encrypted(typ="JWT"),
    "expired less than 30 s ago": lambda: encrypted(claims(exp=int(time.time()) - 25)),
    "not valid for less than 30 s": lambda: encrypted(claims(nbf=int(time.time()) + 25)),
    "24 kB": lambda: encrypted(claims(groups="x" * 24_000)),
}

REFUSED: dict[str, Callable[[], str]] = {
    "another secret": lambda: encrypted(key=derived(32, secret="what somebody else signs with")),
    "the secret itself for a key": lambda: encrypted(key=OctKey.import_key(SECRET.encode()[:32])),
    "a key for no cookie of theirs": lambda: encrypted(key=derived(32, "session")),
    "a key of zeros": lambda: encrypted(key=OctKey.import_key(bytes(32))),
    "half of the other key": lambda: encrypted(key=OctKey.import_key(derived(64).raw_value[32:])),
    "A128GCM": lambda: encrypted(enc="A128GCM", key=OctKey.import_key(derived(32).raw_value[:16])),
    "A128CBC-HS256": lambda: encrypted(enc="A128CBC-HS256"),
    "A256KW": lambda: encrypted(alg="A256KW"),
    "A256GCMKW": lambda: encrypted(alg="A256GCMKW"),
    "a kid that nobody knows": lambda: encrypted(kid="x"),
    "a kid of another type": lambda: with_header({"alg": "dir", "enc": "A256GCM", "kid": ["x"]}),
    "a critical header": lambda: with_header({"alg": "dir", "enc": "A256GCM", "crit": ["exp"], "exp": 1}),
    "crit a number": lambda: with_header({"alg": "dir", "enc": "A256GCM", "crit": 1}),
    "crit null": lambda: with_header({"alg": "dir", "enc": "A256GCM", "crit": None}),
    "crit a list of lists": lambda: with_header({"alg": "dir", "enc": "A256CBC-HS512", "crit": [[]]}),
    "alg none": lambda: with_header({"alg": "none", "enc": "A256GCM"}),
    "alg missing": lambda: with_header({"enc": "A256GCM"}),
    "alg a list": lambda: with_header({"alg": ["dir"], "enc": "A256GCM"}),
    "enc missing": lambda: with_header({"alg": "dir"}),
    "enc a list": lambda: with_header({"alg": "dir", "enc": ["A256GCM"]}),
    "enc an object": lambda: with_header({"alg": "dir", "enc": {}}),
    "header another": lambda: with_header({"alg": "dir", "enc": "A256GCM", "typ": "JWT"}),
    "header a list": lambda: with_header(["dir", "A256GCM"]),
    "header null": lambda: with_header(None),
    "header no JSON": lambda: with_header(b"dir"),
    "header no UTF-8": lambda: with_header(b'{"alg": "dir", "enc": "A256GCM", "x": "\xff"}'),
    "header of 5 kB": lambda: with_header({"alg": "dir", "enc": "A256GCM", "x": "x" * 5000}),
    "header nested deep": lambda: with_header(b"[" * 20_000),
    "header empty": lambda: with_part(0, lambda _: ""),
    "an encrypted key": lambda: with_part(1, lambda _: "AAAA"),
    "nonce flipped": lambda: with_part(2, flipped),
    "nonce missing": lambda: with_part(2, lambda _: ""),
    "nonce long": lambda: with_part(2, lambda part: part * 4),
    "ciphertext flipped": lambda: with_part(3, flipped),
    "ciphertext truncated": lambda: with_part(3, lambda part: part[:-4]),
    "ciphertext missing": lambda: with_part(3, lambda _: ""),
    "tag flipped": lambda: with_part(4, flipped),
    "tag of 12 bytes": lambda: with_part(4, lambda part: part[:16]),
    "tag of 4 bytes": lambda: with_part(4, lambda part: part[:6]),
    "tag missing": lambda: with_part(4, lambda _: ""),
    "padded": lambda: with_part(4, lambda part: part + "=="),
    "no base64": lambda: with_part(3, lambda part: "+/" + part[2:]),
    "truncated": lambda: encrypted().rpartition(".")[0],
    "dots": lambda: "....",
    "100 kB of dots": lambda: "." * 100_000,
    "100 kB in a part": lambda: with_part(3, lambda part: part + "A" * 100_000),
    "zip": lambda: encrypted(zip="DEF"),
    "zip that inflates to 20 MB": lambda: bomb(20),
    "zip that inflates to 100 MB": lambda: bomb(100),
    "nested: a signed token": lambda: encrypted(token().encode(), cty="JWT"),
    "nested: an encrypted token": lambda: encrypted(encrypted().encode(), cty="JWT"),
    "no claims": lambda: encrypted(b""),
    "claims a list": lambda: encrypted(b"[]"),
    "claims null": lambda: encrypted(b"null"),
    "claims no JSON": lambda: encrypted(b"claims"),
    "claims no UTF-8": lambda: encrypted(b'{"sub": "\xff"}'),
    "claims nested deep": lambda: encrypted(b"[" * 20_000),
    "expired": lambda: encrypted(claims(exp=int(time.time()) - 35)),
    "not yet valid": lambda: encrypted(claims(nbf=int(time.time()) + 60)),
    "issued in the future": lambda: encrypted(claims(iat=int(time.time()) + 60)),
    "no exp": lambda: encrypted(claims(exp=None)),
    "exp not a number": lambda: encrypted(claims(exp=float("nan"))),
    "no sub": lambda: encrypted(claims(sub=None)),
    "sub empty": lambda: encrypted(claims(sub="")),
    "sub a number": lambda: encrypted(claims(sub=1)),
    "sub of 10 kB": lambda: encrypted(claims(sub="x" * 10_000)),
    "NUL in the sub": lambda: encrypted(claims(sub="a\0b")),
    "NUL in the name": lambda: encrypted(claims(name="a\0b")),
    "a lone surrogate in the sub": lambda: encrypted(claims(sub="a\ud800")),
}


@pytest.mark.parametrize("made", kept_tokens(), ids=lambda made: str(made["kind"]))
def test_what_web_apps_make_is_accepted_where_it_is_for(nobody: httpx.Client, made: dict[str, Any]) -> None:
    for headers in sent_as(made["token"], made["cookie"]):
        assert user_of(nobody, **headers) == "zoe"
    for cookie in set(COOKIES) - {made["cookie"]}:
        headers = {"Cookie": f"{cookie}={made['token']}"}
        if "Auth.js," in made["kind"]:
            unauthorized(nobody.get("/api/profile", headers=headers))
        else:  # these are made in one way for all cookies
            assert user_of(nobody, **headers) == "zoe"


@pytest.mark.parametrize("kind", ACCEPTED)
def test_accepted(nobody: httpx.Client, kind: str) -> None:
    headers = {"Authorization": f"Bearer {ACCEPTED[kind]()}"}
    assert user_of(nobody, **headers) == user_of(nobody, **headers)


@pytest.mark.parametrize("kind", REFUSED)
def test_every_other_token_gets_one_same_answer(nobody: httpx.Client, kind: str) -> None:
    unauthorized(nobody.get("/api/profile", headers={"Authorization": f"Bearer {REFUSED[kind]()}"}))


def test_what_is_truncated_anywhere_is_refused(nobody: httpx.Client) -> None:
    whole = encrypted()
    for length in range(1, len(whole), 7):
        unauthorized(nobody.get("/api/profile", headers={"Authorization": f"Bearer {whole[:length]}"}))


def test_no_token_takes_much_memory(api: Api, nobody: httpx.Client) -> None:
    assert api.child
    status = Path(f"/proc/{api.child.pid}/status")

    def peak() -> int:
        """The most memory that the API had so far, in kB."""
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1])

    token_of_20_mb = bomb(20)
    before = peak()
    for _ in range(5):
        unauthorized(nobody.get("/api/profile", headers={"Authorization": f"Bearer {token_of_20_mb}"}))
    assert peak() - before < 5_000
