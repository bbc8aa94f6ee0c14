"""Ending a process with all its descendants, also those that were forked twice to get away.

The caller is their reaper (`PR_SET_CHILD_SUBREAPER`): whatever loses its parent becomes the caller's child. Each round
stops what it found, so that nothing forks meanwhile, kills it, and looks again until a round finds nothing.
"""

from __future__ import annotations

import os
import select
import signal
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

_ROUND_SECONDS: Final = 0.2
_LIMIT_SECONDS: Final = 10.0


class SurvivorError(RuntimeError):
    """A process could not be ended in time (it hangs in the kernel)."""


def end_tree(root: int | None, others: Collection[int] = ()) -> None:
    """Kill ``root`` with its descendants, and every orphan that has become our child and is not in ``others``.

    Returns when none of them is left, reaped included.

    Raises:
        SurvivorError: some are left after ten seconds.
    """
    deadline = time.monotonic() + _LIMIT_SECONDS
    while victims := _victims(root, others):
        if time.monotonic() > deadline:
            message = f"processes {sorted(victims)} do not end"
            raise SurvivorError(message)
        held = _hold(victims)
        # A number can be given to another process between the look and the hold: look once more.
        confirmed = {pid: descriptor for pid, descriptor in held.items() if pid in _victims(root, others)}
        for number in (signal.SIGSTOP, signal.SIGKILL):
            for descriptor in confirmed.values():
                _send(descriptor, number)
        _await_ends(confirmed.values())
        for descriptor in held.values():
            os.close(descriptor)
        _reap(victims)


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


def _victims(root: int | None, others: Collection[int]) -> set[int]:
    parent_of = parents()
    children: dict[int, list[int]] = {}
    for pid, parent in parent_of.items():
        children.setdefault(parent, []).append(pid)
    spared = set(others)
    waiting = [pid for pid in children.get(os.getpid(), []) if pid not in spared]
    if root is not None and root in parent_of:
        waiting.append(root)
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


def _reap(pids: Iterable[int]) -> None:
    for pid in pids:
        try:
            os.waitpid(pid, os.WNOHANG)
        except ChildProcessError:
            continue
