"""Which modules may import which others."""

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

from tests import ROOT


def imports(folder: str) -> Iterator[tuple[str, str]]:
    """Yield the name of each file of a folder with each module that it imports."""
    for file in (ROOT / folder).rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                yield from ((file.name, name.name) for name in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module:
                yield from ((file.name, f"{node.module}.{name.name}") for name in node.names)


def test_the_listener_and_the_api_have_only_api_shared_in_common() -> None:
    of_api = [module for _, module in imports("listener") if module.split(".")[0] == "api"]
    assert of_api
    assert all(module.startswith("api.shared.") for module in of_api), of_api
    assert [found for found in imports("api") if found[1].split(".")[0] == "listener"] == []


def test_api_shared_imports_neither() -> None:
    found = list(imports("api/shared"))
    assert found
    assert [module for _, module in found if module.split(".")[0] in {"api", "listener"}] == []


def test_the_decoder_of_uploads_imports_nothing_else_of_the_project() -> None:
    of_project = [module for _, module in imports("api/images/reencode") if module.split(".")[0] in {"api", "listener"}]
    assert of_project
    assert all(f"{module}.".startswith("api.images.reencode.") for module in of_project), of_project


def module_of(file: Path) -> str:
    return ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imported_modules(file: Path) -> Iterator[str]:
    """Yield the modules of api/ that a file imports when it is loaded, so neither in functions nor for types only."""
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "api":
            folder = ROOT.joinpath(*node.module.split("."))
            for name in node.names:
                is_module = folder.joinpath(name.name).is_dir() or folder.joinpath(f"{name.name}.py").is_file()
                yield f"{node.module}.{name.name}" if is_module else node.module


def test_the_modules_of_the_api_have_no_import_cycle() -> None:
    graph = {module_of(file): set(imported_modules(file)) for file in (ROOT / "api").rglob("*.py")}
    assert len(list(TopologicalSorter(graph).static_order())) == len(graph)


def test_the_folders_of_the_api_do_not_import_the_spine() -> None:
    spine = {module_of(file) for file in (ROOT / "api").glob("*.py")} - {"api"}
    imported = {
        (file.relative_to(ROOT / "api").parts[0], module)
        for file in (ROOT / "api").glob("*/**/*.py")
        for module in imported_modules(file)
        if module in spine
    }
    assert ("db", "api.settings") in imported
    assert {found for found in imported if found[1] != "api.settings"} == {("openapi", "api.routes")}
