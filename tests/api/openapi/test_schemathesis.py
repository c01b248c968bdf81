"""Schemathesis generates requests from the OpenAPI document, and checks the API's responses against it.

`pytest -rP tests/api/openapi/test_schemathesis.py` prints its report.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from openapi_spec_validator import OpenAPIV31SpecValidator

from tests import ROOT
from tests.api.support import unlimited_client
from tests.api_process import Api, running
from tests.tokens import token

CONFIG = Path(__file__).with_name("schemathesis.toml")
TIMEOUT_SECONDS = 240  # on a busy machine; an idle one takes 40


def test_api_conforms_to_its_document(
    directory: Path, new_api: Callable[..., Api], new_database: Callable[[str], str]
) -> None:
    settings = {"RATE_LIMIT_REQUESTS": "1000000", "PUSHER_KEY": "key", "PUSHER_SECRET": "secret"}
    users = directory / "schemathesis-users.json"
    with running(new_api(new_database("parley_schemathesis"), **settings)) as api:
        sign_in(api, "bob")
        users.write_text(json.dumps({"auth": [sign_in(api, name) for name in ("alice", "mallory")]}))
        document = f"{api.url}/openapi.json"
        program = Path(sys.executable).with_name("schemathesis")
        command = [str(program), "--config-file", str(CONFIG), "run", document, "--url", api.url, "--no-color"]
        environment = os.environ | {"USERS": str(users), "CHATS": json.dumps(list(create_chats(api, "alice")))}
        done = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=TIMEOUT_SECONDS, check=False
        )
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
    selected = re.search(r"Operations: +(\d+) selected / (\d+) total", done.stdout)
    assert selected
    assert selected[1] == selected[2]
    assert f"Tested: {selected[1]}" in done.stdout
    for phase in ("Examples", "Coverage", "Fuzzing", "Stateful"):
        assert f"✅ {phase}" in done.stdout.partition("Test Phases:")[2]


def sign_in(api: Api, name: str) -> dict[str, object]:
    """Sign a user in for the first time; return the user's credentials for Schemathesis."""
    headers = {"Authorization": f"Bearer {token(name)}"}
    with unlimited_client(api, "", **headers) as client:
        assert client.get("/api/chats").is_success
    return {"name": name, "fixedHeaders": [{"name": name, "value": value} for name, value in headers.items()]}


def create_chats(api: Api, owner: str) -> Iterator[dict[str, str]]:
    """Create chats with a message each, more than will be deleted; yield their path parameters.

    They have no other member: Schemathesis would report that the other user may read what the owner can list.
    """
    with unlimited_client(api, owner) as client:
        for _ in range(30):
            chat = client.post("/api/chats", json={"title": "Plans"}).json()["id"]
            message = client.post(f"/api/chats/{chat}/messages", json={"content": "Hello"}).json()["id"]
            yield {"chatId": chat, "messageId": message}


def test_document_is_valid_openapi(api: Api) -> None:
    with unlimited_client(api, "") as anonymous:
        document = anonymous.get("/openapi.json").json()
    assert document["openapi"].startswith("3.1.")
    assert [error.message for error in OpenAPIV31SpecValidator(document).iter_errors()] == []
    document["paths"]["/api/chats"]["get"]["parameters"][0]["in"] = "nowhere"
    assert list(OpenAPIV31SpecValidator(document).iter_errors()) != []
