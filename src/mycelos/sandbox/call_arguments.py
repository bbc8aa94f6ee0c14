"""System calls that are allowed by their arguments, and the values that each may carry, as data.

Their names are in no set of `mycelos.sandbox.system_calls`. A filter sees what stands in registers and nothing behind
a pointer: a call that could carry a forbidden value there (openat2, setsockopt's value) is refused as a whole.
"""

from __future__ import annotations

import fcntl
import os
import socket
import stat
from collections.abc import Mapping
from typing import Final

CREATION_FLAGS: Final = os.O_CREAT | (os.O_TMPFILE & ~os.O_DIRECTORY)
"""Without one of them open(2) has no mode, and what is in the register means nothing."""
OPENING: Final[Mapping[str, tuple[int, int]]] = {"open": (1, 2), "openat": (2, 3)}
"""Where the flags and where the mode of a file stand that may be made."""
MAKING: Final[Mapping[str, int]] = {"creat": 1, "mkdir": 1, "mkdirat": 2}
CHANGING_MODE: Final[Mapping[str, int]] = {"chmod": 1, "fchmod": 1, "fchmodat": 2, "fchmodat2": 2}
"""Where the mode stands. The first every process may call, the second programs inside namespaces."""

NEITHER: Final = os.O_ACCMODE
"""The access mode that asks for neither reading nor writing. Landlock, which looks at what is asked for, lets it open
every file of the same user, and such a descriptor is good for ioctl(2) and every change of attributes."""

FORBIDDEN_MODE: Final = stat.S_ISUID | stat.S_ISGID
"""A file so marked runs as its owner for every user of the machine, outside of all walls."""
FORBIDDEN_MODE_WITH_OWN_GROUP: Final = stat.S_ISUID
"""A run that root started has a group which nobody else has and nothing belongs to. Its folder passes the spawner's
group on by the set-group-ID bit, which `cp -a` and `chmod` carry along; the kernel takes it from files of a group that
is not the caller's."""

FILE_COMMANDS: Final = (
    fcntl.F_DUPFD,
    fcntl.F_DUPFD_CLOEXEC,
    fcntl.F_GETFD,
    fcntl.F_SETFD,
    fcntl.F_GETFL,
    fcntl.F_GETLK,
    fcntl.F_SETLK,
    fcntl.F_SETLKW,
)
"""fcntl(2) for everybody: copies, flags, and the locks that SQLite takes. No lease, which needs no right to write and
makes every other process wait; no owner and no signal, which reach a process that has more rights."""
PROGRAM_FILE_COMMANDS: Final = (fcntl.F_OFD_GETLK, fcntl.F_OFD_SETLK, fcntl.F_OFD_SETLKW)
FORBIDDEN_STATUS_FLAGS: Final = os.O_ASYNC | os.O_DIRECT
"""Never set by F_SETFL: signals on input, and packets on a pipe that is shared. O_NONBLOCK is shared as well, but each
process sets it for itself when it starts."""

OWN_SCHEDULING: Final[Mapping[str, tuple[int, ...]]] = {
    "setpriority": (0, 1),
    "sched_setaffinity": (0,),
    "sched_setscheduler": (0,),
    "sched_setparam": (0,),
    "sched_setattr": (0,),
}
"""Which arguments must be 0 for a call to concern the caller alone; prlimit64(2) of oneself is everybody's."""

SERVICE_OPTIONS: Final = ((socket.IPPROTO_TCP, socket.TCP_NODELAY),)
"""setsockopt(2) of a service. A listener and its channels outlive it: a filter or a lock on them would meet the next
process. Runs and programs have no socket that needs an option."""
