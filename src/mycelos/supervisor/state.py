"""`run/supervisor.json`: what the running supervisor says of itself; and the lock that admits only one.

The lock (flock(2)) ends with the process, however it ends. Readers do not touch it: they compare the process's
start time and the kernel's boot, so that a file left behind by a crash, or a process id used again, is recognised.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import Final, Literal

import msgspec

from mycelos.configuration.layout import DataLayout
from mycelos.configuration.plain_file import read_plain_file, replace_plain_file

_START_TIME_FIELD: Final = 19
"""Index of `starttime` in /proc/PID/stat after the command's closing bracket (proc_pid_stat(5), field 22)."""

_SIZE_LIMIT: Final = 64 * 1024

_ENDED: Final = frozenset({"Z", "X"})
"""States of a process that its parent has not yet asked about."""


class AlreadyRunningError(Exception):
    """Another supervisor holds this data folder."""


class ChildState(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One process: ``pid`` is null while it is down; ``restarts`` counts since the supervisor's start."""

    name: str
    pid: int | None
    ready: bool
    restarts: int


class SupervisorState(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The supervisor and its children. ``start_ticks`` and ``boot_id`` tell this process from a later one."""

    v: Literal[1]
    pid: int
    start_ticks: int
    boot_id: str
    started_at: str
    bind: str
    port: int
    operator_port: int
    page_url: str
    operator_url: str
    children: tuple[ChildState, ...]


def start_ticks(pid: int) -> int | None:
    """When the process started, in clock ticks since boot; None when there is no such process, or it has ended."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The command's name may hold spaces and brackets: fields are counted from its last bracket.
    fields = text.rpartition(")")[2].split()
    return None if fields[0] in _ENDED else int(fields[_START_TIME_FIELD])


def boot_id() -> str:
    """The kernel's identifier of this boot."""
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def write_state(layout: DataLayout, state: SupervisorState) -> None:
    """Replace the file in one step; a reader sees the old text or the new one."""
    replace_plain_file(layout.supervisor_state, msgspec.json.format(msgspec.json.encode(state)) + b"\n")


def read_state(layout: DataLayout) -> SupervisorState | None:
    """The state of the supervisor that runs now; None where none does.

    Raises:
        msgspec.DecodeError: the file is not one of ours.
        OSError: it is not a regular file, or this user may not read it.
    """
    try:
        data = read_plain_file(layout.supervisor_state, _SIZE_LIMIT)
    except FileNotFoundError:
        return None
    state = msgspec.json.decode(data, type=SupervisorState)
    if state.boot_id != boot_id() or start_ticks(state.pid) != state.start_ticks:
        return None
    return state


def remove_state(layout: DataLayout) -> None:
    """Forget the state: the supervisor has ended in order."""
    layout.supervisor_state.unlink(missing_ok=True)


def hold_lock(layout: DataLayout) -> int:
    """Take the data folder for this process; returns the descriptor that holds it until it is closed.

    Raises:
        AlreadyRunningError: another process has it.
    """
    descriptor = os.open(layout.run / "supervisor.lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise AlreadyRunningError from None
    return descriptor
