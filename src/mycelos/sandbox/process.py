"""Starting one confined process, and ending it with everything that it started."""

from __future__ import annotations

import fcntl
import os
import select
import signal
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import msgspec

from mycelos.sandbox import process_tree
from mycelos.sandbox.bubblewrap import bubblewrap_arguments, find_bubblewrap
from mycelos.sandbox.errors import Layer, SandboxRefused
from mycelos.sandbox.plan import (
    CHANNEL_DESCRIPTOR,
    PLAN_DESCRIPTOR,
    STATUS_DESCRIPTOR,
    WORKSPACE_DESCRIPTOR,
    Mechanism,
    SandboxPlan,
)
from mycelos.sandbox.status import LONGEST_LINE, check_status

if TYPE_CHECKING:
    from collections.abc import Collection

ARMING_SECONDS: Final = 20.0
_DIAGNOSTICS_LIMIT: Final = 4096
_ABOVE_FIXED: Final = 64
"""Source descriptors are lifted above the fixed places, so that no copy overwrites another's source."""
_SHELL_SIGNAL_BASE: Final = 128
_KILLED: Final = _SHELL_SIGNAL_BASE + signal.SIGKILL


@dataclass
class ConfinedProcess:
    """A started process. ``status`` becomes readable when it is armed or has refused.

    ``diagnostics`` is where its standard output and error go, or None where they are the caller's own.
    """

    pid: int
    plan: SandboxPlan
    status: int
    diagnostics: int | None
    text: bytearray = field(default_factory=bytearray)
    result: tuple[int, int] | None = None

    def read_diagnostics(self) -> bool:
        """Take in what was written; keep the last part only. False at the end."""
        if self.diagnostics is None:
            return False
        try:
            data = os.read(self.diagnostics, _DIAGNOSTICS_LIMIT)
        except BlockingIOError:
            return True
        self.text += data
        del self.text[:-_DIAGNOSTICS_LIMIT]
        return bool(data)

    def diagnosis(self) -> str:
        """The last lines of its output, with everything but printable ASCII escaped: the text is not ours."""
        return ascii(self.text.decode("utf-8", "replace").strip())[1:-1]

    def died(self) -> SandboxRefused:
        """The refusal for a launcher that ended without a word."""
        self.read_diagnostics()
        namespaced = self.plan.mechanism is Mechanism.BUBBLEWRAP
        return SandboxRefused(
            Layer.BUBBLEWRAP if namespaced else Layer.INSTALLATION,
            self.diagnosis() or "the process ended before it was armed",
            "Let bwrap make user namespaces (Ubuntu: install the AppArmor profile bwrap-userns-restrict)"
            if namespaced
            else "Install Mycelos and Python where the run's user can read them, such as /opt/mycelos",
        )

    def wait_armed(self, seconds: float = ARMING_SECONDS) -> None:
        """Wait until the process says that it is armed.

        Raises:
            SandboxRefused: it refused, ended or took too long; it has been ended then.
        """
        try:
            ready, _, _ = select.select([self.status], [], [], seconds)
            line = os.read(self.status, LONGEST_LINE) if ready else b""
            if not line:
                self.end()
            check_status(line, self.died())
        except SandboxRefused:
            self.end()
            raise

    def wait(self, seconds: float | None) -> tuple[int, int] | None:
        """How its first process ended, as `ending` says it; None when it has not after ``seconds``."""
        if self.result is None:
            pidfd = os.pidfd_open(self.pid)
            try:
                ready, _, _ = select.select([pidfd], [], [], seconds)
            finally:
                os.close(pidfd)
            if not ready:
                return None
            self.result = ending(os.waitpid(self.pid, 0)[1])
        return self.result

    def end(self, spared: Collection[int] | None = None) -> tuple[int, int]:
        """Kill it with everything that it started, wait for their end, and say how its first process ended.

        ``spared`` is for a reaper: see `process_tree.end_tree`.
        """
        if self.result is None:
            status = process_tree.end_tree(self.pid, spared)
            self.result = ending(status) if status is not None else (_KILLED, signal.SIGKILL)
        elif spared is not None:
            process_tree.end_tree(None, spared)
        return self.result

    def close(self) -> None:
        """Close our descriptors."""
        os.close(self.status)
        if self.diagnostics is not None:
            os.close(self.diagnostics)


def ending(status: int) -> tuple[int, int]:
    """A wait status as exit code and signal; bubblewrap reports a signal as a shell does."""
    code = os.waitstatus_to_exitcode(status)
    if code < 0:
        return _SHELL_SIGNAL_BASE - code, -code
    if _SHELL_SIGNAL_BASE < code < _SHELL_SIGNAL_BASE + signal.NSIG:
        return code, code - _SHELL_SIGNAL_BASE
    return code, 0


def start(plan: SandboxPlan, *, channel: int | None, workspace: int, inherit_output: bool = False) -> ConfinedProcess:
    """Start ``plan``; ``channel`` becomes descriptor 3 of the process, ``workspace`` is the open folder.

    Call it from a thread that lives as long as the run: `PR_SET_PDEATHSIG` is tied to it.

    Raises:
        SandboxRefused: the program that starts it is missing.
        OSError: the process could not be created.
    """
    command = [plan.executable, "-I", "-B", "-m", "mycelos.sandbox.launch"]
    if plan.mechanism is Mechanism.BUBBLEWRAP:
        command = bubblewrap_arguments(plan, find_bubblewrap(), command)
    status_read, status_write = os.pipe2(os.O_CLOEXEC)
    output_read, output_write = (None, None) if inherit_output else os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    order = os.memfd_create("mycelos-plan", os.MFD_CLOEXEC)
    places = {PLAN_DESCRIPTOR: order, STATUS_DESCRIPTOR: status_write, WORKSPACE_DESCRIPTOR: workspace}
    if channel is not None:
        places[CHANNEL_DESCRIPTOR] = channel
    lifted: dict[int, int] = {}
    try:
        os.write(order, msgspec.json.encode(plan))
        os.lseek(order, 0, os.SEEK_SET)
        if output_write is not None:
            places |= {1: output_write, 2: output_write}
        actions: list[tuple[int, ...] | tuple[int, int, str, int, int]] = []
        if not inherit_output:
            actions.append((os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0))
        for place, source in places.items():
            lifted[place] = fcntl.fcntl(source, fcntl.F_DUPFD_CLOEXEC, _ABOVE_FIXED)
            actions.append((os.POSIX_SPAWN_DUP2, lifted[place], place))
        pid = os.posix_spawn(command[0], command, plan.environment, file_actions=actions, setsid=True)
    except BaseException:
        os.close(status_read)
        if output_read is not None:
            os.close(output_read)
        raise
    finally:
        for descriptor in (*lifted.values(), status_write, order, *([] if output_write is None else [output_write])):
            os.close(descriptor)
    return ConfinedProcess(pid, plan, status_read, output_read)
