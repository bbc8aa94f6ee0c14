"""Starts one plan and waits for its end, for tests that change the plan."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

from mycelos.sandbox import landlock, process
from mycelos.sandbox.installation import find_installation
from mycelos.sandbox.mechanism import RunUsers, Sandbox
from mycelos.sandbox.plan import Execute, Mechanism, RunModule, SandboxPlan
from mycelos.sandbox.profiles import AGENT, AGENT_COMMAND, SandboxProfile
from mycelos.sandbox.workspace import open_workspace


def sandbox(mechanism: Mechanism = Mechanism.BUBBLEWRAP) -> Sandbox:
    return Sandbox(mechanism, landlock.require_abi(landlock.ABI_WITH_TRUNCATE), find_installation(), "")


def start(
    folder: Path,
    program: RunModule | Execute,
    *,
    profile: SandboxProfile | None = None,
    change: Callable[[SandboxPlan], SandboxPlan] = lambda plan: plan,
    channel: socket.socket | None = None,
) -> process.ConfinedProcess:
    user = RunUsers().take()
    workspace = open_workspace(folder, user)
    chosen = profile or (AGENT if isinstance(program, RunModule) else AGENT_COMMAND)
    plan = change(sandbox().plan(chosen, workspace.place, program, user))
    try:
        return process.start(
            plan, channel=None if channel is None else channel.fileno(), workspace=workspace.descriptor
        )
    finally:
        workspace.close()


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in (b"Z", b"X")
