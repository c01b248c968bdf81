"""The number of images that may be re-encoded at once: by memory limits of control groups, and by processors."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from api.images import reencode_capacity
from api.images.reencode_capacity import count_slots, get_available_memory, is_memory_scarce, read_group_limits
from tests import ROOT
from tests.api.support import patch_api
from tests.api_process import Api, running

MIB = 1024 * 1024
OWN_GROUPS = (Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup/memory"))  # of version 2, of version 1


@pytest.mark.parametrize(
    ("mebibytes", "workers", "processors", "slots"),
    [
        (2048, 1, 8, 3),
        (2048, 2, 8, 3),
        (2048, 4, 8, 2),
        (2048, 5, 8, 1),
        (2048, 4, 1, 2),
        (4096, 1, 1, 2),
        (65_536, 4, 8, 8),
        (65_536, 4, 128, 32),
        (767, 1, 8, 1),
        (64, 8, 8, 1),
    ],
)
def test_slots_fit_into_the_memory_beside_the_workers(
    monkeypatch: pytest.MonkeyPatch, mebibytes: int, workers: int, processors: int, slots: int
) -> None:
    monkeypatch.setattr(reencode_capacity, "get_available_memory", lambda: mebibytes * MIB)
    monkeypatch.setattr(reencode_capacity, "count_processors", lambda: processors)
    assert count_slots(workers) == slots
    assert is_memory_scarce(workers) == (workers * 256 + 512 > mebibytes)


def write_process(directory: Path, cgroup: str, mountinfo: str) -> Path:
    """Write the files of a process in /proc, with mounts below the directory."""
    process = directory / "process"
    process.mkdir()
    (process / "cgroup").write_text(cgroup)
    (process / "mountinfo").write_text(mountinfo.replace("MOUNT", str(directory)))
    return process


def write_limits(directory: Path, name: str, **limits: str) -> None:
    """Write limits of groups; the key is the path with `_` for each slash."""
    for path, limit in limits.items():
        group = directory / path.strip("_").replace("_", "/")
        group.mkdir(parents=True, exist_ok=True)
        (group / name).write_text(f"{limit}\n")


V1 = "30 24 0:26 {root} MOUNT rw,relatime shared:9 - cgroup cgroup rw,memory\n"
V2 = "30 24 0:26 {root} MOUNT rw,relatime shared:9 - cgroup2 cgroup2 rw,nsdelegate\n"


@pytest.mark.parametrize(
    ("cgroup", "mountinfo", "file", "limits", "expected"),
    [
        ("0::/a/b/c\n", V2.format(root="/"), "memory.max", {"a_b_c": "max", "a_b": "7", "a": "9"}, [7, 9]),
        ("0::/a/b\n", V2.format(root="/a"), "memory.max", {"b": "5", "_": "6"}, [5, 6]),
        ("0::/\n", V2.format(root="/"), "memory.max", {"_": "2147483648"}, [2_147_483_648]),
        ("0::/../other\n", V2.format(root="/x"), "memory.max", {"_": "4"}, [4]),
        ("4:memory:/a/b\n0::/\n", V1.format(root="/"), "memory.limit_in_bytes", {"a_b": "8", "a": "3"}, [8, 3]),
        ("4:cpu,memory:/d/e\n", V1.format(root="/d/e"), "memory.limit_in_bytes", {"_": "8"}, [8]),
        ("4:memory:/d/e\n", V1.format(root="/d/e"), "memory.limit_in_bytes", {"_": "8"}, [8]),
        (
            "4:memory:/d/e\n",
            V1.format(root="/d/e").replace("rw,memory", "rw,cpu"),
            "memory.limit_in_bytes",
            {"_": "8"},
            [],
        ),
        ("0::/a\n", "", "memory.max", {"a": "5"}, []),
    ],
)
def test_limits_of_all_ancestors_are_read(
    tmp_path: Path, cgroup: str, mountinfo: str, file: str, limits: dict[str, str], expected: list[int]
) -> None:
    process = write_process(tmp_path, cgroup, mountinfo)
    write_limits(tmp_path, file, **limits)
    assert list(read_group_limits(process)) == expected


def test_other_systems_have_no_groups(tmp_path: Path) -> None:
    assert list(read_group_limits(tmp_path)) == []


@pytest.fixture
def group() -> Iterator[Path]:
    """A control group of this test with a limit of 1 GiB, within this process's own."""
    limits = {"memory.max": 2**30, "memory.limit_in_bytes": 2**30}
    for base in OWN_GROUPS:
        path = base / f"parley-test-{os.getpid()}"
        try:
            path.mkdir()
        except OSError:
            continue
        try:
            for name, value in limits.items():
                if (path / name).exists():
                    (path / name).write_text(str(value))
                    yield path
                    return
        finally:
            path.rmdir()
    pytest.skip("no control group with a memory limit can be created here")


def test_memory_limit_of_a_real_group_holds(group: Path) -> None:
    (group / "inner").mkdir()
    try:
        program = "from api.images import reencode_capacity as c; print(c.get_available_memory(), c.count_slots(1))"
        join = f"echo $$ > {group}/inner/cgroup.procs && exec {sys.executable} -c '{program}'"
        done = subprocess.run(["sh", "-c", join], cwd=ROOT, capture_output=True, text=True, check=False)
    finally:
        (group / "inner").rmdir()
    assert done.stdout.split() == [str(2**30), "1"], done.stderr
    assert get_available_memory() > 2**30


def test_scarce_memory_is_logged(new_api: Callable[..., Api], shared_database: str) -> None:
    patch = "reencode_capacity.get_available_memory = lambda: 700 * 2**20"
    with running(patch_api(new_api(shared_database), patch)) as api:
        assert "The memory is too small for WORKERS=1" in api.log.read_text()
