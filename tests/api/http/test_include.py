"""The parameter include over HTTP: conditional requests with it, and the links to adjacent pages."""

import httpx
import pytest

from tests.api.route_examples import RouteExamples
from tests.api.support import expect_error

MESSAGES = "/api/chats/<chat_id>/messages"


@pytest.mark.parametrize("path", [MESSAGES, f"{MESSAGES}/<message_id>"])
def test_response_with_users_has_no_etag_and_is_never_a_304(route_examples: RouteExamples, path: str) -> None:
    url = route_examples.fill(path)
    etag = route_examples.member.get(url).headers["etag"]
    assert route_examples.member.get(url, headers={"If-None-Match": etag}).status_code == 304
    for name in ("Ada", "Grace"):
        assert route_examples.owner.put("/api/profile", json={"name": name}).status_code == 200
        for if_none_match in (etag, "*"):
            response = route_examples.member.get(
                url, params={"include": "users"}, headers={"If-None-Match": if_none_match}
            )
            assert response.status_code == 200
            assert "etag" not in response.headers
            assert response.json()["users"] == [{"id": route_examples.ids["owner"], "name": name, "imageUrl": None}]
            assert "x-chat-seq" in response.headers


def test_etag_of_a_listed_item_is_accepted_as_if_match(route_examples: RouteExamples) -> None:
    owner, messages = route_examples.owner, route_examples.fill(MESSAGES)
    for path, items, url, body in (
        (messages, "messages", route_examples.fill(f"{MESSAGES}/<message_id>"), {"content": "hello again"}),
        ("/api/search?search=hello", "messages", route_examples.fill(f"{MESSAGES}/<message_id>"), {"content": "x"}),
        ("/api/chats", "chats", route_examples.fill("/api/chats/<chat_id>"), {"title": "New"}),
    ):
        query = httpx.URL(path).copy_merge_params({"include": "users,etag"})
        (item,) = owner.get(query).json()[items]
        assert owner.put(url, json=body, headers={"If-Match": item["etag"]}).status_code == 200
        expect_error(owner.put(url, json=body, headers={"If-Match": item["etag"]}), 412)


def test_page_with_etags_is_not_modified_until_the_chat_changes(route_examples: RouteExamples) -> None:
    url = route_examples.fill(f"{MESSAGES}?include=etag")
    etag = route_examples.owner.get(url).headers["etag"]
    assert route_examples.owner.get(url, headers={"If-None-Match": etag}).status_code == 304
    route_examples.owner.put(route_examples.fill(f"{MESSAGES}/<message_id>"), json={"content": "edited"})
    assert route_examples.owner.get(url, headers={"If-None-Match": etag}).status_code == 200


def test_links_to_adjacent_pages_keep_include(route_examples: RouteExamples) -> None:
    messages = route_examples.fill(MESSAGES)
    route_examples.member.post(messages, json={"content": "hello too"})
    response = route_examples.owner.get(messages, params={"limit": "1", "include": "users,etag"})
    (message,) = route_examples.owner.get(response.links["next"]["url"]).json()["messages"]
    assert message["etag"]
