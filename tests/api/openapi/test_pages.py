"""The pages with links and documentation, and their files: headers, caching, and what they load."""

import json
import re
from html import unescape
from html.parser import HTMLParser

import httpx
import pytest

from api.openapi.models.events import CHANNELS, CHAT_EVENT_ONLY, EVENTS, MAX_CHANNEL_USER_ID_BYTES, MAX_EVENT_BYTES
from api.openapi.pages import EXAMPLE, render_index
from tests.api.support import expect_error

LOADING_TAGS = {"link", "script", "img", "iframe", "source"}
PAGES = ["/", "/docs", "/docs/events"]
FILES = {
    "/docs/docs.js": "text/javascript; charset=utf-8",
    "/docs/page.css": "text/css; charset=utf-8",
    "/docs/swagger-ui-bundle.js": "text/javascript; charset=utf-8",
    "/docs/swagger-ui.css": "text/css; charset=utf-8",
    "/openapi.json": "application/json",
    **dict.fromkeys(PAGES, "text/html; charset=utf-8"),
}


class Elements(HTMLParser):
    """A parser that collects the elements of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attributes)))


@pytest.mark.parametrize("path", FILES)
def test_each_file_has_its_content_type_and_a_strict_policy(anonymous_client: httpx.Client, path: str) -> None:
    response = anonymous_client.get(path)
    assert response.status_code == 200
    assert response.content
    headers = response.headers
    assert headers["content-type"] == FILES[path]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    policy = dict(part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";"))
    assert policy == {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self'",
        "connect-src": "'self'",
        "img-src": "data: blob:",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }


@pytest.mark.parametrize("path", FILES)
def test_unchanged_file_is_not_sent_again(anonymous_client: httpx.Client, path: str) -> None:
    full = anonymous_client.get(path)
    assert full.headers["cache-control"] == "no-cache"
    unchanged = anonymous_client.get(path, headers={"If-None-Match": full.headers["etag"]})
    assert (unchanged.status_code, unchanged.content) == (304, b"")
    assert unchanged.headers["etag"] == full.headers["etag"]
    assert anonymous_client.get(path, headers={"If-None-Match": "*"}).status_code == 304
    assert anonymous_client.get(path, headers={"If-None-Match": '"other"'}).content == full.content


@pytest.mark.parametrize("path", FILES)
def test_head_returns_only_headers(anonymous_client: httpx.Client, path: str) -> None:
    head, full = anonymous_client.head(path), anonymous_client.get(path)
    assert (head.status_code, head.content) == (200, b"")
    for name in ("content-type", "content-length", "etag"):
        assert head.headers[name] == full.headers[name]


def test_pages_need_no_token_and_have_no_rate_limit(anonymous_client: httpx.Client) -> None:
    for path in PAGES:
        assert not any(name.startswith("x-ratelimit-") for name in anonymous_client.get(path).headers)


@pytest.mark.parametrize(
    "name",
    [
        "LICENSE",
        "swagger-ui.js",
        "docs.html",
        "events.html",
        "events/",
        "__init__.py",
        "..%2Fdocs.py",
        "%2e%2e/docs.py",
        "%2e%2e%2fdocs.py",
        "..%5Cdocs.py",
        "%2Fetc%2Fpasswd",
        "docs.js%00",
        "static/docs.js",
    ],
)
def test_other_names_are_not_found(anonymous_client: httpx.Client, name: str) -> None:
    expect_error(anonymous_client.get(f"/docs/{name}"), 404)


def test_post_is_not_allowed(anonymous_client: httpx.Client) -> None:
    for path in FILES:
        response = anonymous_client.post(path)
        expect_error(response, 405)
        assert response.headers["allow"] == "GET, HEAD"


def test_trailing_slash_redirects_to_the_page(anonymous_client: httpx.Client) -> None:
    response = anonymous_client.get("/docs/")
    assert (response.status_code, response.headers["location"]) == (308, "../docs")
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    assert response.next_request
    assert response.next_request.url.path == "/docs"


@pytest.mark.parametrize("path", PAGES)
def test_page_loads_only_its_own_files(anonymous_client: httpx.Client, path: str) -> None:
    elements = Elements(anonymous_client.get(path).text).found
    loaded = [attributes.get("src") or attributes.get("href") for tag, attributes in elements if tag in LOADING_TAGS]
    loaded.remove("data:,")  # instead of /favicon.ico
    assert loaded
    base = anonymous_client.base_url.join(path)
    assert {base.join(str(reference)).path for reference in loaded} <= FILES.keys()
    assert not any(str(reference).startswith("/") or ":" in str(reference) for reference in loaded)
    for tag, attributes in elements:
        assert tag not in {"base", "style", "iframe", "object", "embed", "form"}
        assert not any(name == "style" or name.startswith("on") for name in attributes)
        if tag == "script":
            assert attributes["src"]


def test_style_sheets_load_nothing(anonymous_client: httpx.Client) -> None:
    for path in FILES:
        if path.endswith(".css"):
            style = anonymous_client.get(path).text
            assert "@import" not in style
            assert all(url.startswith("data:") for url in re.findall(r"url\(\s*[\"']?([^)]*)", style))


def test_pages_link_to_each_other(anonymous_client: httpx.Client) -> None:
    for path in PAGES:
        elements = Elements(anonymous_client.get(path).text).found
        links = {
            anonymous_client.base_url.join(path).join(str(found["href"])).path for tag, found in elements if tag == "a"
        }
        assert links >= {*PAGES, "/openapi.json"}


@pytest.mark.parametrize("path", ["/", "/docs/events"])
def test_page_has_no_script(anonymous_client: httpx.Client, path: str) -> None:
    assert "script" not in {tag for tag, _ in Elements(anonymous_client.get(path).text).found}


def test_first_page_links_to_the_web_app_or_names_the_example(anonymous_client: httpx.Client) -> None:
    page = anonymous_client.get("/").text
    assert EXAMPLE in page
    assert "README.md" in page
    linked = render_index('https://app.example.org/"><script>').decode()
    assert EXAMPLE not in linked
    elements = Elements(linked).found
    assert ("a", {"href": 'https://app.example.org/"><script>', "rel": "noreferrer"}) in elements
    assert "script" not in {tag for tag, _ in elements}


def test_first_page_reveals_no_version(anonymous_client: httpx.Client) -> None:
    response = anonymous_client.get("/")
    assert not re.search(r"\d+\.\d+", response.text)
    assert "server" not in response.headers


def test_event_page_has_the_facts_of_the_models(anonymous_client: httpx.Client) -> None:
    page = anonymous_client.get("/docs/events").text
    assert re.findall(r"<tr><td><code>(\w+-\w+-\{\w+\})</code></td>", page) == [channel.name for channel in CHANNELS]
    assert all(f"<code>{name}</code>" in page for name in CHAT_EVENT_ONLY)
    assert f"more than {MAX_EVENT_BYTES:,} bytes" in page
    assert f"longer than {MAX_CHANNEL_USER_ID_BYTES} bytes" in page
    assert not re.search(r"(?<!\$)\{(?!chatId|id)\w+\}", page)


def test_event_page_describes_each_event_and_its_fields(anonymous_client: httpx.Client) -> None:
    page = anonymous_client.get("/docs/events").text
    schemas = anonymous_client.get("/openapi.json").json()["components"]["schemas"]
    for event in EVENTS:
        part = page.partition(f'<h3 id="{event.name}">')[2].partition("<h3 id=")[0]
        assert all(f"<code>{channel.name}</code>" in part for channel in event.channels), event
        example = json.loads(unescape(part.partition("<pre><code>")[2].partition("</code>")[0]))
        schema = schemas[event.payload.__name__]
        event.payload.model_validate(example)
        rows = re.findall(r"^<tr><td><code>(.+?)</code></td><td>(.+?)</td>", part, flags=re.MULTILINE)
        top = {name: kind for name, kind in rows if "." not in name}
        assert top.keys() == schema.get("properties", {}).keys()
        assert {name for name, kind in top.items() if "optional" not in kind} == set(schema.get("required", []))
        if "type" in top:
            assert top["type"] == '"text" | "code" | "image"'
