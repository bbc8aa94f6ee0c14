"""Whether the processes that run were started with the code that lies on the disk now.

Files that were changed and put back look like new ones: what counts is when the kernel saw their last change (ctime,
inode(7)), which no program can set. Both times are the kernel's, from /proc and from the file system.
"""

from __future__ import annotations

import os
import stat
import time
from pathlib import Path
from typing import Final

import mycelos
from mycelos.supervisor.state import SupervisorState, start_ticks

RESTART: Final = "Start it anew: mycelos stop, then mycelos serve"
_PACKAGE: Final = Path(mycelos.__file__).parent
_COMPILED: Final = "__pycache__"
"""Written by the interpreter at any time, from the files beside it."""


def code_changed_at(package: Path = _PACKAGE) -> float:
    """When a file of the package was changed last, in seconds since 1970.

    Raises:
        OSError: the package cannot be read.
    """
    return max(
        status.st_ctime
        for path in package.rglob("*")
        for status in (path.lstat(),)
        # A folder changes when the interpreter makes its own one in it.
        if not stat.S_ISDIR(status.st_mode) and path.parent.name != _COMPILED
    )


def older_than_code(state: SupervisorState, package: Path = _PACKAGE) -> tuple[str, ...]:
    """The names of the processes that started before the code was changed last; what has ended is none of them.

    Raises:
        OSError: the package cannot be read.
    """
    changed = code_changed_at(package)
    pids = {"supervisor": state.pid} | {child.name: child.pid for child in state.children if child.pid is not None}
    return tuple(name for name, pid in pids.items() if (started := _started_at(pid)) is not None and started < changed)


def _started_at(pid: int) -> float | None:
    ticks = start_ticks(pid)
    if ticks is None:
        return None
    booted = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
    # The tick in which it started has ended by then: a file of the same tick is not called newer.
    return booted + (ticks + 1) / os.sysconf("SC_CLK_TCK")
