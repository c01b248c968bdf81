"""ETag, If-None-Match and If-Match over HTTP, at every route that has a version."""

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
from tests import entity_tags, images
from tests.api.support import LIMIT_HEADERS, exchange, head, new_address, refusal, unlimited
from tests.api.test_routes import World, name_of, new_world
from tests.support import ROOT, Api, long_window, running

README = (ROOT / "README.md").read_text()
READ = [route for route in ROUTES if route.method == "GET" and "etag" in route.says]
CHANGED = [route for route in ROUTES if route.method in ("PUT", "DELETE")]
VERSIONED = [route for route in CHANGED if "user_id" not in route.path_parameters]  # a membership has no version
# A 304 says of these what the whole answer would have said; what tells of the body, it leaves out.
GUARDS = {"cache-control", "cross-origin-resource-policy", "x-content-type-options"}
KEPT = LIMIT_HEADERS | GUARDS | {"etag", "server-timing", "vary", "x-request-id"}


@pytest.fixture
def world(api: Api) -> Iterator[World]:
    """A world to change."""
    with new_world(api) as world:
        yield world


@pytest.fixture(scope="module")
def both(api: Api, new_api: Callable[..., Api], shared_database: str) -> Iterator[tuple[Api, Api]]:
    """Two processes on one database."""
    with running(new_api(shared_database, RATE_LIMIT_WINDOW=long_window())) as other:
        yield api, other


def etag_of(world: World, route: Route) -> str:
    """The ETag of what is at a route's path."""
    return world.owner.get(world.fill(route.path)).headers["etag"]


def test_what_has_a_version_is_what_can_be_changed() -> None:
    assert {route.path for route in READ} == {route.path for route in VERSIONED} | {"/api/chats/<chat_id>/messages"}
    assert {route.method for route in ROUTES if "etag" in route.says} == {"GET", "PUT"}
    assert {route for route in ROUTES if route.method == "PUT"} <= {route for route in ROUTES if "etag" in route.says}


@pytest.mark.parametrize("route", READ, ids=name_of)
def test_what_the_caller_has_is_a_304(world: World, route: Route) -> None:
    path = world.fill(route.path)
    whole = world.owner.get(path)
    etag = whole.headers["etag"]
    assert (etag[0], etag[-1]) == ('"', '"')
    theirs = world.member.get(path, headers={"If-None-Match": etag})
    assert (theirs.status_code, theirs.headers["etag"] == etag) == (200, False)
    for method in ("GET", "HEAD"):
        for known in (etag, f"W/{etag}", f'"x", {etag}', "*"):
            same = world.owner.request(method, path, headers={"If-None-Match": known})
            assert (same.status_code, same.content, same.headers["etag"]) == (304, b"", etag)
            assert same.headers.keys() - {"connection", "x-chat-seq"} == KEPT
            assert same.headers.get("x-chat-seq") == whole.headers.get("x-chat-seq")
        for unknown in ('"x"', "", etag.strip('"'), '"', "\N{SNOWMAN}"):
            other = world.owner.request(method, path, headers={b"If-None-Match": unknown.encode()})
            assert (other.status_code, other.headers["etag"]) == (200, etag)
    assert world.owner.get(path, headers=[("If-None-Match", '"x"'), ("If-None-Match", etag)]).status_code == 304
    assert world.owner.get(path, headers={"If-Match": etag}).content == whole.content
    refusal(world.owner.get(path, headers={"If-Match": '"x"'}), 412)


def test_what_is_around_a_condition_is_not_of_it(api: Api, world: World) -> None:
    sent = api.headers(world.ids["owner"])
    for name, status in (("If-None-Match", 304), ("If-Match", 200)):
        asked = head("GET /api/settings HTTP/1.1", sent | {name: " \t* \t"})
        assert exchange(api, asked, method="GET").status_code == status


def test_nothing_follows_the_head_of_an_answer_without_a_body(api: Api, world: World) -> None:
    sent = api.headers(world.ids["owner"])
    path = world.fill("/api/chats/<chat_id>")
    parts = [
        head(f"GET {path} HTTP/1.1", sent | {"If-None-Match": "*"}),
        head(f"DELETE {path} HTTP/1.1", sent),
        head(f"GET {path} HTTP/1.1", sent | {"Connection": "close"}),
    ]
    with socket.create_connection(("127.0.0.1", api.port), timeout=20) as connection:
        connection.sendall(b"".join(parts))
        answers = connection.makefile("rb").read().split(b"\r\n\r\n")
    assert [answer.partition(b"\r\n")[0] for answer in answers[:3]] == [
        b"HTTP/1.1 304 Not Modified", b"HTTP/1.1 204 No Content", b"HTTP/1.1 404 Not Found",
    ]  # fmt: skip
    assert [b"\r\ncontent-" in answer.lower() for answer in answers[:3]] == [False, False, True]


@pytest.mark.parametrize("route", [route for route in CHANGED if route.method == "PUT"], ids=name_of)
def test_a_change_tells_the_version_that_it_made(world: World, route: Route) -> None:
    before = etag_of(world, route)
    told = world.request(world.owner, route).headers["etag"]
    assert before != told == etag_of(world, route)
    assert world.request(world.owner, route).headers["etag"] == told  # there was nothing to change


@pytest.mark.parametrize("route", VERSIONED, ids=name_of)
def test_only_the_version_that_is_meant_is_changed(world: World, route: Route) -> None:
    etag = etag_of(world, route)
    before = world.owner.get(world.fill(route.path)).text
    for other in ('"x"', f"W/{etag}", "", etag.strip('"'), '"', "\N{SNOWMAN}"):
        refusal(world.request(world.owner, route, headers={b"If-Match": other.encode()}), 412)
    refusal(world.request(world.owner, route, headers={"If-None-Match": etag}), 412)
    assert world.owner.get(world.fill(route.path)).text == before
    meant = [("If-Match", '"x"'), ("If-Match", etag), ("If-None-Match", '"x"')]
    assert world.request(world.owner, route, headers=meant).status_code == route.status
    gone = world.request(world.owner, route, headers={"If-Match": etag})
    refusal(gone, 412 if route.method == "PUT" else 404)


@given(header=entity_tags.HEADERS)
def test_lists_are_parsed_by_the_grammar(header: str) -> None:
    assert is_listed(entity_tags.ETAG, header) == entity_tags.is_match(entity_tags.ETAG, header)


def test_a_list_of_any_length_is_parsed_in_linear_time() -> None:
    for header in ('"x",' * 40_000, '"x"' + " ," * 80_000 + "x", " " * 160_000 + "x", '"' * 160_000, "W/" * 80_000):
        assert not is_listed(entity_tags.ETAG, f"{header}{entity_tags.ETAG}x")


@pytest.fixture(scope="module")
def paths(api: Api) -> list[str]:
    """What has an ETag outside /api."""
    with unlimited(api) as client:
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
def test_what_the_caller_has_is_a_304_outside_the_api(
    api: Api, paths: list[str], headers: list[str], status: int
) -> None:
    with api.client("") as client:
        for path in paths:
            etag = client.get(path).headers["etag"]
            sent = [header.replace(entity_tags.TAG, etag.strip('"')).encode("latin-1") for header in headers]
            answer = client.get(path, headers=[(b"If-None-Match", header) for header in sent])
            assert (answer.status_code, answer.headers["etag"]) == (status, etag)


@pytest.mark.parametrize("header", [*entity_tags.WEAK, *entity_tags.MALFORMED, *entity_tags.OTHER])
def test_nothing_is_changed_by_a_header_without_the_version(world: World, header: str) -> None:
    route = next(route for route in VERSIONED if route.path == "/api/chats/<chat_id>" and route.method == "DELETE")
    sent = header.replace(entity_tags.TAG, etag_of(world, route).strip('"')).encode("latin-1")
    refusal(world.request(world.owner, route, headers={b"If-Match": sent}), 412)
    assert world.owner.get(world.fill(route.path), headers={b"If-Match": sent}).status_code == 412
    known = entity_tags.is_match(entity_tags.ETAG, header)
    assert world.owner.get(world.fill(route.path), headers={b"If-None-Match": sent}).status_code == (
        304 if known else 200
    )


def test_a_membership_has_no_version(world: World) -> None:
    (route,) = (route for route in CHANGED if route not in VERSIONED)
    refusal(world.request(world.owner, route, headers={"If-Match": '"x"'}), 412)
    assert world.request(world.owner, route, headers={"If-Match": "*"}).status_code == 204
    refusal(world.request(world.owner, route, headers={"If-Match": "*"}), 404)


def test_the_readmes_example_goes_as_it_is_told(api: Api, tmp_path: Path) -> None:
    example = re.search(r"^\$ (curl .*)\n(ETag: .*)\n\$ (curl .*\n.*)$", README, flags=re.MULTILINE)
    assert example
    asking, answer, change = example.groups()
    with unlimited(api) as alice:
        alice.put("/api/settings", json={"settings": SETTINGS})  # as `parley dev` has made hers
        (tmp_path / ".curlrc").write_text(f'header = "X-Forwarded-For: {new_address()}"\n')
        token = alice.headers["authorization"].removeprefix("Bearer ")
        environment = {"PATH": os.environ["PATH"], "CURL_HOME": str(tmp_path), "TOKEN": token}

        def printed(command: str) -> str:
            here = command.replace("http://127.0.0.1:8000", api.url)
            return subprocess.check_output(["bash", "-c", here], env=environment, text=True).strip()

        etag = printed(asking)
        assert re.sub('".*"', "", etag) == re.sub('".*"', "", answer)
        meant = change.replace(answer.removeprefix("ETag: "), etag.removeprefix("ETag: "))
        assert "settings" in json.loads(printed(meant))
        assert json.loads(printed(meant))["error"]["code"] == "precondition_failed"


@pytest.mark.parametrize("route", VERSIONED, ids=name_of)
def test_who_may_not_is_told_that_first(world: World, route: Route) -> None:
    for match in ("*", '"x"'):
        sent = {"If-Match": match}
        refusal(world.request(world.owner, route, headers=sent | {"Authorization": "Bearer x"}), 401)
        if "chat_id" in route.path_parameters:
            refusal(world.request(world.stranger, route, headers=sent), 404)
            refusal(world.request(world.member, route, headers=sent), 403)
        if route.body:
            refusal(world.request(world.owner, route, headers=sent, json={}), 400)


def test_an_image_changes_the_profiles_version(world: World) -> None:
    before = world.owner.get("/api/profile").headers["etag"]
    image = {"image": images.build_png(9, 9)}
    assert world.owner.post("/api/profile/image", files=image, headers={"If-Match": '"x"'}).status_code == 200
    after = world.owner.get("/api/profile").headers["etag"]
    assert before != after
    refusal(world.owner.put("/api/profile", json={"name": "Ada"}, headers={"If-Match": before}), 412)
    assert world.owner.put("/api/profile", json={"name": "Ada"}, headers={"If-Match": after}).status_code == 200


def test_only_the_caller_keeps_answers_and_asks_again(world: World, nobody: httpx.Client) -> None:
    answers = [
        world.owner.get("/api/chats"),
        world.owner.head("/api/settings"),
        world.owner.put("/api/settings", json={}),
        world.owner.get("/api/no-such-route"),
        nobody.get("/api/profile"),
        world.owner.delete(world.fill("/api/chats/<chat_id>")),
    ]
    assert [answer.status_code for answer in answers] == [200, 200, 400, 404, 401, 204]
    for answer in answers:
        assert answer.headers["cache-control"] == "private, no-cache"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"
        assert "Origin" in answer.headers["vary"]
    assert "cache-control" not in nobody.get("/healthz").headers


@pytest.mark.parametrize(
    ("place", "body"),
    [
        ("/api/chats/<chat_id>", '{"title": "$"}'),
        ("/api/chats/<chat_id>/messages/<message_id>", '{"content": "$"}'),
        ("/api/settings", '{"settings": {"context": "$"}}'),
        ("/api/profile", '{"name": "$"}'),
    ],
)
def test_of_two_who_change_one_version_at_once_one_does(
    world: World, both: tuple[Api, Api], place: str, body: str
) -> None:
    path, at_once = world.fill(place), Barrier(2)

    def put(client: httpx.Client, text: str, etag: str) -> httpx.Response:
        at_once.wait()
        return client.put(path, json=json.loads(body.replace("$", text)), headers={"If-Match": etag})

    one, two = (unlimited(api, world.ids["owner"]) for api in both)
    with one, two, ThreadPoolExecutor(2) as threads:
        for number in range(20):
            etag = one.get(path).headers["etag"]
            answers = list(threads.map(put, (one, two), (f"one {number}", f"two {number}"), (etag, etag)))
            assert sorted(answer.status_code for answer in answers) == [200, 412]
            (done,) = (answer for answer in answers if answer.is_success)
            assert two.get(path).headers["etag"] == done.headers["etag"] != etag
