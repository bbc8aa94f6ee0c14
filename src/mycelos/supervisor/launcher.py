"""The few steps between fork and a zone's own program. Run by path with `-I -S`: the standard library only.

    launcher.py PARENT EXECUTABLE [ARGUMENT...]

The zone dies with its supervisor (prctl(2), PR_SET_PDEATHSIG, kept across execve), leaves no core dump and
creates files for its owner only. A launcher of its own, because code between fork and exec in the supervisor
(`preexec_fn`) is unsafe, and because the signal belongs to the thread that forked: the supervisor's only one.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys
from typing import Final

_PR_SET_PDEATHSIG: Final = 1


def launch(arguments: list[str]) -> None:
    """Bind this process to its parent and become the program that ``arguments`` names.

    Raises:
        OSError: the kernel refused; nothing was started.
    """
    parent, command = int(arguments[0]), arguments[1:]
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    if os.getppid() != parent:
        # The supervisor died before the signal was armed: nobody would end this process.
        sys.exit(1)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.umask(0o077)
    os.execv(command[0], command)  # noqa: S606 -- no shell is the point: an argument vector of the supervisor's own


if __name__ == "__main__":
    launch(sys.argv[1:])
