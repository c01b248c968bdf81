"""CORS: what browsers let pages of other origins ask and read."""

import httpx
import pytest

from tests.api.support import LIMIT_HEADERS, refusal, unlimited
from tests.support import Api, token

ALLOWED = "https://app.test"
READABLE = LIMIT_HEADERS | {
    "etag", "idempotency-replayed", "link", "retry-after", "server-timing", "x-chat-seq", "x-request-id",
}  # fmt: skip


def preflight(
    client: httpx.Client, path: str, origin: str, wanted: str = "authorization, content-type"
) -> httpx.Response:
    headers = {"Origin": origin, "Access-Control-Request-Method": "PUT", "Access-Control-Request-Headers": wanted}
    return client.options(path, headers=headers)


def shared(response: httpx.Response) -> bool:
    """Whether a page of the allowed origin may read this, cookies and all; if not, nobody else may either."""
    names = {name for name in response.headers if name.startswith("access-control-")}
    assert "Origin" in response.headers["vary"]
    if not names:
        assert "timing-allow-origin" not in response.headers
        return False
    assert response.headers["access-control-allow-origin"] == ALLOWED
    assert response.headers["access-control-allow-credentials"] == "true"
    exposed = response.headers["access-control-expose-headers"].lower().split(", ")
    assert set(exposed) == READABLE
    assert response.headers["timing-allow-origin"] == ALLOWED
    return True


def test_every_answer_to_an_allowed_page_can_be_read(api: Api) -> None:
    with unlimited(api, Origin=ALLOWED) as client:
        answers = [
            client.get("/api/chats"),
            client.get("/api/chats?limit=0"),
            client.get("/api/chats", headers={"Authorization": "Bearer x"}),
            client.get("/api/no/such/path"),
            client.patch("/api/chats"),
            client.post("/api/chats", content=b"x"),
            client.delete("/api/chats/x"),
        ]
        assert [answer.status_code for answer in answers] == [200, 400, 401, 404, 405, 415, 404]
        assert all(shared(answer) for answer in answers)
        assert not shared(client.get("/api/chats", headers={"Origin": "https://evil.test"}))
    with api.client(Origin=ALLOWED) as client:
        refused = next(answer for answer in (client.get("/api/chats") for _ in range(20)) if answer.status_code == 429)
        assert shared(refused)
        assert refused.headers["retry-after"]


@pytest.mark.parametrize("origin", ["https://evil.test", "null", "https://app.test:444", "http://app.test", ""])
def test_no_answer_to_another_page_can_be_read(api: Api, origin: str) -> None:
    with unlimited(api, Origin=origin) as client:
        assert client.get("/api/chats").status_code == 200
        assert not shared(client.get("/api/chats"))
        assert not shared(preflight(client, "/api/chats", origin))
        assert shared(client.get("/api/chats", headers={"Origin": ALLOWED}))


def test_outside_of_the_api_nothing_is_shared(api: Api) -> None:
    with unlimited(api, Origin=ALLOWED) as client:
        for path in ("/healthz", "/readyz", "/no/such/path"):
            for answer in (client.get(path), preflight(client, path, ALLOWED)):
                assert answer.status_code != 204
                assert not {name for name in answer.headers if name.startswith("access-control-")}


def test_a_preflight_allows_what_the_page_wants(api: Api) -> None:
    with unlimited(api, "") as client:
        answer = preflight(client, "/api/chats/x", ALLOWED)
    assert (answer.status_code, answer.content) == (204, b"")
    assert shared(answer)
    assert answer.headers["access-control-allow-methods"] == "GET, HEAD, POST, PUT, DELETE"
    assert answer.headers["access-control-allow-headers"] == "authorization, content-type"
    assert int(answer.headers["access-control-max-age"]) > 0
    assert answer.headers["x-request-id"]


@pytest.mark.parametrize("wanted", ["", "x" * 5000, "a: b", "a\tb", "é", '"a"'])
def test_what_are_no_names_of_headers_is_not_repeated(api: Api, wanted: str) -> None:
    with unlimited(api, "") as client:
        headers = {
            b"Origin": ALLOWED.encode(),
            b"Access-Control-Request-Method": b"GET",
            b"Access-Control-Request-Headers": wanted.encode(),
        }
        answer = client.options("/api/chats", headers=headers)
    assert answer.status_code == 204
    assert shared(answer)
    assert "access-control-allow-headers" not in answer.headers


def test_preflights_are_not_counted(api: Api) -> None:
    with api.client() as client:
        for path in ("/api/chats", "/api/no/such/path"):
            for _ in range(30):
                answer = preflight(client, path, ALLOWED)
                assert answer.status_code == 204
                assert not answer.headers.keys() & LIMIT_HEADERS
        assert client.get("/api/chats").headers["x-ratelimit-remaining"] == "9"


def test_another_options_request_is_counted_and_refused(api: Api) -> None:
    with api.client(Origin=ALLOWED) as client:
        refusal(client.options("/api/chats"), 405)
        refusal(client.options("/api/chats", headers={"Access-Control-Request-Headers": "x"}), 405)
        del client.headers["Origin"]
        refusal(client.options("/api/chats", headers={"Access-Control-Request-Method": "GET"}), 405)
        for body in (b"x", iter([b"x"])):  # the latter without a length
            wanted = {"Origin": ALLOWED, "Access-Control-Request-Method": "GET"}
            refusal(client.request("OPTIONS", "/api/chats", headers=wanted, content=body), 405)
        assert client.get("/api/chats").headers["x-ratelimit-remaining"] == "4"


def test_a_page_may_send_a_bearer_token_too(api: Api) -> None:
    with unlimited(api, "", Authorization=f"Bearer {token()}", Origin=ALLOWED) as client:
        answer = client.post("/api/chats", json={"title": "x"})
        assert answer.status_code == 201
        assert shared(answer)
