"""Code that takes over a decoder can reach neither the API's secrets nor the network, files or other processes."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from api.dev.process import ChildProcess
from api.images.reencode import sandbox
from tests import ROOT
from tests.api.images.support import IMAGE, upload, upload_rejected
from tests.api.support import patch_api, unlimited_client
from tests.api_process import Api, running

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the sandbox is Linux's")

# Runs in place of the decoder, with its limits and in its sandbox; "done" and "denied" are validation errors.
PROGRAM = """
import ctypes, mmap, os, socket, sys
sys.path.insert(0, {root!r})
from api.images.reencode import __main__ as program

parent, libc = int(sys.argv[1]), ctypes.CDLL(None, use_errno=True)

def check(result, *expected_errors):
    if result < 0 and ctypes.get_errno() not in expected_errors:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))

def attempt(upload, **_):
    try:
        {attempt}
    except OSError as error:
        raise program.RejectedError(f"denied: {{error.strerror}}") from None
    raise program.RejectedError("done")

program.reencode = attempt
{enter_sandbox}
sys.exit(program.main())
"""
ATTEMPTS = {
    "read the environment of the API": "assert b'NEXTAUTH_SECRET=' in open(f'/proc/{parent}/environ', 'rb').read()",
    "read the memory of the API": "open(f'/proc/{parent}/mem', 'rb').read(0)",
    "read the memory by a system call": (
        "check(libc.process_vm_readv(parent, (ctypes.c_void_p * 2)(mmap.PAGESIZE, 1), 1, "
        "(ctypes.c_void_p * 2)(mmap.PAGESIZE, 1), 1, 0), 14)  # EFAULT: permitted, but nothing is at this address"
    ),
    "trace the API": "check(libc.ptrace(0x4206, parent, None, None))  # PTRACE_SEIZE, which does not stop it",
    "signal the API": "os.kill(parent, 0)",
    "connect to a port": "socket.socket().connect(('127.0.0.1', {port}))",
    "create a socket": "socket.socketpair()",
    "send by UDP": "socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', {port}))",
    "write a file": "open({written!r}, 'w').write('x')",
    "delete a file": "os.unlink({existing!r})",
    "read a file": "open({existing!r}).read()",
    "list a directory": "os.listdir('/')",
    "inspect a file": "os.stat({existing!r})",
    "change the upload": "os.pwrite(0, b'x', 0)",
    "map the upload": "mmap.mmap(0, 1, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)",
    "fork": "os.fork() or os._exit(0)",
    "run a program": "os.execv(sys.executable, [sys.executable, '-c', 'print(\"done\"); raise SystemExit(3)'])",
    "make memory executable": "mmap.mmap(-1, 1, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_EXEC)",
    "change its priority": "os.setpriority(os.PRIO_PROCESS, 0, 19)",
}


@pytest.fixture(scope="module")
def program(directory: Path) -> Path:
    return directory / "decoder.py"


@pytest.fixture(scope="module")
def attacked_api(new_api: Callable[..., Api], shared_database: str, program: Path) -> Iterator[Api]:
    """An API that runs `program` in place of its decoder, and whose memory only the sandbox protects."""
    changes = (
        "from api.images import reencode_process",
        f"reencode_process.PROGRAM = {str(program)!r}",
        "from api.shared import process_memory",
        "process_memory.protect_memory = lambda: None",
    )
    api = patch_api(new_api(shared_database), *changes)
    api.spawn = ChildProcess  # /proc/PID/environ of a fork has the environment of the fork server
    with running(api):
        yield api


@pytest.fixture(scope="module")
def client(attacked_api: Api) -> Iterator[httpx.Client]:
    with unlimited_client(attacked_api) as client:
        yield client


@pytest.mark.parametrize("attempt", ATTEMPTS)
def test_decoder_is_denied(attempt: str, attacked_api: Api, client: httpx.Client, program: Path) -> None:
    written, existing = program.with_name("written"), program.with_name("existing")

    def run(enter_sandbox: str) -> str:
        existing.write_text("x")
        names = {"port": str(attacked_api.port), "written": repr(str(written)), "existing": repr(str(existing))}
        code = ATTEMPTS[attempt]
        for name, value in names.items():
            code = code.replace(f"{{{name}!r}}", value).replace(f"{{{name}}}", value)
        program.write_text(PROGRAM.format(root=str(ROOT), attempt=code, enter_sandbox=enter_sandbox))
        return upload_rejected(client, IMAGE)

    assert run("") == "denied: Operation not permitted"
    assert not written.exists()
    assert existing.exists()
    assert run("program.enter_sandbox = lambda: None") == "done"
    written.unlink(missing_ok=True)


def test_decoder_has_no_other_open_files(client: httpx.Client, program: Path) -> None:
    # The last descriptor is that of the listed directory.
    code = "raise program.RejectedError(str(sorted(os.listdir('/proc/self/fd'))[:-1]))"
    no_sandbox = "program.enter_sandbox = lambda: None"
    program.write_text(PROGRAM.format(root=str(ROOT), attempt=code, enter_sandbox=no_sandbox))
    assert upload_rejected(client, IMAGE) == "['0', '1', '2']"


def test_missing_sandbox_is_logged(new_api: Callable[..., Api], shared_database: str) -> None:
    assert sandbox.is_available()
    patch = "from api.images.reencode import sandbox; sandbox.is_available = lambda: False"
    with running(patch_api(new_api(shared_database), patch)) as api, unlimited_client(api) as client:
        assert upload(client, IMAGE).status_code == 200
    assert "Images are decoded without a sandbox" in api.log.read_text()
