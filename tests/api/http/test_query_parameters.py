"""Unknown and repeated query parameters: a 400 that names them with all other errors, and changes nothing."""

from typing import Any

import pytest

from api.routes import ROUTES, Route
from tests.api.route_examples import EXAMPLES, QUERIES, RouteExamples, name_of
from tests.api.support import expect_error, unlimited_client
from tests.api_process import Api

UNKNOWN = "is not a known parameter"
REPEATED = "is given more than once"


def add_query(route_examples: RouteExamples, route: Route, *parameters: tuple[str, str]) -> list[tuple[str, str]]:
    """Return the query of the route's example with further parameters."""
    return [*route_examples.fill(QUERIES.get(route.path, {})).items(), *parameters]


def fetch_everything(route_examples: RouteExamples) -> list[Any]:
    """Return what the owner can read."""
    chat = route_examples.fill("/api/chats/<chat_id>")
    paths = ["/api/chats", chat, f"{chat}/members", f"{chat}/messages", f"{chat}/events?after=0"]
    return [route_examples.owner.get(path).json() for path in (*paths, "/api/profile", "/api/settings")]


@pytest.mark.parametrize("route", ROUTES, ids=name_of)
def test_unknown_parameters_are_named(route_examples: RouteExamples, route: Route) -> None:
    before = fetch_everything(route_examples)
    for parameters in (
        [("foo", "1")],
        [("foo", "")],
        [("foo", "1"), ("foo", "2"), ("LIMIT", "1"), ("start_date", "x")],
    ):
        response = route_examples.request(
            route_examples.owner, route, params=add_query(route_examples, route, *parameters)
        )
        assert expect_error(response, 400)["details"] == {"fields": dict.fromkeys(dict(parameters), UNKNOWN)}
    assert fetch_everything(route_examples) == before
    assert route_examples.request(route_examples.owner, route).status_code == route.status


@pytest.mark.parametrize("route", ROUTES, ids=name_of)
def test_other_errors_take_precedence(route_examples: RouteExamples, route: Route, api: Api) -> None:
    query = add_query(route_examples, route, ("foo", "1"))
    with unlimited_client(api, "") as anonymous:
        expect_error(route_examples.request(anonymous, route, params=query), 401)
    if "chat_id" in route.path_parameters:
        expect_error(route_examples.request(route_examples.stranger, route, params=query), 404)


@pytest.mark.parametrize("route", [route for route in ROUTES if route.query], ids=name_of)
def test_all_errors_of_the_query_are_listed(route_examples: RouteExamples, route: Route) -> None:
    wrong = dict.fromkeys(route.query, "never-right")
    wrong |= {"search": "x" * 1001} if "search" in route.query else {}
    response = route_examples.request(route_examples.owner, route, params=wrong | {"foo": "1"})
    fields = expect_error(response, 400)["details"]["fields"]
    assert fields.keys() == {*route.query, "foo"}
    assert UNKNOWN not in {error for name, error in fields.items() if name != "foo"}


@pytest.mark.parametrize("route", [route for route in ROUTES if route.body], ids=name_of)
def test_errors_of_the_body_are_listed_too(route_examples: RouteExamples, route: Route) -> None:
    body, _ = EXAMPLES[route.method, route.path]
    assert body is not None
    wrong = {**dict.fromkeys(body, 1), "no-such-field": 1}
    response = route_examples.request(route_examples.owner, route, json=wrong, params={"foo": "1"})
    fields = expect_error(response, 400)["details"]["fields"]
    assert fields.keys() == {*wrong, "foo"}
    assert fields["foo"] == UNKNOWN


@pytest.mark.parametrize("route", [route for route in ROUTES if route.query], ids=name_of)
def test_repeated_parameters_are_named(route_examples: RouteExamples, route: Route) -> None:
    for name in route.query:
        valid = {"limit": "1", "page": "1", "search": "hello", "type": "text", "sort": "newest", "include": "users"}
        value = valid.get(name, "")
        others = [(other, text) for other, text in add_query(route_examples, route) if other != name]
        for second in (value, ""):
            query = [*others, (name, value), (name, second), ("foo", "1")]
            response = route_examples.request(route_examples.owner, route, params=query)
            fields = expect_error(response, 400)["details"]["fields"]
            assert fields["foo"] == UNKNOWN
            assert fields[name] == REPEATED or (name in route.required_query and not value)


@pytest.mark.parametrize("route", [route for route in ROUTES if route.accepts_idempotency_key], ids=name_of)
def test_rejected_request_leaves_its_idempotency_key_unused(route_examples: RouteExamples, route: Route) -> None:
    headers = {"Idempotency-Key": f"key of {route.path} {route_examples.ids['chat_id']}"}
    headers = {name: value.replace(" ", "-") for name, value in headers.items()}
    response = route_examples.request(route_examples.owner, route, params={"foo": "1"}, headers=headers)
    expect_error(response, 400)
    response = route_examples.request(route_examples.owner, route, headers=headers)
    assert response.status_code == route.status
    assert "idempotency-replayed" not in response.headers


@pytest.mark.parametrize("count", [99, 100, 101, 400])
def test_response_is_bounded(route_examples: RouteExamples, count: int) -> None:
    names = [f"{n:03}é" + "x" * 96 for n in range(count)]
    response = route_examples.owner.get("/api/profile", params=dict.fromkeys(names, "1"))
    fields = expect_error(response, 400)["details"]["fields"]
    assert len(fields) == min(count, 100)
    assert fields.keys() <= {*names}
    fields = expect_error(route_examples.owner.get(f"/api/profile?{'é' * 101}=1"), 400)["details"]["fields"]
    assert fields == {"é" * 100: UNKNOWN}


@pytest.mark.parametrize("query", ["foo%00=1", "%FF=1", "%ED%A0%80=1", "=1", "%22=1", "%5Cu0000=1", "foo=%00"])
def test_any_name_is_rejected_as_a_client_error(route_examples: RouteExamples, query: str) -> None:
    for path in ("/api/profile", route_examples.fill("/api/chats/<chat_id>/messages")):
        expect_error(route_examples.owner.get(f"{path}?{query}"), 400)


def test_parameters_without_a_value_are_named_too(route_examples: RouteExamples) -> None:
    for query in ("foo", "foo&", "&foo&&", "limit=1&foo"):
        fields = expect_error(route_examples.owner.get(f"/api/chats?{query}"), 400)["details"]["fields"]
        assert fields == {"foo": UNKNOWN}
    for query in ("", "&", "&&limit=1&"):
        assert route_examples.owner.get(f"/api/chats?{query}").status_code == 200


def test_head_is_rejected_and_paths_outside_api_are_not(route_examples: RouteExamples) -> None:
    assert route_examples.owner.head("/api/chats?foo=1").status_code == 400
    assert route_examples.owner.get("/healthz?foo=1").status_code == 200


def test_precondition_does_not_hide_the_error(route_examples: RouteExamples) -> None:
    for header in ("If-Match", "If-None-Match"):
        for value in ("*", '"x"'):
            response = route_examples.owner.get("/api/profile?foo=1", headers={header: value})
            expect_error(response, 400)
