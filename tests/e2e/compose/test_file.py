"""Rules for the services of docker-compose.yml."""

import ast
import re
import shlex
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
import yaml

from api.settings import Settings as ApiSettings
from listener.settings import Settings as ListenerSettings
from tests import ROOT
from tests.e2e.compose.services import (
    DOCKERFILE,
    FILE,
    OPTIONAL_VARIABLES,
    PARLEY_SERVICES,
    SERVICES,
    TEXT,
    MissingError,
    create_env,
    interpolate,
    parse_copies,
)
from tests.e2e.conftest import OVERRIDES, PACKAGES
from tests.e2e.npm import OPTIONS


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_is_confined(name: str) -> None:
    service = SERVICES[name]
    assert service["user"] in {"postgres", "valkey", "node", "parley"}
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not service.keys() & {"cap_add", "privileged", "network_mode", "pid", "ipc", "devices", "env_file"}
    assert service["mem_limit"]
    assert 0 < service["pids_limit"] <= 200
    assert set(service["logging"]["options"]) == {"max-size", "max-file"}
    assert all(re.fullmatch(r"127\.0\.0\.1:\d+:\d+", port) for port in service.get("ports", ()))
    assert all(re.fullmatch(r"(database|images|uploads):/.+", volume) for volume in service.get("volumes", ()))
    assert ("ports" in service) == ("front" in service["networks"])
    assert FILE["networks"]["back"] == {"internal": True}


def test_servers_have_health_checks_and_restart_and_the_migration_does_not() -> None:
    for name, service in SERVICES.items():
        is_job = name == "migrate"
        assert service["restart"] == ("no" if is_job else "unless-stopped")
        assert ("healthcheck" in service) != is_job


def test_services_start_after_their_dependencies() -> None:
    dependencies = {
        name: {other: options["condition"] for other, options in service["depends_on"].items()}
        for name, service in SERVICES.items()
        if "depends_on" in service
    }
    migrated, healthy = "service_completed_successfully", "service_healthy"
    assert dependencies == {
        "migrate": {"postgres": healthy},
        "api": {"migrate": migrated, "postgres": healthy, "valkey": healthy},
        "listener": {"migrate": migrated, "postgres": healthy, "soketi": healthy},
    }


def test_secrets_are_required_variables(env: dict[str, str]) -> None:
    uses = re.findall(r"(?<!\$)\$\{?(\w+)(:?[-?]?)", TEXT)
    required = {name for name, operator in uses if operator == ":?"}
    assert {name for name, operator in uses if operator == ":-"} == OPTIONAL_VARIABLES
    assert {operator for _, operator in uses} == {":?", ":-"}  # no variable of a shell that Compose would replace
    assert required == env.keys()
    for name in required:
        with pytest.raises(MissingError, match=name):
            interpolate([service["environment"] for service in SERVICES.values()], env | {name: ""})
    for service in SERVICES.values():
        for name, value in service["environment"].items():
            if re.search("PASSWORD|SECRET", name):
                assert re.fullmatch(r"\$\{\w+:\?[^}]+\}", value), name
            assert re.fullmatch(r"[^@]*(:\$\{\w+:\?[^}]+\}@.*)?", value), name


def test_secrets_are_random_and_readable_by_their_owner_only(env: dict[str, str], env_file: Path) -> None:
    assert all(re.fullmatch("[0-9a-f]{64}", secret) for secret in env.values())
    assert len(set(env.values())) == len(env)
    assert env_file.stat().st_mode & 0o777 == 0o600
    before = env_file.read_bytes()
    assert create_env(env_file.parent).returncode != 0  # new passwords would lock out the existing database
    assert env_file.read_bytes() == before


def test_all_variables_are_settings() -> None:
    names = {name.upper() for name in ApiSettings.model_fields | ListenerSettings.model_fields}
    for name in ("api", "listener"):
        assert set(SERVICES[name]["environment"]) - {"NEXTAUTH_SECRET", "TMPDIR"} <= names


def test_uploads_are_received_on_disk() -> None:
    directory = SERVICES["api"]["environment"]["TMPDIR"]
    assert directory in [volume.partition(":")[2] for volume in SERVICES["api"]["volumes"]]
    assert directory not in SERVICES["api"]["tmpfs"]
    assert f" {directory}\n" in DOCKERFILE  # made with the owner that a new volume inherits


def test_each_local_image_is_built_by_one_service_and_never_pulled() -> None:
    # Some versions of Docker reject simultaneous builds of one image by several services, each with its own labels.
    for image, users in {"parley": set(PARLEY_SERVICES), "parley-soketi": {"soketi"}}.items():
        assert {name for name, service in SERVICES.items() if service["image"] == image} == users
        assert all(SERVICES[name]["pull_policy"] == "never" for name in users)
        assert sum("build" in SERVICES[name] for name in users) == 1


def test_build_context_has_the_copied_files_only() -> None:
    copied = {source for sources, _ in parse_copies(DOCKERFILE) for source in sources}
    assert all((ROOT / source).exists() for source in copied)
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    assert {line[1:] for line in ignored if line.startswith("!")} == copied
    assert "*" in ignored
    git = (ROOT / ".gitignore").read_text().splitlines()
    assert ".env" in git


def test_soketi_has_the_version_of_the_tests() -> None:
    dockerfile = SERVICES["soketi"]["build"]["dockerfile_inline"]
    package = yaml.safe_load(re.findall(r"echo '(.*)'", dockerfile)[0])
    assert package["dependencies"].items() <= PACKAGES.items()
    assert package["overrides"] == OVERRIDES
    assert set(OPTIONS[-2:]) <= set(shlex.split(dockerfile))


def find_imports(file: Path) -> set[str]:
    """Return the top-level modules that a file imports."""
    nodes = list(ast.walk(ast.parse(file.read_text())))
    whole = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    parts = {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}
    return {name.partition(".")[0] for name in whole | parts}


def test_all_imported_packages_are_dependencies() -> None:
    # The image has no extras.
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    required = {re.split(r"[\[><=]", line)[0].lower().replace("_", "-") for line in project["dependencies"]}
    packages = packages_distributions()
    installed = {*sys.stdlib_module_names, "api", "listener", "opentelemetry"}  # the last one is optional
    files = [file for part in ("api/**/*.py", "listener/*.py", "sql/migrations/*.py") for file in ROOT.glob(part)]
    for file in files:
        for module in find_imports(file) - installed:
            owners = {name.lower().replace("_", "-") for name in packages[module]}
            assert owners & required, (file.name, module)
