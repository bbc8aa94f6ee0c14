"""Who a process is: a user of its own for each run when root starts it, and no capability for anybody."""

from __future__ import annotations

import os
from typing import Final

from mycelos.sandbox import kernel
from mycelos.sandbox.errors import Layer, SandboxRefused, explain

RUN_USERS: Final = range(0x7000_0000, 0x7001_0000)
"""Users and groups of runs that root starts: one each, in no user database, above what systemd and the
subordinate ranges of /etc/subuid hand out, below the signed limit."""

_HIGHEST_CAPABILITY: Final = 63
_CAP_SETPCAP: Final = 8


def become(user: int) -> None:
    """Be ``user``, with the group of the same number and no other, for good.

    Raises:
        SandboxRefused: the change failed or could be undone.
    """
    try:
        os.setgroups([])
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)
    except OSError as error:
        raise SandboxRefused(
            Layer.IDENTITY,
            f"cannot become user {user}: {explain(error)}",
            "Start Mycelos as an ordinary user, or as root with the users of this range mapped",
        ) from None
    if {*os.getresuid(), *os.getresgid(), *os.getgroups()} != {user}:
        cause = f"the process did not become user {user}"
        raise SandboxRefused(Layer.IDENTITY, cause, "Report this with: mycelos doctor")


def drop_bounding_set() -> None:
    """Take every capability out of the bounding set; without CAP_SETPCAP there is none to give."""
    for capability in range(_HIGHEST_CAPABILITY + 1):
        try:
            if kernel.process_control(kernel.PR_CAPBSET_READ, capability) == 1:
                kernel.process_control(kernel.PR_CAPBSET_DROP, capability)
        except OSError as error:
            if capability == 0 or not _is_past_the_last(capability):
                raise _cannot(error, "empty the bounding set") from None
            return


def drop_capabilities() -> None:
    """Leave the process without any capability.

    An ordinary user cannot empty the bounding set; no-new-privileges, set next, makes what is in it worthless.

    Raises:
        SandboxRefused: a step failed.
    """
    try:
        kernel.process_control(kernel.PR_CAP_AMBIENT, kernel.PR_CAP_AMBIENT_CLEAR_ALL)
        if kernel.effective_capabilities() >> _CAP_SETPCAP & 1:
            drop_bounding_set()
        kernel.clear_capabilities()
    except OSError as error:
        raise _cannot(error, "drop capabilities") from None
    if kernel.effective_capabilities():
        cause = "capabilities are left"
        raise SandboxRefused(Layer.CAPABILITIES, cause, "Report this with: mycelos doctor")


def _is_past_the_last(capability: int) -> bool:
    try:
        kernel.process_control(kernel.PR_CAPBSET_READ, capability)
    except OSError:
        return True
    return False


def _cannot(error: OSError, step: str) -> SandboxRefused:
    return SandboxRefused(Layer.CAPABILITIES, f"cannot {step}: {explain(error)}", "Report this with: mycelos doctor")
