"""Clients that are generated from the OpenAPI document compile, and programs can use them as web apps do."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from api.dev.postgres import Postgres
from tests import images
from tests.api.support import unlimited_client
from tests.api_process import Api, running
from tests.e2e.npm import Npm
from tests.tokens import new_user, token

HERE = Path(__file__).parent
PACKAGES = {
    "@types/node": "20.19.0",
    "openapi-fetch": "0.17.0",
    "openapi-typescript": "7.13.0",
    "typescript": "5.9.3",
}
# The strictest options of the compiler.
TSC = ["node_modules/.bin/tsc", "--module", "nodenext", "--target", "es2023", "--types", "node", "--strict",
    "--exactOptionalPropertyTypes", "--noFallthroughCasesInSwitch", "--noImplicitOverride", "--noImplicitReturns",
    "--noPropertyAccessFromIndexSignature", "--noUncheckedIndexedAccess", "--noUnusedLocals",
    "--noUnusedParameters"]  # fmt: skip
PYTHON = [sys.executable, "-m"]
SECONDS = 60


@pytest.fixture(scope="module")
def database(new_database: Callable[[str], str]) -> str:
    return new_database("parley_generated_clients")


@pytest.fixture(scope="module")
def unlimited_api(new_api: Callable[..., Api], database: str) -> Iterator[Api]:
    """An API without an effective rate limit."""
    with running(new_api(database, RATE_LIMIT_REQUESTS="100000")) as api:
        yield api


@pytest.fixture(scope="module")
def document(unlimited_api: Api, directory: Path) -> Path:
    """Write the document to a file."""
    file = directory / "openapi.json"
    with unlimited_client(unlimited_api, "") as anonymous:
        file.write_text(anonymous.get("/openapi.json").text)
    return file


@pytest.fixture
def users(unlimited_api: Api) -> tuple[str, str]:
    """Create two users."""
    names = new_user(), new_user()
    for name in names:
        with unlimited_client(unlimited_api, name) as client:
            assert client.get("/api/chats").is_success
    return names


@pytest.fixture
def image_file(tmp_path: Path) -> Path:
    file = tmp_path / "picture.png"
    file.write_bytes(images.encode(images.draw_gradient(), "PNG"))
    return file


@pytest.fixture(scope="module")
def typescript_directory(document: Path, npm: Npm) -> Path:
    """A directory with the types that are generated from the document, and the compiler."""
    directory = npm.install(PACKAGES).parent
    run("node_modules/.bin/openapi-typescript", document, "--output", "schema.d.ts", cwd=directory)
    return directory


def run(*command: str | Path, cwd: Path) -> str:
    """Run a command, which must succeed; return its output."""
    done = subprocess.run(
        [str(part) for part in command], cwd=cwd, capture_output=True, text=True, timeout=SECONDS, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_generated_typescript_client_works(
    unlimited_api: Api,
    postgres: Postgres,
    database: str,
    typescript_directory: Path,
    users: tuple[str, str],
    image_file: Path,
) -> None:
    shutil.copy(HERE / "client.mts", typescript_directory)
    run(*TSC, "client.mts", cwd=typescript_directory)
    alice, bob = users
    program = subprocess.Popen(
        ["node", "client.mjs", unlimited_api.url, token(alice), bob, str(image_file)],
        cwd=typescript_directory,
        env={"PATH": os.environ["PATH"]},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with program:
        assert program.stdout
        output = program.stdout.readline()
        with psycopg.connect(postgres.url(database)) as dba:
            events = dba.execute(
                "select event, payload from parley.outbox where event not like 'member:%' order by id"
            ).fetchall()
            events += dba.execute(
                "select 'chat:event', parley.chat_event_payload(o, null)::json from parley.outbox o"
                " where event = 'message:sent' order by id limit 1"
            ).fetchall()
        lines = "".join(json.dumps({"event": event, "data": data}) + "\n" for event, data in events)
        descriptions, errors = program.communicate(lines, timeout=SECONDS)
    assert (output, program.returncode) == ("done\n", 0), errors
    assert descriptions.splitlines() == [
        f"{alice} sent Hello world as text",
        f"{alice} sent Hello again as text",
        f"{alice} sent 1 + 1 as code",
        "message is code",
        "message is gone",
        *[f"{alice} is Alice"] * 2,
        "chat is Other plans",
        "chat is gone",
        "message:sent is number 3",
    ]


def test_compiler_rejects_deviations_from_the_document(typescript_directory: Path) -> None:
    program = (HERE / "client.mts").read_text()
    mistakes = {
        "field": ('{ title: "Plans" }', '{ name: "Plans" }'),
        "choice": ('type: "code"', 'type: "cod"'),
        "event": ("data.content", "data.contents"),
        "null": ("const name: string | null", "const name: string"),
        "code": ('    case "not_found":\n      return "gone"\n', ""),
    }
    for name, (right, wrong) in mistakes.items():
        assert right in program
        (typescript_directory / f"{name}.mts").write_text(program.replace(right, wrong))
    compiled = subprocess.run(
        [*TSC, "--noEmit", *(f"{name}.mts" for name in mistakes)],
        cwd=typescript_directory, capture_output=True, text=True, timeout=SECONDS, check=False,
    )  # fmt: skip
    for name in mistakes:
        assert f"{name}.mts(" in compiled.stdout


def test_generated_python_client_works(
    unlimited_api: Api, document: Path, users: tuple[str, str], image_file: Path, tmp_path: Path
) -> None:
    shutil.copy(HERE / "client.py", tmp_path)
    (tmp_path / "config.yaml").write_text("post_hooks: []")
    options = ["--meta", "none", "--output-path", "parley_client", "--config", "config.yaml"]
    output = run(*PYTHON, "openapi_python_client", "generate", "--path", document, *options, cwd=tmp_path)
    # The generator does not support media types of images; browsers need no client for them.
    assert re.findall("WARNING.*", output) == ["WARNING parsing GET /images/{name} within outside_api."]
    run(*PYTHON, "mypy", "--strict", "--follow-imports=silent", "client.py", cwd=tmp_path)
    alice, bob = users
    run(sys.executable, "-W", "error", "client.py", unlimited_api.url, token(alice), bob, image_file, cwd=tmp_path)
