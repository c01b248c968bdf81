"""`parley dev --web`: the example web app beside the stack, from a copy of the checkout.

Without Node.js and npm, programs that only print a version take their place.
"""

import re
import shutil
import socket
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from api.dev import web_app
from api.dev.data_directory import SECRET_FILE
from api.dev.node import REQUIRED
from api.dev.process import find_free_port
from api.dev.web_app import ENVIRONMENT_FILE, GENERATED_MARKER
from tests import ROOT
from tests.e2e.chromium import Chromium, Tab
from tests.e2e.dev import (
    LINUX_ONLY,
    Dev,
    assert_no_processes,
    fail_to_start,
    find_processes,
    parse_url,
    temporary_directory,
)
from tests.e2e.web_client import NOT_COPIED

RECENT = {"node": "echo v22.14.0", "npm": "echo 10.9.2"}  # scripts


@pytest.fixture(name="directory")
def _directory() -> Iterator[Path]:
    with temporary_directory() as directory:
        yield directory


def copy_checkout(directory: Path) -> Path:
    """Copy the files that a stack needs from the checkout, without packages of npm."""
    root = directory / "checkout"
    for folder in ("api", "listener", "sql"):
        shutil.copytree(ROOT / folder, root / folder, ignore=NOT_COPIED)
    shutil.copy(ROOT / "yoyo.ini", root)
    return root


def write_programs(directory: Path, **scripts: str) -> dict[str, str]:
    """Create programs; return the PATH that contains only these."""
    directory.joinpath("bin").mkdir()
    for name, script in scripts.items():
        program = directory / "bin" / name
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
    return {"PATH": str(directory / "bin")}


def test_required_version_is_that_of_the_package() -> None:
    package = (ROOT / "api/client/package.json").read_text()
    assert f'"node": ">={".".join(map(str, REQUIRED["node"][1]))}"' in package


@pytest.mark.parametrize(
    ("versions", "error"),
    [
        ({}, "--web needs Node.js 20.9 or newer, and there is no `node` in PATH"),
        ({"node": "v18.19.1"}, "--web needs Node.js 20.9 or newer, and {bin}/node is version 18.19.1"),
        ({"node": "v20.8.1"}, "--web needs Node.js 20.9 or newer, and {bin}/node is version 20.8.1"),
        ({"node": "oops"}, "--web needs Node.js 20.9 or newer, and {bin}/node does not print its version"),
        ({"node": "v20.9.0"}, "--web needs npm 9.0 or newer, and there is no `npm` in PATH"),
        ({"node": "v20.9.0", "npm": "8.19.4"}, "--web needs npm 9.0 or newer, and {bin}/npm is version 8.19.4"),
    ],
)
def test_missing_or_old_program_is_named(directory: Path, versions: dict[str, str], error: str) -> None:
    path = write_programs(directory, **{name: f"echo {version}" for name, version in versions.items()})
    ports = ("--port", str(find_free_port()), "--web", str(find_free_port()))
    line = fail_to_start(*ports, "--data", "data", directory=directory, **path)
    assert line == f"parley dev: {error.format(bin=directory / 'bin')}\n"
    assert not (directory / "data").exists()


def test_port_in_use_is_rejected(directory: Path) -> None:
    path = write_programs(directory, **RECENT)
    port = str(find_free_port())
    assert "different ports" in fail_to_start("--port", port, "--web", port, directory=directory, **path)
    with socket.create_server(("127.0.0.1", 0)) as server:
        used = server.getsockname()[1]
        error = fail_to_start("--port", port, "--web", str(used), directory=directory, **path)
    assert error == f"parley dev: port {used} of 127.0.0.1 is in use or not allowed; --web takes another one\n"
    assert find_processes(directory) == []


def test_failed_installation_starts_nothing(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    npm = f"test $1 = --version || {{ echo npm error network; exit 7; }}\n{RECENT['npm']}"
    monkeypatch.setenv("PATH", write_programs(directory, **RECENT | {"npm": npm})["PATH"])
    ports = ("--port", str(find_free_port()), "--web", str(find_free_port()))
    dev = Dev(directory, *ports, "--data", "data", root=copy_checkout(directory))
    assert dev.wait() == 1
    log = directory / "data/web/npm.log"
    assert dev.output.endswith(f"parley dev: `npm ci --include=dev` ended, exit code 7; see {log}\nnpm error network\n")
    assert not (directory / "data/postgres").exists()


@LINUX_ONLY
def test_installation_ends_with_a_killed_parley(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    npm = f"test $1 = --version || {{ trap '' TERM; exec /bin/sleep 60; }}\n{RECENT['npm']}"
    monkeypatch.setenv("PATH", write_programs(directory, **RECENT | {"npm": npm})["PATH"])
    ports = ("--port", str(find_free_port()), "--web", str(find_free_port()))
    dev = Dev(directory, *ports, "--data", "data", root=copy_checkout(directory))
    parley = psutil.Process(dev.process.pid)
    dev.wait_until(lambda: "sleep" in [child.name() for child in parley.children()])
    children = parley.children()
    dev.process.kill()
    dev.wait()
    assert not psutil.wait_procs(children, timeout=10)[1]


@pytest.fixture(scope="module", name="dev")
def _dev(web_client: Path) -> Iterator[Dev]:
    """One stack with a web app; `web_client` skips the tests where its packages cannot be had."""
    assert web_client
    with temporary_directory() as directory:
        ports = ("--port", str(find_free_port()), "--web", str(find_free_port()))
        dev = Dev(directory, *ports, "--data", "data", root=copy_checkout(directory)).wait_until_ready()
        yield dev
        assert dev.stop() == 0, dev.output


def parse_web_url(dev: Dev) -> str:
    return str(re.findall(r"example (http://localhost:\d+) ", dev.output)[0])


def test_web_app_is_served_and_may_call_the_api(dev: Dev) -> None:
    url, api = parse_web_url(dev), parse_url(dev)
    for origin in (url, url.replace("localhost", "127.0.0.1")):
        assert "Sign in to Parley" in httpx.get(origin, follow_redirects=True, timeout=60).raise_for_status().text
        preflight = {"Origin": origin, "Access-Control-Request-Method": "POST"}
        allowed = httpx.options(f"{api}/api/chats", headers=preflight).headers
        assert allowed["access-control-allow-origin"] == origin
    assert f'href="{url}"' in httpx.get(api).text


def test_alice_signs_in_and_sends_a_message(dev: Dev, browser: Chromium) -> None:
    tab = Tab(browser, "alice", parse_web_url(dev))
    tab.run("await page.getByRole('button', {name: 'Continue as Alice'}).click()")
    # Next.js compiles each page at its first request.
    tab.run("await page.getByRole('link', {name: 'Welcome to Parley'}).click({timeout: 60_000})")
    tab.run("await page.getByRole('textbox', {name: 'Message'}).fill('Hello from the browser', {timeout: 60_000})")
    tab.run("await page.getByRole('button', {name: 'Send'}).click()")
    tab.run("await page.locator('[data-status=sent]').filter({hasText: 'Hello from the browser'}).waitFor()")
    assert tab.errors == []


def test_next_js_changes_no_file_of_the_checkout(dev: Dev) -> None:
    """Next.js would add its output directory, which is another one for each stack, to tsconfig.json."""
    file = "api/client/example/tsconfig.json"
    assert (dev.directory / "checkout" / file).read_bytes() == (ROOT / file).read_bytes()


def test_web_app_listens_on_loopback_only(dev: Dev) -> None:
    port = httpx.URL(parse_web_url(dev)).port
    connections: list[Any] = [c for c in psutil.net_connections("tcp") if c.laddr and c.laddr.port == port]
    assert {c.laddr.ip for c in connections if c.status == psutil.CONN_LISTEN} == {"127.0.0.1"}


def test_environment_is_written_and_its_secret_appears_nowhere_else(dev: Dev) -> None:
    root, data = dev.directory / "checkout", dev.directory / "data"
    file = root / "api/client/example" / ENVIRONMENT_FILE
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert file.read_text().startswith(GENERATED_MARKER)
    variables = dict(line.split("=", 1) for line in file.read_text().removeprefix(GENERATED_MARKER).splitlines())
    secret = (data / SECRET_FILE).read_text()
    assert variables["PARLEY_URL"] == parse_url(dev).replace("127.0.0.1", "localhost")
    assert variables["AUTH_SECRET"] == secret
    assert variables["AUTH_URL"] == parse_web_url(dev)
    logs = [file.read_text() for file in (data / "web").iterdir()]
    assert len(logs) == 2
    assert not [text for text in (dev.output, *logs, *find_processes(dev.directory)) if secret in text]


def test_environment_is_for_development_only_and_never_replaces_that_of_the_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web_app, "EXAMPLE", tmp_path)
    web_app.write_environment({"DEMO_SIGN_IN": "1"})
    assert [file.name for file in tmp_path.iterdir()] == [".env.development.local"]  # `next start` does not read it.
    (tmp_path / ENVIRONMENT_FILE).unlink()
    (tmp_path / ".env.local").touch()
    web_app.write_environment({"DEMO_SIGN_IN": "1"})
    assert [file.name for file in tmp_path.iterdir()] == [".env.local"]


@LINUX_ONLY
def test_second_stack_shares_the_packages_and_leaves_no_processes(dev: Dev, directory: Path) -> None:
    root = dev.directory / "checkout"
    file = root / "api/client/example" / ENVIRONMENT_FILE
    written = file.read_text()
    file.write_text("OWN=1\n")
    ports = ("--port", str(find_free_port()), "--web", str(find_free_port()))
    for kill in (True, False):
        other = Dev(directory, *ports, "--data", "data", root=root).wait_until_ready()
        assert "Installing" not in other.output
        for stack in (dev, other):
            assert httpx.get(parse_web_url(stack), follow_redirects=True, timeout=60).is_success
        if kill:
            other.process.kill()
            other.wait()
        else:
            assert other.stop() == 0
        assert_no_processes(directory, seconds=60)  # Next.js's last process loads its whole configuration
    assert file.read_text() == "OWN=1\n"
    file.write_text(written)
