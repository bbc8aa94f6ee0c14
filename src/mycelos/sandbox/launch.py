"""`python -I -m mycelos.sandbox.launch`: the first code in a new process; it walls itself in, then does its work.

It finds the plan, and where to report, at fixed descriptors. Any step that fails ends the process with a refusal on
the status descriptor; only after the last wall stands does it say that it is armed, and the spawner hands the run's
channel to the gateway only then. The order is not free: the user changes while capabilities are there, limits and
Landlock come before the filter that forbids setting them up, the filter is last.
"""

from __future__ import annotations

import os
import runpy
import sys
from typing import Final, NoReturn

import msgspec

from mycelos.sandbox import identity, kernel, landlock, limits
from mycelos.sandbox.errors import Layer, SandboxRefused, explain
from mycelos.sandbox.plan import (
    CHANNEL_DESCRIPTOR,
    PLAN_DESCRIPTOR,
    STATUS_DESCRIPTOR,
    WORKSPACE_DESCRIPTOR,
    Execute,
    Mechanism,
    RunModule,
    SandboxPlan,
)
from mycelos.sandbox.seccomp_load import load_filter
from mycelos.sandbox.status import ARMED, encode_refusal

REFUSED_EXIT: Final = 3
_NOT_FOUND_EXIT: Final = 127
_NOT_EXECUTABLE_EXIT: Final = 126
_SIGKILL: Final = 9
_GROUP_MAY_WRITE: Final = 0o007


def main() -> NoReturn:
    """Arm, report, work; see the module's own description."""
    try:
        plan = _read_plan()
        arm(plan)
        os.write(STATUS_DESCRIPTOR, ARMED)
        os.close(STATUS_DESCRIPTOR)
    except SandboxRefused as refusal:
        _refuse(refusal)
    except (OSError, ValueError) as error:
        _refuse(SandboxRefused(Layer.INSTALLATION, f"the launch failed: {error}", "Run: mycelos doctor"))
    _work(plan)


def arm(plan: SandboxPlan) -> None:
    """Put every wall of ``plan`` into force on this process, in the one order that works.

    Raises:
        SandboxRefused: a wall could not be put up; the process must end.
    """
    parent = os.getppid()
    if plan.user is not None:
        identity.drop_bounding_set()
        identity.become(plan.user)
        os.umask(_GROUP_MAY_WRITE)
    identity.drop_capabilities()
    try:
        kernel.process_control(kernel.PR_SET_DUMPABLE, 0)
        if plan.mechanism is Mechanism.LANDLOCK:
            _die_with(parent)
        limits.apply_limits(plan.limits)
        kernel.set_no_new_privileges()
    except OSError as error:
        raise SandboxRefused(
            Layer.NO_NEW_PRIVILEGES, f"prctl failed: {explain(error)}", "Run: mycelos doctor"
        ) from None
    workspace = _enter_workspace(plan)
    rules: list[tuple[str | int, int]] = [(rule.path, rule.access) for rule in plan.rules]
    rules.append((workspace, plan.workspace.access))
    landlock.restrict(landlock.Handled(plan.handled_files, plan.handled_network, plan.scopes), rules)
    kernel.close_descriptors_except(frozenset({0, 1, 2, CHANNEL_DESCRIPTOR, STATUS_DESCRIPTOR}))
    os.set_inheritable(STATUS_DESCRIPTOR, False)
    load_filter(plan.filter_program)


def _read_plan() -> SandboxPlan:
    with open(PLAN_DESCRIPTOR, "rb") as stream:  # noqa: PTH123 - a descriptor
        return msgspec.json.decode(stream.read(), type=SandboxPlan)


def _die_with(parent: int) -> None:
    # Set after the change of user, which clears it; the parent may have died before.
    kernel.process_control(kernel.PR_SET_PDEATHSIG, _SIGKILL)
    if os.getppid() != parent:
        raise SandboxRefused(Layer.IDENTITY, "the spawner died during the launch", "Start the run again")


def _enter_workspace(plan: SandboxPlan) -> int:
    """Open the workspace, check that it is the folder that the spawner opened, and make it the working folder."""
    try:
        if plan.mechanism is Mechanism.BUBBLEWRAP:
            descriptor = os.open(plan.workspace.path, os.O_RDONLY | os.O_DIRECTORY)
        else:
            descriptor = WORKSPACE_DESCRIPTOR
        found = os.fstat(descriptor)
        os.fchdir(descriptor)
    except OSError as error:
        raise SandboxRefused(
            Layer.WORKSPACE, f"cannot enter the workspace: {explain(error)}", "Check the data folder's modes"
        ) from None
    if (found.st_dev, found.st_ino) != (plan.workspace.device, plan.workspace.inode):
        raise SandboxRefused(
            Layer.WORKSPACE, "the workspace was exchanged for another folder", "Look at data/gateway/workspaces"
        )
    return descriptor


def _work(plan: SandboxPlan) -> NoReturn:
    match plan.program:
        case RunModule(module):
            sys.argv = [module]
            runpy.run_module(module, run_name="__main__", alter_sys=True)
            sys.exit(0)
        case Execute(arguments):
            try:
                os.execvpe(arguments[0], list(arguments), plan.environment)  # noqa: S606 - no shell is the point
            except (FileNotFoundError, ValueError):
                # ValueError: an empty name, which names no program.
                code = _NOT_FOUND_EXIT
            except OSError:
                code = _NOT_EXECUTABLE_EXIT
            os.write(2, f"mycelos: cannot execute {arguments[0] or 'an empty name'}\n".encode())
            os._exit(code)


def _refuse(refusal: SandboxRefused) -> NoReturn:
    os.write(STATUS_DESCRIPTOR, encode_refusal(refusal))
    os._exit(REFUSED_EXIT)


if __name__ == "__main__":
    main()
