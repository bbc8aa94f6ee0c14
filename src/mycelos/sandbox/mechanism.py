"""Choosing how processes are walled in on this machine: by really starting one and testing it, never by version."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mycelos.sandbox import landlock, process
from mycelos.sandbox.bubblewrap import find_bubblewrap, started_as_root
from mycelos.sandbox.errors import Layer, SandboxRefused
from mycelos.sandbox.identity import RUN_USERS
from mycelos.sandbox.installation import Installation, find_installation
from mycelos.sandbox.plan import Execute, Mechanism, RunModule, SandboxPlan, Workspace, build_plan
from mycelos.sandbox.profiles import AGENT_COMMAND
from mycelos.sandbox.seccomp import compile_filter
from mycelos.sandbox.workspace import open_workspace

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from mycelos.sandbox.profiles import SandboxProfile


@dataclass(frozen=True)
class Sandbox:
    """The walls that this machine can hold. ``passed_over`` says why a stronger mechanism was not taken."""

    mechanism: Mechanism
    abi: int
    installation: Installation
    passed_over: str

    def plan(
        self, profile: SandboxProfile, workspace: Workspace, program: RunModule | Execute, user: int | None
    ) -> SandboxPlan:
        """The plan of one process."""
        return build_plan(
            profile=profile,
            filter_program=compile_filter(
                profile.filter_kind,
                has_own_group=user is not None,
                has_namespaces=self.mechanism is Mechanism.BUBBLEWRAP,
            ),
            mechanism=self.mechanism,
            handled=landlock.handled_by(self.abi),
            installation=self.installation,
            workspace=workspace,
            program=program,
            user=user,
        )


def choose_sandbox(self_test: Callable[[Sandbox], None]) -> Sandbox:
    """The strongest mechanism whose processes start and pass ``self_test``.

    Raises:
        SandboxRefused: none does; names the layer that is missing, why, and what a person can do.
    """
    installation = find_installation()
    abi = landlock.require_abi(landlock.ABI_WITH_TRUNCATE)
    sandbox = Sandbox(Mechanism.BUBBLEWRAP, abi, installation, "")
    try:
        find_bubblewrap()
        self_test(sandbox)
    except SandboxRefused as refusal:
        # Only namespaces can be done without; what is missing inside them is missing everywhere.
        if refusal.layer is not Layer.BUBBLEWRAP:
            raise
        passed_over = f"bubblewrap does not work here: {refusal.cause}. {refusal.fix}"
    else:
        return sandbox
    landlock.require_abi(landlock.ABI_WITH_SCOPES)
    sandbox = Sandbox(Mechanism.LANDLOCK, abi, installation, passed_over)
    self_test(sandbox)
    return sandbox


def start_test(sandbox: Sandbox) -> None:
    """The least that shows that a mechanism works: start a process that does nothing.

    Raises:
        SandboxRefused: it does not start.
    """
    user = RunUsers().take()
    with tempfile.TemporaryDirectory(prefix="mycelos-start-") as folder:
        workspace = open_workspace(Path(folder), user)
        plan = sandbox.plan(AGENT_COMMAND, workspace.place, Execute(("true",)), user)
        try:
            confined = process.start(plan, channel=None, workspace=workspace.descriptor)
        finally:
            workspace.close()
        try:
            confined.wait_armed()
        finally:
            confined.end()
            confined.close()


class RunUsers:
    """Hands out a user of its own to each run when root starts them, and none otherwise."""

    def __init__(self) -> None:
        # A random beginning: runs of an earlier life of this process left folders behind.
        self._next = int.from_bytes(os.urandom(4), "big")

    def take(self, in_use: Collection[int | None] = ()) -> int | None:
        """A user that no running process has."""
        if not started_as_root():
            return None
        for _ in RUN_USERS:
            self._next += 1
            user = RUN_USERS[self._next % len(RUN_USERS)]
            if user not in in_use:
                return user
        raise SandboxRefused(Layer.IDENTITY, "every user for runs is in use", "End some runs")
