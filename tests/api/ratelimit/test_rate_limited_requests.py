"""The rate limit over HTTP: one budget for all paths under /api, however they are spelt."""

import json
import re
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.api.support import LIMIT_HEADERS, expect_error, new_address, request_head, send_raw
from tests.api_process import Api, choose_long_window, running
from tests.tokens import new_user

SPELLINGS_OF_ROUTES = (
    "/api/chats",
    "/api/chats/",
    "/api/search?search=/healthz",
    "/api/chats#/healthz",
    "http://any.host/api/chats",
    "HTTP://any.host:80/api/chats?limit=1#y",
)


@pytest.fixture(scope="module")
def unproxied_api(new_api: Callable[..., Api], shared_database: str) -> Iterator[Api]:
    """An API without a proxy, with counts of its own in Redis."""
    window, prefix = choose_long_window(), new_user("direct")
    api = new_api(shared_database, TRUSTED_PROXIES="0", RATE_LIMIT_WINDOW=window, RATE_LIMIT_PREFIX=prefix)
    with running(api):
        yield api


def get_statuses(client: httpx.Client, times: int, path: str = "/api/chats", **headers: str) -> list[int]:
    return [client.get(path, headers=headers).status_code for _ in range(times)]


def test_ten_of_200_simultaneous_requests_are_allowed(api: Api) -> None:
    request, window = request_head("GET /api/chats HTTP/1.1", api.headers()), int(api.environment["RATE_LIMIT_WINDOW"])
    with ThreadPoolExecutor(200) as pool:
        responses = list(pool.map(lambda _: send_raw(api, request, method="GET"), range(200)))
    allowed = [response for response in responses if response.status_code == 200]
    rejected = [response for response in responses if response.status_code == 429]
    assert (len(allowed), len(rejected)) == (10, 190)
    assert sorted(int(response.headers["x-ratelimit-remaining"]) for response in allowed) == list(range(10))
    assert not any("retry-after" in response.headers for response in allowed)
    for response in rejected:
        assert expect_error(response, 429) == {"code": "rate_limited", "message": "Too many requests."}
        assert response.headers.keys() >= LIMIT_HEADERS
        assert response.headers["x-ratelimit-remaining"] == "0"
        first_wait = int(re.findall(r'"default";r=0;t=(\d+)', response.headers["ratelimit"])[0])
        assert 0 < first_wait <= window + 1
        assert first_wait <= int(response.headers["retry-after"]) <= first_wait + window
    assert len({response.headers["retry-after"] for response in rejected}) > 1
    assert {response.headers["x-ratelimit-limit"] for response in responses} == {"10"}
    assert {response.headers["ratelimit-policy"] for response in responses} == {f'"default";q=10;w={window}'}
    resets = {int(response.headers["x-ratelimit-reset"]) for response in responses}
    assert len(resets) == 1
    assert resets.pop() % (window * 1000) == 0


def test_every_request_under_api_counts(api: Api) -> None:
    with api.client() as client:
        responses = [
            client.get("/api/chats"),
            client.post("/api/chats", json={"title": "x"}),
            client.post("/api/chats", content=b"{", headers={"Content-Type": "application/json"}),
            client.post("/api/chats", content=b"x"),
            client.post("/api/chats", content=b"x" * 2_000_000, headers={"Content-Type": "application/json"}),
            client.get("/api/chats/1"),
            client.get("/api/nope"),
            client.get("/api"),
            client.patch("/api/chats"),
            client.get("/api/chats", headers={"Authorization": "Bearer x"}),
        ]
        assert [response.status_code for response in responses] == [200, 201, 400, 415, 413, 404, 404, 404, 405, 401]
        remaining = [int(response.headers["x-ratelimit-remaining"]) for response in responses]
        assert remaining == list(range(9, -1, -1))
        for method, path in (("GET", "/api/chats"), ("GET", "/api/nope"), ("PATCH", "/api/chats"), ("POST", "/api")):
            expect_error(client.request(method, path), 429)
        expect_error(client.get("/api/chats", headers={"Authorization": ""}), 429)


def test_requests_outside_api_do_not_count(api: Api) -> None:
    with api.client() as client:
        for path in ("/healthz", "/readyz", "/nope"):
            assert len(set(get_statuses(client, 15, path))) == 1
        assert get_statuses(client, 11) == [200] * 10 + [429]
        assert client.get("/healthz").status_code == 200


@pytest.mark.parametrize(
    "target",
    [
        *SPELLINGS_OF_ROUTES,
        "//api/chats",
        "/./api/chats",
        "/x/../api/chats",
        "/healthz/../api/chats",
        "/%61pi/chats",
        "/api%2Fchats",
        "/api/%63hats",
        "/API/chats",
        "/api//chats",
        "/api;x/chats",
        "\\api\\chats",
        "http://any.host//api/chats",
        "*/api/chats",
        "/healthz/api/chats",
    ],
)
def test_no_spelling_of_a_path_avoids_the_rate_limit(api: Api, target: str) -> None:
    headers = api.headers()
    statuses = [
        send_raw(api, request_head(f"GET {target} HTTP/1.1", headers), method="GET").status_code for _ in range(12)
    ]
    counted = [[status] * 10 + [429] * 2 for status in (200, 404)]
    assert statuses in [*counted, [404] * 12, [400] * 12]
    assert (200 in statuses) == (target in SPELLINGS_OF_ROUTES)


def test_behind_a_proxy_the_last_forwarded_address_counts(api: Api) -> None:
    address = new_address()
    with api.client() as client:
        assert get_statuses(client, 5, **{"X-Forwarded-For": f"1.2.3.4, {address}"}) == [200] * 5
        assert get_statuses(client, 5, **{"X-Forwarded-For": f"5.6.7.8,9.9.9.9,{address}"}) == [200] * 5
        assert get_statuses(client, 1, **{"X-Forwarded-For": address}) == [429]
        two = request_head("GET /api/chats HTTP/1.1", {"X-Forwarded-For": f"1.2.3.4\r\nX-Forwarded-For: {address}"})
        assert send_raw(api, two, method="GET").status_code == 429
        assert get_statuses(client, 1, **{"X-Forwarded-For": f"{address}, {new_address()}"}) == [200]


def test_ipv6_network_has_one_budget(api: Api) -> None:
    network = new_address().removesuffix("::1")
    with api.client() as client:
        for n in range(10):
            assert get_statuses(client, 1, **{"X-Forwarded-For": f"{network}:0:{n}:{n}::1"}) == [200]
        assert get_statuses(client, 1, **{"X-Forwarded-For": f"{network}::ffff"}) == [429]
        assert get_statuses(client, 1, **{"X-Forwarded-For": f"{network}:1::1"}) == [200]


def test_without_a_proxy_headers_do_not_change_the_address(unproxied_api: Api) -> None:
    forgeries = ("X-Forwarded-For", "Forwarded", "X-Real-IP", "CF-Connecting-IP", "True-Client-IP", "X-Client-IP")
    with unproxied_api.client() as client:
        malformed = send_raw(unproxied_api, b"POST /api/chats HTTP/1.1\r\nContent-Length: x\r\n\r\n")
        assert malformed.headers["x-ratelimit-remaining"] == "9"
        for n in range(9):
            response = client.get("/api/chats", headers=dict.fromkeys(forgeries, f"203.0.113.{n}"))
            assert (response.status_code, response.headers["x-ratelimit-remaining"]) == (200, str(8 - n))
        for name in forgeries:
            expect_error(client.get("/api/chats", headers={name: "203.0.113.200"}), 429)
    expect_error(send_raw(unproxied_api, b"POST /api/chats HTTP/1.1\r\nContent-Length: x\r\n\r\n"), 429)


def test_pipelined_requests_count_each(api: Api) -> None:
    one = request_head("GET /api/chats HTTP/1.1", api.headers())
    last = request_head("GET /api/chats HTTP/1.1", api.headers() | {"Connection": "close"})
    with socket.create_connection(("127.0.0.1", api.port), timeout=20) as connection:
        connection.sendall(one * 15 + last)
        received = b""
        while piece := connection.recv(65_536):
            received += piece
    found = [int(status) for status in re.findall(rb"HTTP/1.1 (\d+)", received)]
    assert found == [200] * 10 + [429] * 5 + [200]
    assert json.loads(received[received.rindex(b"\r\n\r\n") :])["chats"] == []
