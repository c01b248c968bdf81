"""The API's responses match the OpenAPI document: status, headers, schema and examples."""

from typing import Any

import httpx
import pytest

from api.routes import ROUTES, Route
from tests import images
from tests.api.openapi.support import (
    OPTIONAL,
    UNDOCUMENTED,
    Json,
    find_route,
    get_media_type,
    get_operation,
    list_schema_errors,
    resolve,
)
from tests.api.route_examples import RouteExamples, name_of
from tests.api.support import unlimited_client
from tests.api_process import Api
from tests.database import NO_SUCH_ID
from tests.tokens import new_user, token

SECURITY = {"content-security-policy", "cross-origin-resource-policy", "x-content-type-options"}  # headers of images


def assert_headers_match(described: Json, response: httpx.Response) -> None:
    documented = {name.lower() for name in described["headers"]}
    assert documented - OPTIONAL == response.headers.keys() - UNDOCUMENTED - OPTIONAL


def assert_body_matches(document: Json, described: Json, response: httpx.Response) -> None:
    schema = described["content"]["application/json"]["schema"]
    assert list_schema_errors(document, schema, response.json()) == []


@pytest.mark.parametrize("route", ROUTES, ids=name_of)
def test_response_of_each_route_matches_the_document(
    document: Json, route_examples: RouteExamples, route: Route
) -> None:
    response = route_examples.request(route_examples.owner, route)
    described = get_operation(document, route)["responses"][str(response.status_code)]
    assert_headers_match(described, response)
    if response.status_code == 204:
        assert "content" not in described
    else:
        (media_type,) = described["content"]
        assert response.headers["content-type"] == media_type
        assert list_schema_errors(document, described["content"][media_type]["schema"], response.json()) == []
        assert list_schema_errors(document, described["content"][media_type]["schema"], {}) != []


@pytest.mark.parametrize("route", ROUTES, ids=name_of)
def test_examples_are_valid_and_accepted(document: Json, api: Api, route_examples: RouteExamples, route: Route) -> None:
    described = get_operation(document, route)
    parameter_examples = {parameter["name"]: get_example(parameter) for parameter in described.get("parameters", [])}
    options: Json = {
        "params": {
            name: parameter_examples[name]
            for name in route.query
            if name not in {"page", "after", "around"} - {*route.required_query}
        }
    }
    if route.path.endswith("/members"):
        options["params"] |= {"before": route_examples.ids["member"]} if route.query else {}
    for content in described.get("requestBody", {}).get("content", {}).values():
        if not route.image_kind:
            assert list_schema_errors(document, content["schema"], content["example"]) == []
            options["json" if route.body else "data"] = fill_example(content["example"], api, route_examples)
    response = route_examples.request(route_examples.owner, route, **options)
    assert response.status_code == route.status, response.text
    for expected in described["responses"].values():
        for content in resolve(document, expected).get("content", {}).values():
            assert list_schema_errors(document, content["schema"], content["example"]) == []


def get_example(parameter: Json) -> Any:
    """Return the example of a parameter as in a URL; an optional one has it in its schema."""
    example = parameter["example"] if parameter["required"] else parameter["schema"]["examples"][0]
    return ",".join(example) if parameter.get("explode") is False else example


def fill_example(example: Json, api: Api, route_examples: RouteExamples) -> Json:
    """Return the example with a user and a chat that exist."""
    user = new_user()
    with unlimited_client(api, user) as client:
        client.get("/api/chats")
    channel = f"private-chat-{route_examples.ids['chat_id']}"
    existing = {
        "messageId": route_examples.ids["message_id"],
        "userId": user,
        "email": f"{user}@example.org",
        "channel_name": channel,
        "members": [user],
    }
    return {name: existing.get(name, value) for name, value in example.items()}


def test_nullable_and_optional_fields_match_the_document(document: Json, route_examples: RouteExamples) -> None:
    chat = route_examples.ids["chat_id"]
    no_messages = route_examples.with_ids(
        chat_id=route_examples.owner.post("/api/chats", json={"title": "Plans"}).json()["id"]
    )
    cursor = {"params": {"before": NO_SUCH_ID}}
    presence = {"data": {"socket_id": "1.2", "channel_name": f"presence-chat-{chat}"}}
    for route, options, field in (
        (find_route("GET", "/api/chats/<chat_id>"), {}, "lastMessage"),
        (find_route("GET", "/api/chats"), cursor, "page"),
        (find_route("GET", "/api/chats/<chat_id>/messages"), cursor, "page"),
        (find_route("POST", "/api/pusher/auth"), presence, "channel_data"),
    ):
        body = no_messages.request(route_examples.owner, route, **options).json()
        assert body[field] is None or route.pusher_fields
        schema = get_operation(document, route)["responses"]["200"]["content"]["application/json"]["schema"]
        assert list_schema_errors(document, schema, body) == []


def test_conflicts_match_the_document(document: Json, route_examples: RouteExamples) -> None:
    email = {"email": f"{new_user()}@example.org"}
    route_examples.stranger.put("/api/profile", json=email)
    owner = route_examples.with_ids(user_id=route_examples.ids["owner"])
    provoked = {
        find_route("PUT", "/api/profile"): {"json": email},
        find_route("POST", "/api/chats/<chat_id>/members"): {"json": {"userId": route_examples.ids["member"]}},
        find_route("DELETE", "/api/chats/<chat_id>/members/<user_id>"): {},
    }
    for route in ROUTES:
        described = get_operation(document, route)["responses"]
        assert ("409" in described) == (route in provoked or route.accepts_idempotency_key)
        if route in provoked:
            response = owner.request(route_examples.owner, route, **provoked[route])
            assert response.status_code == 409, response.text
            expected = resolve(document, described["409"])
            assert_body_matches(document, expected, response)
            optional = {"retry-after"} - response.headers.keys()
            assert {name.lower() for name in expected["headers"]} - optional == response.headers.keys() - UNDOCUMENTED
            assert not expected["headers"]["Retry-After"]["required"]


@pytest.mark.parametrize("route", ROUTES, ids=name_of)
def test_errors_of_each_route_match_the_document(document: Json, route_examples: RouteExamples, route: Route) -> None:
    by_cookie = {"Authorization": "", "Cookie": f"next-auth.session-token={token()}"}
    too_large = {"content": b"x" * 6_000_000, "headers": {"Content-Type": get_media_type(route)}}
    provoked = {
        401: route_examples.request(route_examples.owner, route, headers={"Authorization": "Bearer x"}),
        403: route_examples.request(route_examples.owner, route, headers=by_cookie),
        404: route_examples.request(route_examples.stranger, route),
        412: route_examples.request(route_examples.owner, route, headers={"If-Match": '"x"'}),
        413: route_examples.request(route_examples.owner, route, **too_large),
        415: route_examples.request(route_examples.owner, route, content=b"x", headers={"Content-Type": "text/plain"}),
    }
    described = {int(status): expected for status, expected in get_operation(document, route)["responses"].items()}
    for status, response in provoked.items():
        # A rejected subscription is a 403 as well.
        is_described = status in described
        assert (response.status_code == status) == is_described or (status == 403 and route.pusher_fields), (
            response.text
        )
        assert response.status_code in described
        if response.status_code == status:
            expected = resolve(document, described[status])
            assert_headers_match(expected, response)
            assert_body_matches(document, expected, response)


@pytest.mark.parametrize("route", [r for r in ROUTES if r.method == "GET"], ids=name_of)
def test_not_modified_responses_match_the_document(document: Json, route_examples: RouteExamples, route: Route) -> None:
    response = route_examples.request(route_examples.owner, route, headers={"If-None-Match": "*"})
    described = get_operation(document, route)["responses"]
    assert (response.status_code == 304) == ("304" in described)
    if response.status_code == 304:
        assert {name.lower() for name in described["304"]["headers"]} == response.headers.keys() - UNDOCUMENTED
        assert "content" not in described["304"]


def test_rate_limited_responses_of_every_route_match_the_document(
    document: Json, api: Api, route_examples: RouteExamples
) -> None:
    with api.client() as client:
        for route in ROUTES:
            while (response := route_examples.request(client, route)).status_code != 429:
                pass
            expected = resolve(document, get_operation(document, route)["responses"]["429"])
            assert_headers_match(expected, response)
            assert_body_matches(document, expected, response)


def test_image_responses_match_the_document(
    document: Json, route_examples: RouteExamples, anonymous_client: httpx.Client
) -> None:
    url = route_examples.owner.post("/api/profile/image", files={"image": images.build_png(9, 9)}).json()["imageUrl"]
    described = document["paths"]["/images/{name}"]["get"]["responses"]
    etag = anonymous_client.get(url).headers["etag"]
    for status, response in {
        "200": anonymous_client.get(url),
        "304": anonymous_client.get(url, headers={"If-None-Match": etag}),
        "404": anonymous_client.get("/images/x.png"),
    }.items():
        undocumented = UNDOCUMENTED | SECURITY
        assert str(response.status_code) == status
        assert {name.lower() for name in described[status]["headers"]} == response.headers.keys() - undocumented
        assert response.headers.get("content-type") in {*described[status].get("content", {}), None}
