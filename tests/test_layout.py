"""Which modules may import which others, and whether files that documentation names exist."""

import ast
import re
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

from tests import ROOT


def find_imports(folder: str) -> Iterator[tuple[str, str]]:
    """Yield the name of each file of a folder with each module that it imports."""
    for file in (ROOT / folder).rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                yield from ((file.name, name.name) for name in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module:
                yield from ((file.name, f"{node.module}.{name.name}") for name in node.names)


def test_listener_and_api_have_only_api_shared_in_common() -> None:
    api_modules = [module for _, module in find_imports("listener") if module.split(".")[0] == "api"]
    assert api_modules
    assert all(module.startswith("api.shared.") for module in api_modules), api_modules
    assert [found for found in find_imports("api") if found[1].split(".")[0] == "listener"] == []


def test_api_shared_imports_nothing_else_of_the_project() -> None:
    project_modules = [
        module for _, module in find_imports("api/shared") if module.split(".")[0] in {"api", "listener"}
    ]
    assert project_modules
    assert all(module.startswith("api.shared.") for module in project_modules), project_modules


def test_decoder_of_uploads_imports_nothing_else_of_the_project() -> None:
    project_modules = [
        module for _, module in find_imports("api/images/reencode") if module.split(".")[0] in {"api", "listener"}
    ]
    assert project_modules
    assert all(f"{module}.".startswith("api.images.reencode.") for module in project_modules), project_modules


def get_module_name(file: Path) -> str:
    return ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imported_modules(file: Path) -> Iterator[str]:
    """Yield the modules of api/ that a file imports when it is loaded, so neither in functions nor for types only."""
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "api":
            folder = ROOT.joinpath(*node.module.split("."))
            for name in node.names:
                is_module = folder.joinpath(name.name).is_dir() or folder.joinpath(f"{name.name}.py").is_file()
                yield f"{node.module}.{name.name}" if is_module else node.module


def test_modules_of_the_api_have_no_import_cycle() -> None:
    graph = {get_module_name(file): set(imported_modules(file)) for file in (ROOT / "api").rglob("*.py")}
    assert len(list(TopologicalSorter(graph).static_order())) == len(graph)


def test_api_subpackages_do_not_import_top_level_modules() -> None:
    spine = {get_module_name(file) for file in (ROOT / "api").glob("*.py")} - {"api"}
    imported = {
        (file.relative_to(ROOT / "api").parts[0], module)
        for file in (ROOT / "api").glob("*/**/*.py")
        for module in imported_modules(file)
        if module in spine
    }
    assert ("db", "api.settings") in imported
    assert {found for found in imported if found[1] != "api.settings"} == {("openapi", "api.routes")}


def test_files_named_in_the_documentation_exist() -> None:
    path = re.compile(r"(?<![\w/.-])((?:\.\./)?(?:[\w-]+/)+[\w.-]+\.(?:py|sql|md|sh|ini))\b")
    folders = [ROOT / folder for folder in (".github", "api", "listener", "sql", "tests")]
    documents = [ROOT / "README.md", *(file for folder in folders for file in folder.rglob("*.md"))]
    found = {
        (document, name)
        for document in documents
        if "node_modules" not in document.parts
        for name in path.findall(document.read_text(encoding="utf-8"))
        if "NNNN" not in name  # stands for a number
    }
    assert (ROOT / "tests/README.md", "tests/conftest.py") in found
    missing = {
        (document, name)
        for document, name in found
        if not ((ROOT / name).is_file() or document.parent.joinpath(name).is_file())
    }
    assert not missing
