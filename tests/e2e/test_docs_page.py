"""The page /docs in a real browser: requests that are tried out succeed, and are sent to the API only.

PARLEY_PICTURES=DIRECTORY saves screenshots of the pages there.
"""

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.api.support import INSTANT, UUID7
from tests.api_process import Api, running
from tests.browser import find_program
from tests.e2e.npm import Npm
from tests.tokens import new_user, token

PROGRAM = Path(__file__).with_name("docs_page.js")
PACKAGES = {"playwright-core": "1.65.1"}
SECONDS = 120


@pytest.fixture(scope="module")
def browser() -> str:
    """The path of the browser."""
    return find_program()


@pytest.fixture(scope="module")
def modules(npm: Npm) -> Path:
    """A directory `node_modules` with the package that drives the browser."""
    return npm.install(PACKAGES)


def visit(browser: str, modules: Path, url: str, prefix: str, user: str) -> dict[str, Any]:
    """Try out requests as this user on the page of the API at this URL; return what the page shows."""
    pictures = os.environ.get("PARLEY_PICTURES")
    options = {"chromium": browser, "url": url, "prefix": prefix, "token": token(user), "title": "Plans"}
    if pictures:
        options["picture"] = f"{pictures}/docs.png"
    environment = {"PATH": os.environ["PATH"], "NODE_PATH": str(modules), "HOME": str(modules)}
    command = ["node", str(PROGRAM), json.dumps(options)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    return result


@pytest.mark.parametrize(("host", "prefix"), [("127.0.0.1", ""), ("localhost", "/chat")])
def test_requests_can_be_tried_out_in_a_browser(
    browser: str, modules: Path, new_api: Callable[..., Api], shared_database: str, host: str, prefix: str
) -> None:
    user = new_user()
    with running(new_api(shared_database, RATE_LIMIT_REQUESTS="1000")) as api:
        url = f"http://{host}:{api.port}"
        result = visit(browser, modules, url, prefix, user)

    assert result["created"]["status"] == "201"
    chat = json.loads(result["created"]["body"])
    assert chat == {"id": UUID7, "title": "Plans", "createdAt": INSTANT}
    assert result["listed"]["status"] == "200"
    assert [listed["id"] for listed in json.loads(result["listed"]["body"])["chats"]] == [chat["id"]]
    assert result["servers"] == [url + prefix]

    assert result["errors"] == []
    assert all(request.startswith((f"{url}{prefix}/", "data:")) for request in result["requests"])
    assert token(user)[:20] not in result["kept"]
    assert "message:sent" in result["events"]
    assert result["width"] == 320  # on the narrowest phone the page does not scroll sideways
