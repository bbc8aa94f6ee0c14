"""Ending a process with all its descendants, also those that were forked twice to get away.

A caller that is their reaper (`PR_SET_CHILD_SUBREAPER`) becomes the parent of whatever loses its own. Each round stops
what it found, so that nothing forks meanwhile, kills it, and looks again until a round finds nothing.
"""

from __future__ import annotations

import os
import select
import signal
import time
from typing import TYPE_CHECKING, Final

from mycelos.sandbox import kernel

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

_ROUND_SECONDS: Final = 0.2
_LIMIT_SECONDS: Final = 10.0


class SurvivorError(RuntimeError):
    """A process could not be ended in time (it hangs in the kernel)."""


def become_reaper() -> None:
    """Make the calling process the parent of every descendant that loses its own."""
    kernel.process_control(kernel.PR_SET_CHILD_SUBREAPER, 1)


def end_tree(root: int | None, spared: Collection[int] | None = None) -> int | None:
    """Kill ``root``, an unreaped child of ours, with its descendants, and reap those that are ours to reap.

    With ``spared``, every other child of ours that is not in it is ended too: for a reaper, that is what has lost
    its parent. Returns the wait status of ``root``.

    Raises:
        SurvivorError: some are left after ten seconds.
    """
    deadline = time.monotonic() + _LIMIT_SECONDS
    status: int | None = None
    while victims := _victims(root, spared):
        if time.monotonic() > deadline:
            message = f"processes {sorted(victims)} do not end"
            raise SurvivorError(message)
        held = _hold(victims)
        # A number can be given to another process between the look and the hold: look once more.
        again = _victims(root, spared)
        confirmed = [descriptor for pid, descriptor in held.items() if pid in again]
        for number in (signal.SIGSTOP, signal.SIGKILL):
            for descriptor in confirmed:
                _send(descriptor, number)
        _await_ends(confirmed)
        for descriptor in held.values():
            os.close(descriptor)
        ended = _reap(victims)
        if root in ended:
            status, root = ended[root], None
    return status


def parents() -> dict[int, int]:
    """The parent of each process that can be seen; ours alone matter, so what cannot be read is left out."""
    found: dict[int, int] = {}
    for name in os.listdir("/proc"):  # noqa: PTH208 - names only
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", "rb") as stream:  # noqa: PTH123 - hot loop
                    # The command may hold spaces and parentheses: the fields begin after the last one.
                    found[int(name)] = int(stream.read().rpartition(b")")[2].split()[1])
            except (FileNotFoundError, ProcessLookupError):
                continue
    return found


def _victims(root: int | None, spared: Collection[int] | None) -> set[int]:
    parent_of = parents()
    children: dict[int, list[int]] = {}
    for pid, parent in parent_of.items():
        children.setdefault(parent, []).append(pid)
    waiting = [root] if root is not None and root in parent_of else []
    if spared is not None:
        waiting += [pid for pid in children.get(os.getpid(), []) if pid not in spared]
    victims: set[int] = set()
    while waiting:
        pid = waiting.pop()
        if pid not in victims:
            victims.add(pid)
            waiting += children.get(pid, [])
    return victims


def _hold(pids: Iterable[int]) -> dict[int, int]:
    held: dict[int, int] = {}
    for pid in pids:
        try:
            held[pid] = os.pidfd_open(pid)
        except ProcessLookupError:
            continue
    return held


def _send(descriptor: int, number: signal.Signals) -> None:
    try:
        signal.pidfd_send_signal(descriptor, number)
    except ProcessLookupError:
        return


def _await_ends(descriptors: Iterable[int]) -> None:
    poller = select.poll()
    waiting = set(descriptors)
    for descriptor in waiting:
        poller.register(descriptor, select.POLLIN)
    deadline = time.monotonic() + _ROUND_SECONDS
    while waiting and (left := deadline - time.monotonic()) > 0:
        for descriptor, _ in poller.poll(left * 1000):
            waiting.discard(descriptor)
            poller.unregister(descriptor)


def _reap(pids: Iterable[int]) -> dict[int, int]:
    ended = {}
    for pid in pids:
        try:
            reaped, status = os.waitpid(pid, os.WNOHANG)
        except ChildProcessError:
            continue
        if reaped == pid:
            ended[pid] = status
    return ended
