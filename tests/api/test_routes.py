"""Every route: the document's bodies to the letter, and each answer that is not the wanted one."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import httpx
import pytest

from api.routes import ROUTES, Route
from tests import images
from tests.api.support import INSTANT, LIMIT_HEADERS, UUID7, Like, refusal, unlimited
from tests.support import CHOSEN_SETTINGS, DEFAULT_SETTINGS, NO_SUCH_ID, Api, new_user

SENT = {"id": UUID7, "content": "hello", "type": "text", "userId": "<owner>", "createdAt": INSTANT}
CHAT = {"id": UUID7, "title": "Plans", "role": "owner", "lastMessage": SENT} | dict.fromkeys(
    ("createdAt", "updatedAt", "lastMessageAt"), INSTANT
)
CODE = {"content": "f()", "type": "code"}
MESSAGE = SENT | {"updatedAt": INSTANT}
PAGE = {"total": 1, "page": 1, "limit": 50}
OWNER = {"userId": "<owner>", "name": None, "image": None, "role": "owner", "joinedAt": INSTANT}
MEMBER = {"userId": "<member>", "name": None, "image": None, "role": "member", "joinedAt": INSTANT}
KNOWN = {"userId": "<known>", "name": None, "image": None, "role": "member", "joinedAt": INSTANT}
EMAIL = "<owner>@example.org"
USER = {"name": None, "email": None, "updatedAt": INSTANT}
SETTINGS = DEFAULT_SETTINGS | {"updatedAt": INSTANT}

# For each route: a good body, and what is answered to the owner of a chat with one message and one other member.
EXAMPLES: dict[tuple[str, str], tuple[dict[str, Any] | None, dict[str, Any] | None]] = {
    ("GET", "/api/chats"): (None, {"chats": [CHAT]} | PAGE),
    ("POST", "/api/chats"): ({"title": "Ideas"}, {"id": UUID7, "title": "Ideas", "createdAt": INSTANT}),
    ("GET", "/api/chats/<chat_id>"): (None, CHAT),
    ("PUT", "/api/chats/<chat_id>"): ({"title": "Plan B"}, CHAT | {"title": "Plan B"}),
    ("DELETE", "/api/chats/<chat_id>"): (None, None),
    ("GET", "/api/chats/<chat_id>/members"): (None, {"members": [OWNER, MEMBER]}),
    ("POST", "/api/chats/<chat_id>/members"): ({"userId": "<known>"}, KNOWN),
    ("DELETE", "/api/chats/<chat_id>/members/<user_id>"): (None, None),
    ("GET", "/api/chats/<chat_id>/messages"): (None, {"messages": [MESSAGE]} | PAGE),
    ("POST", "/api/chats/<chat_id>/messages"): (CODE, SENT | CODE),
    ("GET", "/api/chats/<chat_id>/messages/<message_id>"): (None, MESSAGE),
    ("PUT", "/api/chats/<chat_id>/messages/<message_id>"): (
        {"content": "bye"},
        {"id": UUID7, "content": "bye", "type": "text", "updatedAt": INSTANT},
    ),
    ("DELETE", "/api/chats/<chat_id>/messages/<message_id>"): (None, None),
    ("GET", "/api/chats/<chat_id>/events"): (
        None,
        {
            "events": [{"chatId": "<chat_id>", "seq": 3, "event": "message:sent", "data": SENT, "at": INSTANT}],
            "next": 3,
            "hasMore": False,
        },
    ),
    ("GET", "/api/events"): (None, {"events": [], "next": Like(r"[\w-]+"), "hasMore": False}),
    ("GET", "/api/search"): (
        None,
        {"messages": [MESSAGE | {"chatId": "<chat_id>", "extract": "<mark>hello</mark>"}]} | PAGE,
    ),
    ("POST", "/api/pusher/auth"): (
        {"socket_id": "1.2", "channel_name": "private-chat-<chat_id>"},
        {"auth": Like(r"key:[0-9a-f]{64}")},
    ),
    ("POST", "/api/pusher/user-auth"): (
        {"socket_id": "1.2"},
        {"auth": Like(r"key:[0-9a-f]{64}"), "user_data": Like(r'\{"id": "[\w-]+", "user_info": \{"userId": .*\}\}')},
    ),
    ("GET", "/api/profile"): (None, {"user": {"id": "<owner>", "imageUrl": None} | USER}),
    ("PUT", "/api/profile"): (
        {"name": "Ada", "email": EMAIL},
        {"user": {"name": "Ada", "email": EMAIL, "updatedAt": INSTANT}},
    ),
    ("POST", "/api/profile/image"): (
        None,
        {"imageUrl": Like(r"http://127\.0\.0\.1:\d+/images/[0-9a-f]{64}\.png"), "updatedAt": INSTANT},
    ),
    ("GET", "/api/settings"): (None, {"settings": SETTINGS}),
    ("PUT", "/api/settings"): ({"settings": CHOSEN_SETTINGS}, {"settings": SETTINGS | CHOSEN_SETTINGS}),
}

QUERIES = {
    "/api/search": {"search": "hello"},
    "/api/chats/<chat_id>/events": {"after": "2"},
}  # what a route's query must have

IN_A_CHAT = [route for route in ROUTES if "chat_id" in route.path_parameters]
WITH_BODY = [route for route in ROUTES if route.body]
WITH_QUERY = [route for route in ROUTES if route.query]
PATHS = sorted({route.path for route in ROUTES})


def name_of(route: Route) -> str:
    return f"{route.method} {route.path}"


@dataclass
class World:
    """A chat of an owner and a member with one message of the owner's; a stranger; somebody who has signed in once."""

    owner: httpx.Client
    member: httpx.Client
    stranger: httpx.Client
    ids: dict[str, str]

    def but(self, **ids: str) -> "World":
        """The same with other ids."""
        return replace(self, ids=self.ids | ids)

    def fill(self, value: Any) -> Any:
        """The value with the names in angle brackets replaced by ids."""
        if isinstance(value, dict):
            return {key: self.fill(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self.fill(item) for item in value]
        return (
            re.sub(r"<(\w+)>", lambda name: self.ids.get(name[1], name[0]), value) if isinstance(value, str) else value
        )

    def request(self, client: httpx.Client, route: Route, **options: Any) -> httpx.Response:
        """Asks a route, with its example's body, or an image, unless there is another."""
        body, _ = EXAMPLES[route.method, route.path]
        options.setdefault("params", QUERIES.get(route.path))
        if route.image:
            options["files"] = {"image": images.build_png(9, 9)}
        elif route.form and not options.keys() & {"data", "json", "content"}:
            options["data"] = self.fill(body)
        elif body and not options.keys() & {"json", "content"}:
            options["json"] = self.fill(body)
        return client.request(route.method, self.fill(route.path), **options)


@contextmanager
def new_world(api: Api) -> Iterator[World]:
    names = {name: new_user(name) for name in ("owner", "member", "stranger", "known")}
    with (
        unlimited(api, names["owner"]) as owner,
        unlimited(api, names["member"]) as member,
        unlimited(api, names["stranger"]) as stranger,
        unlimited(api, names["known"]) as known,
    ):
        member.get("/api/chats")
        known.get("/api/chats")
        chat = owner.post("/api/chats", json={"title": "Plans"}).json()["id"]
        owner.post(f"/api/chats/{chat}/members", json={"userId": names["member"]})
        message = owner.post(f"/api/chats/{chat}/messages", json={"content": "hello"}).json()["id"]
        ids = {"chat_id": chat, "message_id": message, "user_id": names["member"]}
        yield World(owner, member, stranger, names | ids)


@pytest.fixture
def world(api: Api) -> Iterator[World]:
    """A world to change."""
    with new_world(api) as world:
        yield world


@pytest.fixture(scope="module")
def shared_world(api: Api) -> Iterator[World]:
    """A world that nobody changes."""
    with new_world(api) as world:
        yield world


def test_every_route_has_an_example() -> None:
    assert EXAMPLES.keys() == {(route.method, route.path) for route in ROUTES}


@pytest.mark.parametrize("route", ROUTES, ids=name_of)
def test_a_route_answers_what_the_document_says(world: World, route: Route) -> None:
    response = world.request(world.owner, route)
    assert response.status_code == route.status, response.text
    assert response.headers.keys() >= LIMIT_HEADERS | {"x-request-id"}
    _, expected = EXAMPLES[route.method, route.path]
    if expected is None:
        assert response.status_code == 204
        assert response.content == b""
        assert not response.headers.keys() & {"content-type", "content-length", "transfer-encoding"}
    else:
        assert response.headers["content-type"] == "application/json"
        assert response.json() == world.fill(expected)


@pytest.mark.parametrize("route", [r for r in ROUTES if r.status == 204], ids=name_of)
def test_after_a_deletion_the_connection_serves_on(world: World, route: Route) -> None:
    world.request(world.owner, route)
    assert world.owner.get("/api/chats").status_code == 200
    assert world.request(world.owner, route).status_code == 404


@pytest.mark.parametrize("route", ROUTES, ids=name_of)
def test_a_route_asks_for_a_token(shared_world: World, route: Route, api: Api) -> None:
    with unlimited(api, "") as nobody:
        refusal(shared_world.request(nobody, route), 401)


@pytest.mark.parametrize("route", IN_A_CHAT, ids=name_of)
def test_a_chat_of_others_is_as_absent_as_one_that_is_none(shared_world: World, route: Route) -> None:
    unseen = refusal(shared_world.request(shared_world.stranger, route), 404)
    for chat in (NO_SUCH_ID, "1", shared_world.ids["chat_id"] + "0", "é"):
        world = shared_world.but(chat_id=chat)
        assert refusal(world.request(world.owner, route), 404) == unseen


@pytest.mark.parametrize("route", [r for r in ROUTES if "message_id" in r.path_parameters], ids=name_of)
def test_a_message_that_is_none_is_not_found(shared_world: World, route: Route) -> None:
    for message in (NO_SUCH_ID, "1", shared_world.ids["chat_id"]):
        world = shared_world.but(message_id=message)
        assert refusal(world.request(world.owner, route), 404)["message"] == "Message not found."


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("PUT", "/api/chats/<chat_id>"),
        ("DELETE", "/api/chats/<chat_id>"),
        ("POST", "/api/chats/<chat_id>/members"),
        ("DELETE", "/api/chats/<chat_id>/members/<owner>"),
        ("PUT", "/api/chats/<chat_id>/messages/<message_id>"),
        ("DELETE", "/api/chats/<chat_id>/messages/<message_id>"),
    ],
)
def test_what_a_member_sees_but_may_not_do_is_forbidden(shared_world: World, method: str, path: str) -> None:
    body, _ = EXAMPLES.get((method, path), (None, None))
    refusal(
        shared_world.member.request(method, shared_world.fill(path), json=shared_world.fill(body) if body else None),
        403,
    )


def test_what_contradicts_the_state_is_a_conflict(shared_world: World) -> None:
    members = shared_world.fill("/api/chats/<chat_id>/members")
    refusal(shared_world.owner.post(members, json={"userId": shared_world.ids["member"]}), 409)
    refusal(shared_world.owner.delete(f"{members}/{shared_world.ids['owner']}"), 409)


@pytest.mark.parametrize("route", WITH_BODY, ids=name_of)
def test_a_body_has_the_routes_fields_and_no_others(shared_world: World, route: Route) -> None:
    body, _ = EXAMPLES[route.method, route.path]
    assert body is not None
    wrong = refusal(
        shared_world.request(shared_world.owner, route, json={**dict.fromkeys(body, 1), "no-such-field": 1}), 400
    )
    assert wrong["details"]["fields"].keys() == body.keys() | {"no-such-field"}
    refusal(shared_world.request(shared_world.owner, route, json={}), 400)
    refusal(
        shared_world.request(shared_world.owner, route, content=b"", headers={"Content-Type": "application/json"}), 400
    )


@pytest.mark.parametrize("route", WITH_BODY, ids=name_of)
def test_a_body_is_sent_as_json(shared_world: World, route: Route) -> None:
    for headers in ({}, {"Content-Type": "text/plain"}, {"Content-Type": "application/json-patch+json"}):
        refusal(shared_world.request(shared_world.owner, route, content=b"{}", headers=headers), 415)
    for media_type in ("application/json; charset=utf-8", "Application/JSON", "application/json ;x=y"):
        refusal(
            shared_world.request(shared_world.owner, route, content=b"{}", headers={"Content-Type": media_type}), 400
        )


@pytest.mark.parametrize("route", [r for r in ROUTES if not r.image], ids=name_of)
def test_no_route_takes_a_body_over_the_limit(shared_world: World, route: Route) -> None:
    body = b'"' + b"x" * 1024 * 1024 + b'"'
    headers = {"Content-Type": "application/x-www-form-urlencoded" if route.form else "application/json"}
    refusal(shared_world.request(shared_world.owner, route, content=body, headers=headers), 413)


@pytest.mark.parametrize("route", WITH_QUERY, ids=name_of)
def test_a_query_is_checked_whole(shared_world: World, route: Route) -> None:
    wrong = dict.fromkeys(route.query, "never-right")
    wrong |= {"search": "x" * 1001} if "search" in route.query else {}
    error = refusal(shared_world.request(shared_world.owner, route, params=wrong), 400)
    assert error["details"]["fields"].keys() == set(route.query)


@pytest.mark.parametrize("route", [r for r in ROUTES if r.method == "GET"], ids=name_of)
def test_head_is_get_without_the_body(shared_world: World, route: Route) -> None:
    get = shared_world.request(shared_world.owner, route)
    head = shared_world.owner.head(shared_world.fill(route.path), params=QUERIES.get(route.path))
    assert (head.status_code, head.content) == (200, b"")
    same = {"content-type", "content-length", "link"}
    same -= {"content-length"} if route.function == "api.list_events" else set()  # cursors differ in length
    assert [head.headers.get(name) for name in same] == [get.headers.get(name) for name in same]
    assert shared_world.owner.get("/api/chats").status_code == 200
    assert shared_world.stranger.head(shared_world.fill("/api/chats/<chat_id>")).status_code == 404


@pytest.mark.parametrize("path", PATHS)
def test_another_method_is_told_which_are_allowed(shared_world: World, path: str) -> None:
    allowed = {route.method for route in ROUTES if route.path == path}
    allowed |= {"HEAD"} if "GET" in allowed else set()
    for method in {"GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "QUERY"} - allowed:
        response = shared_world.owner.request(method, shared_world.fill(path))
        assert response.status_code == 405, method
        assert response.headers["Allow"] == ", ".join(sorted(allowed))
        if method != "HEAD":
            refusal(response, 405)


def test_an_id_tells_the_instant_of_creation(world: World) -> None:
    for created in (
        world.owner.post("/api/chats", json={"title": "Ideas"}).json(),
        world.owner.post(world.fill("/api/chats/<chat_id>/messages"), json={"content": "hi"}).json(),
    ):
        instant = datetime.fromtimestamp((UUID(created["id"]).int >> 80) / 1000, UTC)
        assert instant.isoformat(timespec="milliseconds").replace("+00:00", "Z") == created["createdAt"]


def test_a_time_that_was_answered_filters_inclusively(world: World) -> None:
    path = world.fill("/api/chats/<chat_id>/messages")
    times = [world.owner.post(path, json={"content": f"message {n}"}).json()["createdAt"] for n in range(3)]
    found = world.owner.get(path, params={"startDate": times[1], "endDate": times[1]}).json()
    expected = [f"message {n}" for n, time in enumerate(times) if time == times[1]]
    assert sorted(message["content"] for message in found["messages"]) == expected
    assert found["total"] == len(expected)


@pytest.mark.parametrize("user", ["auth0|1", "a b@c.d/e?f#g", "100%", "+1 555", "ö/☃", "..", "%2e", "a;b=c,d"])
def test_a_user_id_in_a_path_may_have_any_character(world: World, api: Api, user: str) -> None:
    user = f"{user}{new_user()}" if user != ".." else user
    with unlimited(api, user) as client:
        assert client.get("/api/chats").status_code == 200
    members = world.fill("/api/chats/<chat_id>/members")
    assert world.owner.post(members, json={"userId": user}).json()["userId"] == user
    encoded = "".join(f"%{byte:02X}" for byte in user.encode())
    assert world.owner.delete(f"{members}/{encoded}").status_code == 204
    assert user not in [member["userId"] for member in world.owner.get(members).json()["members"]]
