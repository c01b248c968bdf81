"""What may import what."""

import ast
from collections.abc import Iterator

from tests.support import ROOT


def imports(folder: str) -> Iterator[tuple[str, str]]:
    """Each file of a folder, and a module that it imports."""
    for file in (ROOT / folder).rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                yield from ((file.name, name.name) for name in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module:
                yield from ((file.name, f"{node.module}.{name.name}") for name in node.names)


def test_the_listener_and_the_api_share_what_is_shared_and_nothing_else() -> None:
    of_api = [module for _, module in imports("listener") if module.split(".")[0] == "api"]
    assert of_api
    assert all(module.startswith("api.shared.") for module in of_api), of_api
    assert [found for found in imports("api") if found[1].split(".")[0] == "listener"] == []


def test_what_is_shared_needs_neither() -> None:
    found = list(imports("api/shared"))
    assert found
    assert [module for _, module in found if module.split(".")[0] in {"api", "listener"}] == []


def test_the_decoder_of_uploads_imports_nothing_else_of_the_api() -> None:
    of_project = [module for _, module in imports("api/images/reencode") if module.split(".")[0] in {"api", "listener"}]
    assert of_project
    assert all(f"{module}.".startswith("api.images.reencode.") for module in of_project), of_project
