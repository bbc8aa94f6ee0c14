"""The sandbox plan: one frozen value that says everything about a confined process. Pure.

`build_plan` is the one place that decides. `mycelos.sandbox.bubblewrap` turns the mounts into arguments, and
`mycelos.sandbox.launch`, inside the new process, puts the rest into force; neither adds or leaves out anything.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final

import msgspec

from mycelos.sandbox.landlock import READ, WRITE, FileAccess, Handled

if TYPE_CHECKING:
    from mycelos.sandbox.installation import Installation
    from mycelos.sandbox.profiles import SandboxProfile

WORKSPACE_TARGET: Final = "/workspace"
TEMPORARY_TARGET: Final = "/tmp"  # noqa: S108 - a memory file system of the sandbox's own

CHANNEL_DESCRIPTOR: Final = 3
PLAN_DESCRIPTOR: Final = 4
STATUS_DESCRIPTOR: Final = 5
WORKSPACE_DESCRIPTOR: Final = 6
"""Where the launcher finds what it was handed; only the channel outlives the launch."""

_DEVICES: Final = (
    ("/dev/null", FileAccess.READ_FILE | FileAccess.WRITE_FILE | FileAccess.TRUNCATE),
    ("/dev/zero", FileAccess.READ_FILE),
    ("/dev/random", FileAccess.READ_FILE),
    ("/dev/urandom", FileAccess.READ_FILE),
)


class Mechanism(StrEnum):
    """How a process is walled in: namespaces, Landlock and seccomp, or the last two alone."""

    BUBBLEWRAP = "bubblewrap"
    LANDLOCK = "landlock"


class MountKind(StrEnum):
    """What stands at a path of the sandbox's own file system."""

    READ = "read"
    WRITE = "write"
    DEVICE = "device"
    LINK = "link"
    MEMORY = "memory"
    PROCESSES = "processes"


class Mount(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One path of the sandbox. ``source`` is a path outside, a link's text, or a size in bytes."""

    kind: MountKind
    source: str
    target: str


class PathRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Rights (`FileAccess`) on a path, as the confined process sees it."""

    path: str
    access: int


class RunModule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag=True):
    """Run an installed Python module in the process that was confined; nothing is executed anew."""

    module: str


class Execute(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag=True):
    """Execute a program, looked up in the PATH of the plan's own environment."""

    arguments: tuple[str, ...]


class Workspace(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The one folder that may be written. Device and inode number prove that it is the one that was opened."""

    path: str
    device: int
    inode: int
    access: int


class SandboxPlan(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """All walls of one process. ``user`` is None where the process keeps the user who started it."""

    mechanism: Mechanism
    profile: str
    program: RunModule | Execute
    executable: str
    mounts: tuple[Mount, ...]
    workspace: Workspace
    rules: tuple[PathRule, ...]
    handled_files: int
    handled_network: int
    scopes: int
    limits: dict[str, int]
    environment: dict[str, str]
    user: int | None
    filter_program: bytes


def build_plan(
    *,
    profile: SandboxProfile,
    filter_program: bytes,
    mechanism: Mechanism,
    handled: Handled,
    installation: Installation,
    workspace: Workspace,
    program: RunModule | Execute,
    user: int | None,
) -> SandboxPlan:
    """Decide every wall. ``workspace.path`` is outside; inside it is `WORKSPACE_TARGET` where mounts exist."""
    namespaced = mechanism is Mechanism.BUBBLEWRAP
    readable = installation.readable(with_programs=profile.has_programs)
    inside = WORKSPACE_TARGET if namespaced else workspace.path
    write = WRITE | (FileAccess.EXECUTE | FileAccess.MAKE_SYMBOLIC_LINK if profile.has_programs else FileAccess(0))
    read = READ | (FileAccess.EXECUTE if profile.has_programs else FileAccess(0))

    rules = [PathRule(path, int(read)) for path in readable]
    rules += [PathRule(path, int(access)) for path, access in _DEVICES]
    if namespaced:
        rules.append(PathRule(TEMPORARY_TARGET, int(write)))
    if profile.has_proc:
        rules.append(PathRule("/proc", int(READ)))

    return SandboxPlan(
        mechanism=mechanism,
        profile=profile.name,
        program=program,
        executable=installation.executable,
        mounts=_mounts(profile, installation, readable, workspace) if namespaced else (),
        workspace=Workspace(inside, workspace.device, workspace.inode, int(write)),
        rules=tuple(rules),
        handled_files=handled.files,
        handled_network=handled.network,
        scopes=handled.scopes,
        limits=dict(profile.limits),
        environment={
            "HOME": inside,
            "LANG": "C.UTF-8",
            "PATH": "/usr/bin:/bin",
            "TMPDIR": TEMPORARY_TARGET if namespaced else inside,
        },
        user=user,
        filter_program=filter_program,
    )


def _mounts(
    profile: SandboxProfile, installation: Installation, readable: tuple[str, ...], workspace: Workspace
) -> tuple[Mount, ...]:
    mounts = [Mount(MountKind.READ, path, path) for path in readable]
    mounts += [
        Mount(MountKind.LINK, text, path)
        for path, text in installation.links
        if not any(path.startswith(f"{other}/") for other in readable)
    ]
    mounts += [Mount(MountKind.DEVICE, path, path) for path, _ in _DEVICES]
    mounts.append(Mount(MountKind.MEMORY, str(profile.temporary_bytes), TEMPORARY_TARGET))
    if profile.has_proc:
        mounts.append(Mount(MountKind.PROCESSES, "", "/proc"))
    mounts.append(Mount(MountKind.WRITE, workspace.path, WORKSPACE_TARGET))
    return tuple(mounts)
