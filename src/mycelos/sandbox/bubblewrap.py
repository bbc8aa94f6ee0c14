"""bubblewrap's arguments for a plan: namespaces and the sandbox's own file system.

Started by root it makes no user namespace: the process inside stays the real root with the right to change its
user and nothing else, opens what only root can open, and becomes the run's own user before any wall of its own
(`mycelos.sandbox.launch`). Started by anyone else, the user namespace gives the right to make the others.
"""

from __future__ import annotations

import os
import shutil
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Final

from mycelos.sandbox.errors import Layer, SandboxRefused
from mycelos.sandbox.plan import MountKind

if TYPE_CHECKING:
    from mycelos.sandbox.plan import Mount, SandboxPlan

_PROGRAM_PATH: Final = "/usr/bin:/bin:/usr/local/bin"
_NAMESPACES: Final = ("--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts", "--unshare-cgroup")
_CAPABILITIES_TO_CHANGE_USER: Final = ("CAP_SETUID", "CAP_SETGID", "CAP_SETPCAP")


def find_bubblewrap() -> str:
    """The path of the system's bwrap; never one from the caller's PATH.

    Raises:
        SandboxRefused: there is none.
    """
    found = shutil.which("bwrap", path=_PROGRAM_PATH)
    if found is None:
        raise SandboxRefused(Layer.BUBBLEWRAP, "bwrap is not installed", "Install it: apt-get install bubblewrap")
    return found


def bubblewrap_arguments(plan: SandboxPlan, program: str, command: list[str]) -> list[str]:
    """The whole argument list that starts ``command`` inside the plan's namespaces and mounts."""
    arguments = [program, *_NAMESPACES, "--die-with-parent", "--new-session", "--hostname", "sandbox"]
    if plan.user is None:
        arguments.append("--unshare-user")
    arguments += ["--cap-drop", "ALL"]
    if plan.user is not None:
        for capability in _CAPABILITIES_TO_CHANGE_USER:
            arguments += ["--cap-add", capability]
    # The temporary folder comes first: mounted later, it would hide an installation that lies below it.
    temporary = [mount for mount in plan.mounts if mount.kind is MountKind.MEMORY]
    for mount in temporary:
        arguments += _mount_arguments(mount)
    # Folders that bwrap makes on the way to a target would be closed to the run's own user.
    for folder in _folders_above(plan.mounts):
        arguments += ["--perms", "0755", "--dir", folder]
    for mount in plan.mounts:
        if mount not in temporary:
            arguments += _mount_arguments(mount)
    return [*arguments, "--remount-ro", "/", "--chdir", "/", "--", *command]


def _folders_above(mounts: tuple[Mount, ...]) -> list[str]:
    folders = {str(parent) for mount in mounts for parent in PurePosixPath(mount.target).parents}
    return sorted(folders - {"/"} - {mount.target for mount in mounts})


def _mount_arguments(mount: Mount) -> list[str]:
    match mount.kind:
        case MountKind.READ:
            return ["--ro-bind", mount.source, mount.target]
        case MountKind.WRITE:
            return ["--bind", mount.source, mount.target]
        case MountKind.DEVICE:
            return ["--dev-bind", mount.source, mount.target]
        case MountKind.LINK:
            return ["--symlink", mount.source, mount.target]
        case MountKind.MEMORY:
            return ["--perms", "1777", "--size", mount.source, "--tmpfs", mount.target]
        case MountKind.PROCESSES:
            return ["--proc", mount.target]


def started_as_root() -> bool:
    """Whether runs need a user of their own."""
    return os.geteuid() == 0
