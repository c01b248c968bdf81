"""ETag, If-None-Match and If-Match over HTTP, for every route with an entity tag."""

import json
import os
import re
import socket
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import httpx
import pytest
from hypothesis import given

from api.dev.demo import SETTINGS
from api.http.preconditions import is_listed
from api.routes import ROUTES, Route
from tests import ROOT, entity_tags, images
from tests.api.route_examples import RouteExamples, name_of
from tests.api.support import LIMIT_HEADERS, expect_error, new_address, request_head, send_raw, unlimited_client
from tests.api_process import Api, choose_long_window, running

README = (ROOT / "README.md").read_text()
READ = [route for route in ROUTES if route.method == "GET" and "etag" in route.response_headers]
CHANGED = [route for route in ROUTES if route.method in ("PUT", "DELETE")]
# A membership and a read marker have no ETag.
VERSIONED = [r for r in CHANGED if "user_id" not in r.path_parameters and not r.path.endswith("/read")]
# Headers that a 304 has in common with the full response; it has none about the body.
GUARDS = {"cache-control", "cross-origin-resource-policy", "x-content-type-options"}
HEADERS_OF_304 = LIMIT_HEADERS | GUARDS | {"etag", "server-timing", "vary", "x-request-id"}


@pytest.fixture(scope="module")
def two_apis(api: Api, new_api: Callable[..., Api], shared_database: str) -> Iterator[tuple[Api, Api]]:
    """Two processes on one database."""
    with running(new_api(shared_database, RATE_LIMIT_WINDOW=choose_long_window())) as other:
        yield api, other


def get_etag(route_examples: RouteExamples, route: Route) -> str:
    """Return the ETag of the resource at a route's path."""
    return route_examples.owner.get(route_examples.fill(route.path)).headers["etag"]


def test_resources_that_can_be_changed_have_an_etag() -> None:
    assert {route.path for route in READ} == {route.path for route in VERSIONED} | {"/api/chats/<chat_id>/messages"}
    assert {route.method for route in ROUTES if "etag" in route.response_headers} == {"GET", "PUT"}
    assert {route for route in VERSIONED if route.method == "PUT"} <= {
        route for route in ROUTES if "etag" in route.response_headers
    }


@pytest.mark.parametrize("route", READ, ids=name_of)
def test_matching_etag_gets_304(route_examples: RouteExamples, route: Route) -> None:
    path = route_examples.fill(route.path)
    whole = route_examples.owner.get(path)
    etag = whole.headers["etag"]
    assert (etag[0], etag[-1]) == ('"', '"')
    theirs = route_examples.member.get(path, headers={"If-None-Match": etag})
    assert (theirs.status_code, theirs.headers["etag"] == etag) == (200, False)
    for method in ("GET", "HEAD"):
        for known in (etag, f"W/{etag}", f'"x", {etag}', "*"):
            same = route_examples.owner.request(method, path, headers={"If-None-Match": known})
            assert (same.status_code, same.content, same.headers["etag"]) == (304, b"", etag)
            assert same.headers.keys() - {"connection", "x-chat-seq"} == HEADERS_OF_304
            assert same.headers.get("x-chat-seq") == whole.headers.get("x-chat-seq")
        for unknown in ('"x"', "", etag.strip('"'), '"', "\N{SNOWMAN}"):
            other = route_examples.owner.request(method, path, headers={b"If-None-Match": unknown.encode()})
            assert (other.status_code, other.headers["etag"]) == (200, etag)
    assert (
        route_examples.owner.get(path, headers=[("If-None-Match", '"x"'), ("If-None-Match", etag)]).status_code == 304
    )
    assert route_examples.owner.get(path, headers={"If-Match": etag}).content == whole.content
    expect_error(route_examples.owner.get(path, headers={"If-Match": '"x"'}), 412)


def test_whitespace_around_a_precondition_is_ignored(api: Api, route_examples: RouteExamples) -> None:
    sent = api.headers(route_examples.ids["owner"])
    for name, status in (("If-None-Match", 304), ("If-Match", 200)):
        request = request_head("GET /api/settings HTTP/1.1", sent | {name: " \t* \t"})
        assert send_raw(api, request, method="GET").status_code == status


def test_responses_without_a_body_end_with_their_head(api: Api, route_examples: RouteExamples) -> None:
    sent = api.headers(route_examples.ids["owner"])
    path = route_examples.fill("/api/chats/<chat_id>")
    parts = [
        request_head(f"GET {path} HTTP/1.1", sent | {"If-None-Match": "*"}),
        request_head(f"DELETE {path} HTTP/1.1", sent),
        request_head(f"GET {path} HTTP/1.1", sent | {"Connection": "close"}),
    ]
    with socket.create_connection(("127.0.0.1", api.port), timeout=20) as connection:
        connection.sendall(b"".join(parts))
        responses = connection.makefile("rb").read().split(b"\r\n\r\n")
    assert [response.partition(b"\r\n")[0] for response in responses[:3]] == [
        b"HTTP/1.1 304 Not Modified", b"HTTP/1.1 204 No Content", b"HTTP/1.1 404 Not Found",
    ]  # fmt: skip
    assert [b"\r\ncontent-" in response.lower() for response in responses[:3]] == [False, False, True]


@pytest.mark.parametrize("route", [route for route in VERSIONED if route.method == "PUT"], ids=name_of)
def test_change_returns_the_new_etag(route_examples: RouteExamples, route: Route) -> None:
    before = get_etag(route_examples, route)
    returned = route_examples.request(route_examples.owner, route).headers["etag"]
    assert before != returned == get_etag(route_examples, route)
    assert route_examples.request(route_examples.owner, route).headers["etag"] == returned  # nothing changed


@pytest.mark.parametrize("route", VERSIONED, ids=name_of)
def test_if_match_protects_other_versions(route_examples: RouteExamples, route: Route) -> None:
    etag = get_etag(route_examples, route)
    before = route_examples.owner.get(route_examples.fill(route.path)).text
    for other in ('"x"', f"W/{etag}", "", etag.strip('"'), '"', "\N{SNOWMAN}"):
        expect_error(route_examples.request(route_examples.owner, route, headers={b"If-Match": other.encode()}), 412)
    expect_error(route_examples.request(route_examples.owner, route, headers={"If-None-Match": etag}), 412)
    assert route_examples.owner.get(route_examples.fill(route.path)).text == before
    meant = [("If-Match", '"x"'), ("If-Match", etag), ("If-None-Match", '"x"')]
    assert route_examples.request(route_examples.owner, route, headers=meant).status_code == route.status
    gone = route_examples.request(route_examples.owner, route, headers={"If-Match": etag})
    expect_error(gone, 412 if route.method == "PUT" else 404)


@given(header=entity_tags.HEADERS)
def test_etag_lists_are_parsed_by_the_grammar(header: str) -> None:
    assert is_listed(entity_tags.ETAG, header) == entity_tags.is_match(entity_tags.ETAG, header)


def test_etag_lists_are_parsed_in_linear_time() -> None:
    for header in ('"x",' * 40_000, '"x"' + " ," * 80_000 + "x", " " * 160_000 + "x", '"' * 160_000, "W/" * 80_000):
        assert not is_listed(entity_tags.ETAG, f"{header}{entity_tags.ETAG}x")


@pytest.fixture(scope="module")
def paths(api: Api) -> list[str]:
    """Paths outside /api whose responses have an ETag."""
    with unlimited_client(api) as client:
        image = client.post("/api/profile/image", files={"image": images.build_png(9, 9)}).json()["imageUrl"]
    return ["/docs", "/docs/page.css", "/docs/events", "/openapi.json", httpx.URL(image).path]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        *(([header], 304) for header in [*entity_tags.STRONG, *entity_tags.WEAK, "*"]),
        *(([header], 200) for header in [*entity_tags.MALFORMED, *entity_tags.OTHER]),
        (['"x"', entity_tags.ETAG], 304),
        ([entity_tags.ETAG, "", '"x"'], 304),
        (['"a', f'b", {entity_tags.ETAG}'], 200),
        (["*", '"x"'], 200),
        ([entity_tags.ETAG, "x"], 200),
    ],
)
def test_matching_etag_outside_the_api_gets_304(api: Api, paths: list[str], headers: list[str], status: int) -> None:
    with api.client("") as client:
        for path in paths:
            etag = client.get(path).headers["etag"]
            sent = [header.replace(entity_tags.TAG, etag.strip('"')).encode("latin-1") for header in headers]
            response = client.get(path, headers=[(b"If-None-Match", header) for header in sent])
            assert (response.status_code, response.headers["etag"]) == (status, etag)


@pytest.mark.parametrize("header", [*entity_tags.WEAK, *entity_tags.MALFORMED, *entity_tags.OTHER])
def test_if_match_without_the_etag_changes_nothing(route_examples: RouteExamples, header: str) -> None:
    route = next(route for route in VERSIONED if route.path == "/api/chats/<chat_id>" and route.method == "DELETE")
    sent = header.replace(entity_tags.TAG, get_etag(route_examples, route).strip('"')).encode("latin-1")
    expect_error(route_examples.request(route_examples.owner, route, headers={b"If-Match": sent}), 412)
    assert route_examples.owner.get(route_examples.fill(route.path), headers={b"If-Match": sent}).status_code == 412
    known = entity_tags.is_match(entity_tags.ETAG, header)
    assert route_examples.owner.get(route_examples.fill(route.path), headers={b"If-None-Match": sent}).status_code == (
        304 if known else 200
    )


@pytest.mark.parametrize("route", [route for route in CHANGED if route not in VERSIONED], ids=name_of)
def test_membership_and_read_marker_have_no_etag(route_examples: RouteExamples, route: Route) -> None:
    expect_error(route_examples.request(route_examples.owner, route, headers={"If-Match": '"x"'}), 412)
    assert route_examples.request(route_examples.owner, route, headers={"If-Match": "*"}).status_code == route.status
    if route.method == "DELETE":
        expect_error(route_examples.request(route_examples.owner, route, headers={"If-Match": "*"}), 404)


def test_example_in_the_readme_works(api: Api, tmp_path: Path) -> None:
    example = re.search(r"^\$ (curl .*)\n(ETag: .*)\n\$ (curl .*\n.*)$", README, flags=re.MULTILINE)
    assert example
    get, response, put = example.groups()
    with unlimited_client(api) as alice:
        alice.put("/api/settings", json={"settings": SETTINGS})  # as `parley dev` does
        (tmp_path / ".curlrc").write_text(f'header = "X-Forwarded-For: {new_address()}"\n')
        token = alice.headers["authorization"].removeprefix("Bearer ")
        environment = {"PATH": os.environ["PATH"], "CURL_HOME": str(tmp_path), "TOKEN": token}

        def run_command(command: str) -> str:
            here = command.replace("http://127.0.0.1:8000", api.url)
            return subprocess.check_output(["bash", "-c", here], env=environment, text=True).strip()

        etag = run_command(get)
        assert re.sub('".*"', "", etag) == re.sub('".*"', "", response)
        put_current = put.replace(response.removeprefix("ETag: "), etag.removeprefix("ETag: "))
        assert "settings" in json.loads(run_command(put_current))
        assert json.loads(run_command(put_current))["error"]["code"] == "precondition_failed"


@pytest.mark.parametrize("route", VERSIONED, ids=name_of)
def test_authorization_is_checked_before_preconditions(route_examples: RouteExamples, route: Route) -> None:
    for match in ("*", '"x"'):
        sent = {"If-Match": match}
        expect_error(
            route_examples.request(route_examples.owner, route, headers=sent | {"Authorization": "Bearer x"}), 401
        )
        if "chat_id" in route.path_parameters:
            expect_error(route_examples.request(route_examples.stranger, route, headers=sent), 404)
            expect_error(route_examples.request(route_examples.member, route, headers=sent), 403)
        if route.body:
            expect_error(route_examples.request(route_examples.owner, route, headers=sent, json={}), 400)


def test_new_image_changes_the_etag_of_the_profile(route_examples: RouteExamples) -> None:
    before = route_examples.owner.get("/api/profile").headers["etag"]
    image = {"image": images.build_png(9, 9)}
    assert route_examples.owner.post("/api/profile/image", files=image, headers={"If-Match": '"x"'}).status_code == 200
    after = route_examples.owner.get("/api/profile").headers["etag"]
    assert before != after
    expect_error(route_examples.owner.put("/api/profile", json={"name": "Ada"}, headers={"If-Match": before}), 412)
    assert (
        route_examples.owner.put("/api/profile", json={"name": "Ada"}, headers={"If-Match": after}).status_code == 200
    )


def test_only_the_callers_browser_caches_and_it_revalidates(
    route_examples: RouteExamples, anonymous_client: httpx.Client
) -> None:
    responses = [
        route_examples.owner.get("/api/chats"),
        route_examples.owner.head("/api/settings"),
        route_examples.owner.put("/api/settings", json={}),
        route_examples.owner.get("/api/no-such-route"),
        anonymous_client.get("/api/profile"),
        route_examples.owner.delete(route_examples.fill("/api/chats/<chat_id>")),
    ]
    assert [response.status_code for response in responses] == [200, 200, 400, 404, 401, 204]
    for response in responses:
        assert response.headers["cache-control"] == "private, no-cache"
        assert response.headers["x-content-type-options"] == "nosniff"
        assert response.headers["cross-origin-resource-policy"] == "same-origin"
        assert "Origin" in response.headers["vary"]
    assert "cache-control" not in anonymous_client.get("/healthz").headers


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/chats/<chat_id>", '{"title": "$"}'),
        ("/api/chats/<chat_id>/messages/<message_id>", '{"content": "$"}'),
        ("/api/settings", '{"settings": {"context": "$"}}'),
        ("/api/profile", '{"name": "$"}'),
    ],
)
def test_one_of_two_concurrent_changes_of_a_version_succeeds(
    route_examples: RouteExamples, two_apis: tuple[Api, Api], path: str, body: str
) -> None:
    path, barrier = route_examples.fill(path), Barrier(2)

    def put(client: httpx.Client, text: str, etag: str) -> httpx.Response:
        barrier.wait()
        return client.put(path, json=json.loads(body.replace("$", text)), headers={"If-Match": etag})

    one, two = (unlimited_client(api, route_examples.ids["owner"]) for api in two_apis)
    with one, two, ThreadPoolExecutor(2) as threads:
        for number in range(20):
            etag = one.get(path).headers["etag"]
            responses = list(threads.map(put, (one, two), (f"one {number}", f"two {number}"), (etag, etag)))
            assert sorted(response.status_code for response in responses) == [200, 412]
            (done,) = (response for response in responses if response.is_success)
            assert two.get(path).headers["etag"] == done.headers["etag"] != etag
