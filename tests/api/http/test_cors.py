"""CORS: which requests and responses browsers permit to pages of other origins."""

import httpx
import pytest

from tests.api.support import LIMIT_HEADERS, expect_error, unlimited_client
from tests.api_process import Api
from tests.tokens import token

ALLOWED = "https://app.test"
EXPOSED_HEADERS = LIMIT_HEADERS | {
    "etag", "idempotency-replayed", "link", "retry-after", "server-timing", "x-chat-seq", "x-request-id",
}  # fmt: skip


def preflight(
    client: httpx.Client, path: str, origin: str, requested: str = "authorization, content-type"
) -> httpx.Response:
    headers = {"Origin": origin, "Access-Control-Request-Method": "PUT", "Access-Control-Request-Headers": requested}
    return client.options(path, headers=headers)


def is_readable(response: httpx.Response) -> bool:
    """Return whether pages of the allowed origin may read a response; check that no other page may."""
    names = {name for name in response.headers if name.startswith("access-control-")}
    assert "Origin" in response.headers["vary"]
    if not names:
        assert "timing-allow-origin" not in response.headers
        return False
    assert response.headers["access-control-allow-origin"] == ALLOWED
    assert response.headers["access-control-allow-credentials"] == "true"
    exposed = response.headers["access-control-expose-headers"].lower().split(", ")
    assert set(exposed) == EXPOSED_HEADERS
    assert response.headers["timing-allow-origin"] == ALLOWED
    return True


def test_pages_of_allowed_origins_can_read_every_response(api: Api) -> None:
    with unlimited_client(api, Origin=ALLOWED) as client:
        responses = [
            client.get("/api/chats"),
            client.get("/api/chats?limit=0"),
            client.get("/api/chats", headers={"Authorization": "Bearer x"}),
            client.get("/api/no/such/path"),
            client.patch("/api/chats"),
            client.post("/api/chats", content=b"x"),
            client.delete("/api/chats/x"),
        ]
        assert [response.status_code for response in responses] == [200, 400, 401, 404, 405, 415, 404]
        assert all(is_readable(response) for response in responses)
        assert not is_readable(client.get("/api/chats", headers={"Origin": "https://evil.test"}))
    with api.client(Origin=ALLOWED) as client:
        rejected = next(
            response for response in (client.get("/api/chats") for _ in range(20)) if response.status_code == 429
        )
        assert is_readable(rejected)
        assert rejected.headers["retry-after"]


@pytest.mark.parametrize("origin", ["https://evil.test", "null", "https://app.test:444", "http://app.test", ""])
def test_pages_of_other_origins_can_read_no_response(api: Api, origin: str) -> None:
    with unlimited_client(api, Origin=origin) as client:
        assert client.get("/api/chats").status_code == 200
        assert not is_readable(client.get("/api/chats"))
        assert not is_readable(preflight(client, "/api/chats", origin))
        assert is_readable(client.get("/api/chats", headers={"Origin": ALLOWED}))


def test_responses_outside_the_api_have_no_cors_headers(api: Api) -> None:
    with unlimited_client(api, Origin=ALLOWED) as client:
        for path in ("/healthz", "/readyz", "/no/such/path"):
            for response in (client.get(path), preflight(client, path, ALLOWED)):
                assert response.status_code != 204
                assert not {name for name in response.headers if name.startswith("access-control-")}


def test_preflight_allows_the_requested_headers(api: Api) -> None:
    with unlimited_client(api, "") as client:
        response = preflight(client, "/api/chats/x", ALLOWED)
    assert (response.status_code, response.content) == (204, b"")
    assert is_readable(response)
    assert response.headers["access-control-allow-methods"] == "GET, HEAD, POST, PUT, DELETE"
    assert response.headers["access-control-allow-headers"] == "authorization, content-type"
    assert int(response.headers["access-control-max-age"]) > 0
    assert response.headers["x-request-id"]


@pytest.mark.parametrize("requested", ["", "x" * 5000, "a: b", "a\tb", "é", '"a"'])
def test_malformed_requested_headers_are_not_echoed(api: Api, requested: str) -> None:
    with unlimited_client(api, "") as client:
        headers = {
            b"Origin": ALLOWED.encode(),
            b"Access-Control-Request-Method": b"GET",
            b"Access-Control-Request-Headers": requested.encode(),
        }
        response = client.options("/api/chats", headers=headers)
    assert response.status_code == 204
    assert is_readable(response)
    assert "access-control-allow-headers" not in response.headers


def test_preflights_do_not_count_against_the_rate_limit(api: Api) -> None:
    with api.client() as client:
        for path in ("/api/chats", "/api/no/such/path"):
            for _ in range(30):
                response = preflight(client, path, ALLOWED)
                assert response.status_code == 204
                assert not response.headers.keys() & LIMIT_HEADERS
        assert client.get("/api/chats").headers["x-ratelimit-remaining"] == "9"


def test_other_options_requests_are_counted_and_rejected(api: Api) -> None:
    with api.client(Origin=ALLOWED) as client:
        expect_error(client.options("/api/chats"), 405)
        expect_error(client.options("/api/chats", headers={"Access-Control-Request-Headers": "x"}), 405)
        del client.headers["Origin"]
        expect_error(client.options("/api/chats", headers={"Access-Control-Request-Method": "GET"}), 405)
        for body in (b"x", iter([b"x"])):  # the second one has no Content-Length
            headers = {"Origin": ALLOWED, "Access-Control-Request-Method": "GET"}
            expect_error(client.request("OPTIONS", "/api/chats", headers=headers, content=body), 405)
        assert client.get("/api/chats").headers["x-ratelimit-remaining"] == "4"


def test_page_may_send_a_bearer_token(api: Api) -> None:
    with unlimited_client(api, "", Authorization=f"Bearer {token()}", Origin=ALLOWED) as client:
        response = client.post("/api/chats", json={"title": "x"})
        assert response.status_code == 201
        assert is_readable(response)
