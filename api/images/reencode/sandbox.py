"""The sandbox of the process: once its code is loaded, it can only read the upload, compute, and write the output.

A seccomp filter denies all other system calls: no file can be opened, no socket or process be created, no other process
be inspected or signalled, and no memory become executable. The filter cannot be removed, and needs no privileges.
"""

import ctypes
import mmap
import os
import signal
import sys
from errno import EPERM

PR_SET_PDEATHSIG = 1
STANDARD_OUTPUT = 1  # a file descriptor
# In glibc and musl, on x86-64 and ARM64. Python's memory allocation, exceptions and exit need no others.
ALLOWED_CALLS = (
    *("read", "lseek", "fstat", "close"),  # of open files: the API leaves none open but the standard streams
    *("brk", "munmap", "mremap", "madvise"),
    *("rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "sigaltstack", "restart_syscall"),
    *("futex", "sched_yield", "clock_gettime", "getrandom", "getpid", "gettid"),
    *("exit", "exit_group"),
)


def is_available() -> bool:
    """Return whether this machine can run the process in its sandbox."""
    if sys.platform != "linux":
        return False
    import seccompy  # noqa: PLC0415 (only installed on Linux)

    try:
        seccompy.arch()
        return seccompy.supported()
    except (seccompy.SeccompError, OSError):
        return False


def end_with_parent(parent: int) -> None:
    """Have the kernel kill this process when its parent ends: nobody would receive the output."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # The parent ended before the call.
        sys.exit(1)


def enter_sandbox() -> None:
    """Deny all further system calls but the necessary ones, if the sandbox is available."""
    if not is_available():
        return
    from seccompy import Action, ArgCmp, CmpOp, Filter  # noqa: PLC0415 (only installed on Linux)

    never_executable = ArgCmp(2, CmpOp.MASKED_EQ, 0, mask=mmap.PROT_EXEC)
    without_file = ArgCmp(3, CmpOp.MASKED_EQ, mmap.MAP_ANONYMOUS, mask=mmap.MAP_ANONYMOUS)
    calls = Filter(default=Action.ERRNO | EPERM)
    for name in ALLOWED_CALLS:
        calls.allow(name)
    calls.allow("write", args={0: STANDARD_OUTPUT})
    calls.allow("mmap", args=[never_executable, without_file])
    calls.allow("mprotect", args=[never_executable])
    calls.load()
