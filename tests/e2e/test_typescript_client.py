"""The TypeScript client: its types are those of the API's document, and its own tests and checks pass."""

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.api_process import Api
from tests.e2e.web_client import SOURCE

SCHEMA = SOURCE / "src/schema.ts"
TIMEOUT_SECONDS = 300
# The README's shorter examples use these names without declaring them.
DECLARATIONS = """
import { type Parley, parseExtract } from "@parley/client"
declare const client: Parley, chatId: string, messageId: string, file: File
"""


def run(*command: str | Path, cwd: Path) -> None:
    """Run a command, which must succeed."""
    done = subprocess.run(
        [str(part) for part in command], cwd=cwd, capture_output=True, text=True, timeout=TIMEOUT_SECONDS, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_types_are_those_of_the_document(api: Api, web_client: Path, tmp_path: Path) -> None:
    generated = tmp_path / "schema.ts"
    generate = web_client / "node_modules/.bin/openapi-typescript"
    run(generate, f"{api.url}/openapi.json", "--output", generated, cwd=web_client)
    if os.environ.get("PARLEY_UPDATE_SCHEMA"):
        SCHEMA.write_text(generated.read_text())
    assert generated.read_text() == SCHEMA.read_text()


@pytest.mark.parametrize("script", ["lint", "test", "size"])
def test_script_succeeds(web_client: Path, script: str) -> None:
    run("npm", "run", script, cwd=web_client)


def test_examples_of_the_readme_compile(web_client: Path) -> None:
    readme = (SOURCE / "README.md").read_text()
    (component,) = re.findall(r"```tsx\n(.*?)```", readme, flags=re.DOTALL)
    others = "".join(re.findall(r"```ts\n(.*?)```", readme, flags=re.DOTALL))
    examples = web_client / "readme"
    examples.mkdir(exist_ok=True)
    (examples / "component.tsx").write_text(component)
    (examples / "others.ts").write_text(DECLARATIONS + others)
    options = {"extends": "../tsconfig.json", "compilerOptions": {"noUnusedLocals": False}, "include": ["."]}
    (examples / "tsconfig.json").write_text(json.dumps(options))
    run("node_modules/.bin/tsc", "--project", examples, cwd=web_client)
