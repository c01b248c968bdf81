"""Protection of a process's memory and environment, which contain secrets, from other processes of the same user."""

import ctypes
import sys

_PR_SET_DUMPABLE = 4


def protect_memory() -> None:
    """Let only root read the memory and the environment of this process and its forks, attach a debugger, or dump core.

    Without this, any program of the same user could read /proc/PID/environ and /proc/PID/mem. Only Linux has the call.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
