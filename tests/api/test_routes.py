"""Every route: exactly the documented responses, and its error responses."""

from collections.abc import Iterator
from datetime import UTC, datetime
from uuid import UUID

import pytest

from api.routes import ROUTES, Route
from tests.api.route_examples import EXAMPLES, QUERIES, RouteExamples, name_of, new_route_examples
from tests.api.support import LIMIT_HEADERS, expect_error, unlimited_client
from tests.api_process import Api
from tests.database import NO_SUCH_ID
from tests.tokens import new_user

IN_A_CHAT = [route for route in ROUTES if "chat_id" in route.path_parameters]
WITH_BODY = [route for route in ROUTES if route.body]
WITH_QUERY = [route for route in ROUTES if route.query]
PATHS = sorted({route.path for route in ROUTES})


@pytest.fixture(scope="module")
def shared_route_examples(api: Api) -> Iterator[RouteExamples]:
    """Examples that no test changes."""
    with new_route_examples(api) as route_examples:
        yield route_examples


def test_every_route_has_an_example() -> None:
    assert EXAMPLES.keys() == {(route.method, route.path) for route in ROUTES}


@pytest.mark.parametrize("route", ROUTES, ids=name_of)
def test_route_returns_the_documented_response(route_examples: RouteExamples, route: Route) -> None:
    response = route_examples.request(route_examples.owner, route)
    assert response.status_code == route.status, response.text
    assert response.headers.keys() >= LIMIT_HEADERS | {"x-request-id"}
    _, expected = EXAMPLES[route.method, route.path]
    if expected is None:
        assert response.status_code == 204
        assert response.content == b""
        assert not response.headers.keys() & {"content-type", "content-length", "transfer-encoding"}
    else:
        assert response.headers["content-type"] == "application/json"
        assert response.json() == route_examples.fill(expected)


@pytest.mark.parametrize("route", [r for r in ROUTES if r.status == 204], ids=name_of)
def test_connection_persists_after_a_deletion(route_examples: RouteExamples, route: Route) -> None:
    route_examples.request(route_examples.owner, route)
    assert route_examples.owner.get("/api/chats").status_code == 200
    assert route_examples.request(route_examples.owner, route).status_code == 404


@pytest.mark.parametrize("route", ROUTES, ids=name_of)
def test_route_requires_a_token(shared_route_examples: RouteExamples, route: Route, api: Api) -> None:
    with unlimited_client(api, "") as anonymous:
        expect_error(shared_route_examples.request(anonymous, route), 401)


@pytest.mark.parametrize("route", IN_A_CHAT, ids=name_of)
def test_another_users_chat_looks_like_a_missing_one(shared_route_examples: RouteExamples, route: Route) -> None:
    unseen = expect_error(shared_route_examples.request(shared_route_examples.stranger, route), 404)
    for chat in (NO_SUCH_ID, "1", shared_route_examples.ids["chat_id"] + "0", "é"):
        route_examples = shared_route_examples.with_ids(chat_id=chat)
        assert expect_error(route_examples.request(route_examples.owner, route), 404) == unseen


@pytest.mark.parametrize("route", [r for r in ROUTES if "message_id" in r.path_parameters], ids=name_of)
def test_missing_message_is_not_found(shared_route_examples: RouteExamples, route: Route) -> None:
    for message in (NO_SUCH_ID, "1", shared_route_examples.ids["chat_id"]):
        route_examples = shared_route_examples.with_ids(message_id=message)
        assert expect_error(route_examples.request(route_examples.owner, route), 404)["message"] == "Message not found."


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("PUT", "/api/chats/<chat_id>"),
        ("DELETE", "/api/chats/<chat_id>"),
        ("POST", "/api/chats/<chat_id>/members"),
        ("PUT", "/api/chats/<chat_id>/members/<user_id>"),
        ("DELETE", "/api/chats/<chat_id>/members/<owner>"),
        ("PUT", "/api/chats/<chat_id>/messages/<message_id>"),
        ("DELETE", "/api/chats/<chat_id>/messages/<message_id>"),
    ],
)
def test_actions_that_only_others_may_do_are_forbidden_to_a_member(
    shared_route_examples: RouteExamples, method: str, path: str
) -> None:
    body, _ = EXAMPLES.get((method, path), (None, None))
    expect_error(
        shared_route_examples.member.request(
            method, shared_route_examples.fill(path), json=shared_route_examples.fill(body) if body else None
        ),
        403,
    )


def test_user_who_is_not_a_member_is_not_found(shared_route_examples: RouteExamples) -> None:
    route_examples = shared_route_examples.with_ids(user_id=shared_route_examples.ids["known"])
    for route in (route for route in ROUTES if "user_id" in route.path_parameters):
        error = expect_error(route_examples.request(route_examples.owner, route), 404)
        assert error["message"] == "Member not found."


def test_action_that_contradicts_the_state_is_a_conflict(shared_route_examples: RouteExamples) -> None:
    members = shared_route_examples.fill("/api/chats/<chat_id>/members")
    expect_error(shared_route_examples.owner.post(members, json={"userId": shared_route_examples.ids["member"]}), 409)
    expect_error(shared_route_examples.owner.delete(f"{members}/{shared_route_examples.ids['owner']}"), 409)


@pytest.mark.parametrize("route", WITH_BODY, ids=name_of)
def test_unknown_or_missing_fields_in_a_body_are_errors(shared_route_examples: RouteExamples, route: Route) -> None:
    body, _ = EXAMPLES[route.method, route.path]
    assert body is not None
    wrong = expect_error(
        shared_route_examples.request(
            shared_route_examples.owner, route, json={**dict.fromkeys(body, 1), "no-such-field": 1}
        ),
        400,
    )
    assert wrong["details"]["fields"].keys() == body.keys() | {"no-such-field"}
    expect_error(shared_route_examples.request(shared_route_examples.owner, route, json={}), 400)
    expect_error(
        shared_route_examples.request(
            shared_route_examples.owner, route, content=b"", headers={"Content-Type": "application/json"}
        ),
        400,
    )


@pytest.mark.parametrize("route", WITH_BODY, ids=name_of)
def test_body_of_another_media_type_is_rejected(shared_route_examples: RouteExamples, route: Route) -> None:
    for headers in ({}, {"Content-Type": "text/plain"}, {"Content-Type": "application/json-patch+json"}):
        expect_error(
            shared_route_examples.request(shared_route_examples.owner, route, content=b"{}", headers=headers), 415
        )
    for media_type in ("application/json; charset=utf-8", "Application/JSON", "application/json ;x=y"):
        expect_error(
            shared_route_examples.request(
                shared_route_examples.owner, route, content=b"{}", headers={"Content-Type": media_type}
            ),
            400,
        )


@pytest.mark.parametrize("route", [r for r in ROUTES if not r.image_kind], ids=name_of)
def test_no_route_accepts_a_body_over_the_limit(shared_route_examples: RouteExamples, route: Route) -> None:
    body = b'"' + b"x" * 1024 * 1024 + b'"'
    headers = {"Content-Type": "application/x-www-form-urlencoded" if route.pusher_fields else "application/json"}
    expect_error(shared_route_examples.request(shared_route_examples.owner, route, content=body, headers=headers), 413)


@pytest.mark.parametrize("route", WITH_QUERY, ids=name_of)
def test_every_invalid_query_parameter_is_named(shared_route_examples: RouteExamples, route: Route) -> None:
    wrong = dict.fromkeys(route.query, "never-right")
    wrong |= {"search": "x" * 1001} if "search" in route.query else {}
    error = expect_error(shared_route_examples.request(shared_route_examples.owner, route, params=wrong), 400)
    assert error["details"]["fields"].keys() == set(route.query)


@pytest.mark.parametrize("route", [r for r in ROUTES if r.method == "GET"], ids=name_of)
def test_head_returns_the_headers_of_get(shared_route_examples: RouteExamples, route: Route) -> None:
    get_response = shared_route_examples.request(shared_route_examples.owner, route)
    head_response = shared_route_examples.owner.head(
        shared_route_examples.fill(route.path), params=shared_route_examples.fill(QUERIES.get(route.path))
    )
    assert (head_response.status_code, head_response.content) == (200, b"")
    same = {"content-type", "content-length", "link"}
    has_cursor = route.function in ("api.list_events", "api.sync")
    same -= {"content-length"} if has_cursor else set()  # cursors differ in length
    assert [head_response.headers.get(name) for name in same] == [get_response.headers.get(name) for name in same]
    assert shared_route_examples.owner.get("/api/chats").status_code == 200
    assert shared_route_examples.stranger.head(shared_route_examples.fill("/api/chats/<chat_id>")).status_code == 404


@pytest.mark.parametrize("path", PATHS)
def test_405_lists_the_allowed_methods(shared_route_examples: RouteExamples, path: str) -> None:
    allowed = {route.method for route in ROUTES if route.path == path}
    allowed |= {"HEAD"} if "GET" in allowed else set()
    for method in {"GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "QUERY"} - allowed:
        response = shared_route_examples.owner.request(method, shared_route_examples.fill(path))
        assert response.status_code == 405, method
        assert response.headers["Allow"] == ", ".join(sorted(allowed))
        if method != "HEAD":
            expect_error(response, 405)


def test_id_contains_the_time_of_creation(route_examples: RouteExamples) -> None:
    for created in (
        route_examples.owner.post("/api/chats", json={"title": "Ideas"}).json(),
        route_examples.owner.post(route_examples.fill("/api/chats/<chat_id>/messages"), json={"content": "hi"}).json(),
    ):
        instant = datetime.fromtimestamp((UUID(created["id"]).int >> 80) / 1000, UTC)
        assert instant.isoformat(timespec="milliseconds").replace("+00:00", "Z") == created["createdAt"]


def test_returned_time_can_be_used_as_an_inclusive_filter(route_examples: RouteExamples) -> None:
    path = route_examples.fill("/api/chats/<chat_id>/messages")
    times = [route_examples.owner.post(path, json={"content": f"message {n}"}).json()["createdAt"] for n in range(3)]
    found = route_examples.owner.get(path, params={"startDate": times[1], "endDate": times[1]}).json()
    expected = [f"message {n}" for n, time in enumerate(times) if time == times[1]]
    assert sorted(message["content"] for message in found["messages"]) == expected
    assert found["total"] == len(expected)


@pytest.mark.parametrize("user", ["auth0|1", "a b@c.d/e?f#g", "100%", "+1 555", "ö/☃", "..", "%2e", "a;b=c,d"])
def test_user_id_in_a_path_may_have_any_character(route_examples: RouteExamples, api: Api, user: str) -> None:
    user = f"{user}{new_user()}" if user != ".." else user
    with unlimited_client(api, user) as client:
        assert client.get("/api/chats").status_code == 200
    members = route_examples.fill("/api/chats/<chat_id>/members")
    assert route_examples.owner.post(members, json={"userId": user}).json()["userId"] == user
    encoded = "".join(f"%{byte:02X}" for byte in user.encode())
    assert route_examples.owner.delete(f"{members}/{encoded}").status_code == 204
    assert user not in [member["userId"] for member in route_examples.owner.get(members).json()["members"]]
