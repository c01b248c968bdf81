"""The rate limit that several tabs of Chromium share: the TypeScript client loses no request, and few are rejected."""

from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from api.dev.process import find_free_port
from tests.api_process import Api, running
from tests.e2e.chromium import Chromium, Tab
from tests.e2e.npm import Npm
from tests.e2e.test_typescript_client import run
from tests.tokens import new_user, token

pytestmark = pytest.mark.browser

TABS, REQUESTS = 3, 8  # of each tab
PAGE = """<!doctype html><link rel="icon" href="data:,"><script src="transport.js"></script><script>
async function send(url, token, count) {
  const transport = http.createTransport({ url, getToken: () => token })
  const requests = Array.from({ length: count }, () => transport(new Request(`${url}/api/settings`)))
  return (await Promise.all(requests)).map(({ status }) => status)
}
</script>"""


@pytest.fixture
def port() -> int:
    return find_free_port()


@pytest.fixture
def origin(port: int) -> str:
    return f"http://127.0.0.1:{port}"


@pytest.fixture
def limited_api(new_api: Callable[..., Api], new_database: Callable[[str], str], origin: str) -> Iterator[Api]:
    """An API with the default limit and window, and a new budget."""
    database = new_database("parley_tabs")
    settings = {"ALLOWED_ORIGINS": origin, "RATE_LIMIT_PREFIX": uuid4().hex, "RATE_LIMIT_WINDOW": "10"}
    with running(new_api(database, **settings)) as api:
        yield api


def test_tabs_share_the_limit(
    npm: Npm, web_client: Path, directory: Path, limited_api: Api, port: int, origin: str
) -> None:
    script, page = directory / "transport.js", directory / "transport.html"
    page.write_text(PAGE)
    options = ["--bundle", "--format=iife", "--global-name=http", f"--outfile={script}"]
    run("node_modules/.bin/esbuild", "src/http/transport.ts", *options, cwd=web_client)
    with Chromium(npm) as chromium:
        chromium.serve({"index.html": page, "transport.js": script}, port)
        tabs = [Tab(chromium, "user", origin) for _ in range(TABS)]
        user_token = token(new_user())
        for tab in tabs:
            tab.evaluate(f"void (result = send('{limited_api.url}', '{user_token}', {REQUESTS}))")
        for tab in tabs:
            assert tab.evaluate("result") == [200] * REQUESTS
        responses = [response for tab in tabs for response in tab.responses]
        rejected = sum(response.status == 429 for response in responses)
        assert len(responses) == TABS * REQUESTS + rejected
        assert rejected < REQUESTS, "without a common budget, at least 14"
