"""The number of images that may be re-encoded at once, by the memory and processors of the machine or container."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

from api.images.reencode.limits import MEMORY_BYTES as DECODER_BYTES

WORKER_BYTES = 256 * 1024 * 1024  # An idle worker takes 80 MiB; the rest is for requests and its share of the parent.
MIN_SLOTS = 2  # if memory allows, so that a costly image does not occupy all of them
MAX_SLOTS = 32
LIMIT_FILES = {"cgroup2": "memory.max", "cgroup": "memory.limit_in_bytes"}  # by type of the file system


def count_slots(workers: int) -> int:
    """Return how many images all workers together may re-encode at once: at least one."""
    by_memory = (get_available_memory() - workers * WORKER_BYTES) // DECODER_BYTES
    return max(1, min(by_memory, max(MIN_SLOTS, count_processors()), MAX_SLOTS))


def is_memory_scarce(workers: int) -> bool:
    """Return whether the memory is too small for the workers and one decoder, so that the kernel may kill a decoder."""
    return get_available_memory() < workers * WORKER_BYTES + DECODER_BYTES


def count_processors() -> int:
    """Return the number of processors that this process may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def get_available_memory() -> int:
    """Return the bytes of memory of the machine, or of the smallest limit of this process's control groups."""
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min([physical, *read_group_limits(Path("/proc/self"))])


def read_group_limits(process: Path) -> Iterator[int]:
    """Yield the memory limits of a process's control groups and their ancestors, of both versions of cgroups."""
    try:
        mounts, groups = (process / "mountinfo").read_text(), (process / "cgroup").read_text()
    except OSError:  # not Linux
        return
    lines = (line.split(":", 2) for line in groups.splitlines())
    paths = {controller: path for _, controllers, path in lines for controller in controllers.split(",")}
    for line in mounts.splitlines():
        fields, _, details = line.partition(" - ")
        kind, _, options = details.split(" ")[:3]
        controller = {"cgroup2": "", "cgroup": "memory"}.get(kind)
        if controller not in paths or controller not in ("", *options.split(",")):
            continue
        root, mount = fields.split(" ")[3:5]
        # In a container, the mount may show the container's own group only, which the path does not begin with.
        path = paths[controller].removeprefix(root).strip("/") if paths[controller].startswith(root) else ""
        group = Path(mount) / path
        for directory in (group, *group.parents):
            if directory.is_relative_to(mount):
                yield from read_limit(directory / LIMIT_FILES[kind])


def read_limit(file: Path) -> Iterator[int]:
    """Yield the limit in a file, unless there is none."""
    try:
        content = file.read_text().strip()
    except OSError:  # The root of the hierarchy has no limit.
        return
    if content.isdecimal():  # otherwise "max"
        yield int(content)
