"""Random requests: no response is a server error, and every error response has the documented format."""

import json
import re
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api.auth.cookies import SESSION_COOKIES
from api.routes import ROUTES, Route
from tests.api.support import expect_error, new_address, send_raw, unlimited_client
from tests.api_process import Api
from tests.database import NO_SUCH_ID
from tests.tokens import new_user, token

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
BYTES = st.binary(max_size=20)
VALUE = (
    TEXT
    | BYTES
    | st.sampled_from(["", "0", "1", "-1", "100", "1e3", "text", "2026-01-01", "now", "%", "\0", "'", "\\"])
)
ANY_TEXT = st.text(st.characters(), max_size=10)  # with lone surrogates
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | ANY_TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(ANY_TEXT, inner, max_size=3),
    max_leaves=8,
)
FIELDS = st.dictionaries(st.sampled_from(["title", "content", "type", "userId", "x"]), JSON, max_size=3)
BODY = FIELDS.map(json.dumps).map(str.encode) | JSON.map(json.dumps).map(str.encode) | st.binary(max_size=60)
TERMS = ["dir", "none", "HS256", "A256GCM", "A256CBC-HS512", "A256KW", "DEF", "JWT"]
HEADERS = st.dictionaries(
    st.sampled_from(["Content-Type", "Authorization", "X-Request-Id", "Accept", "Cookie", "Host", "Range", "X-Y"]),
    st.binary(max_size=30).map(lambda value: bytes(byte for byte in value if byte >= 32 and byte != 127).strip()),
    max_size=2,
)
HEADER = st.fixed_dictionaries(
    {},
    optional={
        name: JSON | st.sampled_from(TERMS) for name in ("alg", "enc", "kid", "zip", "crit", "typ", "cty", "b64")
    },
)
ENCODED = (HEADER | JSON).map(json.dumps).map(str.encode) | BYTES
PART = ENCODED.map(lambda data: urlsafe_b64encode(data).rstrip(b"=")) | st.sampled_from([b"", b"=", b"%2E", b"\xff"])
few_examples = settings(max_examples=40)


@pytest.fixture(scope="module")
def client(api: Api) -> Iterator[httpx.Client]:
    with unlimited_client(api, new_user(), **{"Content-Type": "application/json"}) as client:
        yield client


@pytest.fixture(scope="module")
def chat(client: httpx.Client) -> str:
    return str(client.post("/api/chats", json={"title": "A chat"}).json()["id"])


def assert_no_server_error(response: httpx.Response) -> None:
    assert response.status_code < 500, response.text
    if response.status_code >= 400 and response.request.method != "HEAD":
        expect_error(response, response.status_code)


@few_examples
@given(data=st.data(), route=st.sampled_from(ROUTES), body=BODY, headers=HEADERS)
def test_no_request_to_a_route_is_a_server_error(
    client: httpx.Client, chat: str, data: st.DataObject, route: Route, body: bytes, headers: dict[str, bytes]
) -> None:
    ids = VALUE | st.sampled_from([chat, chat.upper(), NO_SUCH_ID])
    path = re.sub(r"<\w+>", lambda _: quote(data.draw(ids), safe="") or "-", route.path)
    query = data.draw(st.dictionaries(st.sampled_from([*route.query, "x"]), VALUE, max_size=3))
    url = path + "?" + "&".join(f"{name}={quote(value, safe='')}" for name, value in query.items())
    encoded = {name.encode(): value for name, value in headers.items()}
    assert_no_server_error(client.request(route.method, url, content=body, headers=encoded))


@few_examples
@given(
    method=st.sampled_from(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "X"]),
    path=st.text(st.sampled_from("/apichts%0F2.~;?&=#"), max_size=30),
)
def test_no_path_is_a_server_error(client: httpx.Client, method: str, path: str) -> None:
    assert_no_server_error(client.request(method, httpx.URL(str(client.base_url) + "/" + path), content=b""))


@few_examples
@given(claims=st.dictionaries(st.sampled_from(["sub", "name", "email", "picture", "exp", "nbf", "iat", "aud"]), JSON))
def test_no_claims_of_a_signed_token_are_a_server_error(client: httpx.Client, claims: dict[str, Any]) -> None:
    claims = {name: value for name, value in claims.items() if name not in {"iss", "aud"} or isinstance(value, str)}
    try:
        value = token(**claims)
    except (TypeError, ValueError):  # These claims cannot be encoded.
        return
    assert_no_server_error(client.get("/api/chats", headers={"Authorization": f"Bearer {value}"}))


@few_examples
@given(
    parts=st.lists(PART, max_size=6),
    cookie=st.sampled_from([*SESSION_COOKIES, *(f"{name}.0" for name in SESSION_COOKIES)]),
)
def test_no_malformed_token_is_a_server_error(api: Api, parts: list[bytes], cookie: str) -> None:
    value = b".".join(parts)
    with unlimited_client(api, "") as anonymous:
        for header in ((b"Authorization", (b"Bearer " + value).strip()), (b"Cookie", cookie.encode() + b"=" + value)):
            assert_no_server_error(anonymous.get("/api/chats", headers=[header]))


@few_examples
@given(line=st.binary(max_size=40), header=st.binary(max_size=40))
def test_no_malformed_bytes_are_a_server_error(api: Api, line: bytes, header: bytes) -> None:
    forwarded = f"\r\nX-Forwarded-For: {new_address()}\r\nConnection: close\r\n".encode()
    response = send_raw(api, line + forwarded + header + b"\r\n\r\n\r\n\r\n", seconds=5)
    assert response.status_code < 500
    if response.status_code >= 400:
        expect_error(response, response.status_code)
