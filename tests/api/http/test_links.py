"""The Link header: URLs of the adjacent pages, which clients can request as they are."""

from collections.abc import Iterator

import httpx
import pytest

from tests.api.support import expect_error, unlimited_client
from tests.api_process import Api
from tests.tokens import new_user


@pytest.fixture
def client(api: Api) -> Iterator[httpx.Client]:
    """A client without a rate limit."""
    with unlimited_client(api, new_user()) as client:
        yield client


def new_chat(client: httpx.Client, *contents: str) -> str:
    """Create a chat with messages of these contents; return the path of its messages."""
    path = f"/api/chats/{client.post('/api/chats', json={'title': 'Plans'}).json()['id']}/messages"
    for content in contents:
        assert client.post(path, json={"content": content}).status_code == 201
    return path


def follow_links(client: httpx.Client, url: str, relation: str) -> list[list[str]]:
    """Follow the links of a relation from a URL; return the contents of each page."""
    pages = []
    while url:
        response = client.get(url)
        assert response.status_code == 200, response.text
        pages.append([message["content"] for message in response.json()["messages"]])
        url = response.links.get(relation, {}).get("url", "")
    return pages


def test_links_are_followed_to_the_end_and_back(client: httpx.Client) -> None:
    path = new_chat(client, *(f"message {n}" for n in range(7)))
    assert follow_links(client, f"{path}?limit=3", "next") == [
        ["message 6", "message 5", "message 4"], ["message 3", "message 2", "message 1"], ["message 0"],
    ]  # fmt: skip
    last = client.get(f"{path}?limit=3&page=3")
    assert last.links.keys() == {"prev", "first"}
    assert follow_links(client, last.links["prev"]["url"], "prev") == [
        ["message 3", "message 2", "message 1"], ["message 6", "message 5", "message 4"],
    ]  # fmt: skip
    first = client.get(last.links["first"]["url"])
    assert first.json()["page"] == 1
    assert first.links.keys() == {"next", "first"}


def test_links_to_pages_of_members_have_any_user_id(api: Api, client: httpx.Client) -> None:
    users = [f"{prefix}{new_user()}" for prefix in ("a b&c=d", "100%", "+1?x#y", "ö/☃", '<">, ;')]
    for user in users:
        with unlimited_client(api, user) as other:
            other.get("/api/chats")
    chat = client.post("/api/chats", json={"title": "Plans", "members": users}).json()["id"]
    url, ids = f"/api/chats/{chat}/members?limit=1", []
    while url:
        page = client.get(url)
        assert page.status_code == 200, page.text
        ids += [member["userId"] for member in page.json()["members"]]
        last, url = page, page.links.get("next", {}).get("url", "")
    assert len(ids) == 6
    assert set(ids) > {*users}
    before_last = client.get(last.links["prev"]["url"]).json()
    assert [member["userId"] for member in before_last["members"]] == ids[-2:-1]
    assert before_last["page"] is None


def test_link_keeps_the_query_except_the_position(api: Api, client: httpx.Client) -> None:
    path = new_chat(client, *("tea & cake + 上海" for _ in range(4)))
    query = {"search": 'cake & "tea" 上海+', "limit": "2", "type": "text", "startDate": "2026-01-01T00:00:00+02:00"}
    response = client.get(path, params=query | {"page": "1", "endDate": ""})
    assert response.json()["total"] == 4
    url = httpx.URL(response.links["next"]["url"])
    assert str(url).startswith(f"{api.url}{path}?")
    assert dict(url.params) == query | {"before": response.json()["messages"][-1]["id"]}
    assert dict(httpx.URL(response.links["first"]["url"]).params) == query
    assert [m["id"] for m in client.get(url).json()["messages"]] == [
        m["id"] for m in client.get(path, params=query | {"page": "2"}).json()["messages"]
    ]


def test_links_of_a_page_around_a_message_lead_to_all_others(client: httpx.Client) -> None:
    path = new_chat(client, *(f"message {n}" for n in range(5)))
    id_ = client.get(path).json()["messages"][2]["id"]
    page = client.get(path, params={"around": id_, "limit": "1", "type": "text"})
    assert [message["content"] for message in page.json()["messages"]] == ["message 2"]
    older = follow_links(client, page.links["next"]["url"], "next")
    newer = follow_links(client, page.links["prev"]["url"], "prev")
    assert (newer, older) == ([["message 3"], ["message 4"]], [["message 1"], ["message 0"]])
    assert "around" not in page.headers["link"]
    assert page.headers["link"].count("type=text") == 3


def test_link_has_the_path_of_the_request(client: httpx.Client) -> None:
    path = new_chat(client, "one", "two")
    encoded = path.replace("/chats/0", "/chats/%30")
    assert encoded != path
    assert follow_links(client, f"{encoded}?limit=1", "next") == [["two"], ["one"]]


def test_link_to_the_first_page_has_no_query(api: Api, client: httpx.Client) -> None:
    path = new_chat(client)
    assert client.get(path).headers["link"] == f'<{api.url}{path}>; rel="first"'


def test_chats_and_hits_have_links(client: httpx.Client) -> None:
    paths = [new_chat(client, "hello") for _ in range(3)]
    response = client.get("/api/chats", params={"limit": "2"})
    rest = client.get(response.links["next"]["url"])
    assert [chat["id"] for chat in rest.json()["chats"]] == [paths[0].split("/")[3]]
    assert len(follow_links(client, "/api/search?search=hello&limit=1", "next")) == 3
    assert len(follow_links(client, "/api/search?search=hello&limit=1&sort=relevance", "next")) == 3


def test_link_header_that_is_too_long_is_omitted(client: httpx.Client) -> None:
    path = new_chat(client, "上" * 1000, "上")
    for length, has_links in ((100, True), (1000, False)):
        response = client.get(path, params={"search": "上" * length, "limit": "1"})
        assert (response.status_code, "link" in response.headers) == (200, has_links)
        assert len(response.headers.get("link", "")) <= 6000


def test_responses_without_pages_have_no_links(client: httpx.Client) -> None:
    path = new_chat(client)
    for response in (
        client.get(path.removesuffix("/messages")),
        client.get("/api/settings"),
        client.get(f"{path}?page=0"),
    ):
        assert "link" not in response.headers


def test_search_covers_the_current_chats_of_the_caller(api: Api) -> None:
    owner, member, stranger = new_user(), new_user(), new_user()
    with (
        unlimited_client(api, owner) as searching,
        unlimited_client(api, member) as other,
        unlimited_client(api, stranger) as third,
    ):
        path = new_chat(searching, "hello <b>world</b>")
        chat = path.removesuffix("/messages")
        other.get("/api/chats")

        def found(client: httpx.Client, **query: str) -> list[tuple[str, str]]:
            response = client.get("/api/search", params={"search": "world"} | query).json()
            assert response["total"] == len(response["messages"])
            return [(message["chatId"], message["extract"]) for message in response["messages"]]

        expected = [(chat.split("/")[3], "hello &lt;b&gt;<mark>world</mark>&lt;/b&gt;")]
        for sort in ("newest", "relevance"):
            assert found(searching, sort=sort) == expected
            assert found(other, sort=sort) == found(third, sort=sort) == []
        assert searching.post(f"{chat}/members", json={"userId": member}).status_code == 201
        assert found(other) == expected
        assert searching.delete(f"{chat}/members/{member}").status_code == 204
        assert (found(other), found(searching)) == ([], expected)
        assert searching.delete(chat).status_code == 204
        assert found(searching) == []


def test_search_of_all_chats_requires_a_search_term(client: httpx.Client) -> None:
    for query, problem in (
        ("", "is required"),
        ("?search=", "is required"),
        ("?search=%20%E3%80%80", "must not be blank"),
    ):
        error = expect_error(client.get(f"/api/search{query}"), 400)
        assert error["details"]["fields"] == {"search": problem}
    for query, field, problem in (
        ("?search=x&sort=best", "sort", "must be one of: newest, relevance"),
        (
            "?search=x&sort=relevance&before=01a20a99-4a23-7c5b-9aec-d0aaeaef17a8",
            "sort",
            "cannot be combined with before or after",
        ),
        ("?search=x&limit=101", "limit", "must be a whole number from 1 to 100"),
    ):
        assert expect_error(client.get(f"/api/search{query}"), 400)["details"]["fields"] == {field: problem}
    path = new_chat(client)
    assert expect_error(client.get(f"{path}?sort=relevance"), 400)["details"]["fields"] == {"sort": "requires search"}
