"""Other processes of the API's user cannot read its memory and its environment."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from api.dev.process import ChildProcess, find_free_port
from tests.api.support import patch_api, unlimited_client
from tests.api_process import Api, running, scrape
from tests.tokens import SECRET

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has PR_SET_DUMPABLE")

IS_ROOT = os.geteuid() == 0
USER = 54_321 if IS_ROOT else os.geteuid()  # of the API. Root may read everything, so it cannot show the protection.
# Changes the user when everything has been imported, and keeps the protection, which a change of user would imply.
BECOME_USER = f"""
import ctypes, os
from api import startup_checks

def become_user():
    prctl = ctypes.CDLL(None).prctl
    is_dumpable = prctl(3, 0, 0, 0, 0)
    os.setgroups([])
    os.setresgid({USER}, {USER}, {USER})
    os.setresuid({USER}, {USER}, {USER})
    prctl(4, is_dumpable, 0, 0, 0)

startup_checks.check_sandbox = become_user
"""
UNPROTECTED = "from api.shared import process_memory; process_memory.protect_memory = lambda: None"


@pytest.fixture
def storage() -> Iterator[Path]:
    """A directory of the user."""
    path = Path(tempfile.mkdtemp(prefix="parley-test-"))
    os.chown(path, USER, -1)
    try:
        yield path
    finally:
        shutil.rmtree(path)


@pytest.fixture
def run_api(new_api: Callable[..., Api], shared_database: str, storage: Path) -> Callable[..., Any]:
    @contextmanager
    def run(*changes: str, **options: str) -> Iterator[Api]:
        user = [BECOME_USER] if IS_ROOT else []
        api = new_api(shared_database, STORAGE_URL=f"file://{storage}", **options)
        api.spawn = ChildProcess  # The fork server may switch the protection off.
        with running(patch_api(api, *user, *changes)) as api:
            yield api

    return run


def read(api: Api, file: str) -> subprocess.CompletedProcess[bytes]:
    """Read a file of /proc about the API, as another process of its user."""
    assert api.child
    user: dict[str, Any] = {"user": USER, "group": USER, "extra_groups": []} if IS_ROOT else {}
    command = ["head", "-c", "1", f"/proc/{api.child.pid}/{file}"]
    return subprocess.run(command, capture_output=True, check=False, **user)


@pytest.mark.parametrize("file", ["environ", "maps"])
def test_memory_of_the_api_is_protected(run_api: Callable[..., Any], file: str) -> None:
    with run_api(UNPROTECTED) as api:
        assert read(api, file).stdout
    with run_api() as api:
        assert b"Permission denied" in read(api, file).stderr
        assert read(api, file).stdout == b""
        assert SECRET.encode() not in read(api, "cmdline").stdout


def test_protected_api_reports_the_metrics_of_its_process(run_api: Callable[..., Any]) -> None:
    with run_api(METRICS_PORT=str(find_free_port())) as api, unlimited_client(api) as client:
        assert client.get("/api/chats").status_code == 200
        port = int(api.environment["METRICS_PORT"])
        for name in ("open_fds", "max_fds", "resident_memory_bytes", "cpu_seconds_total"):
            assert scrape(port, f"process_{name}") > 0
