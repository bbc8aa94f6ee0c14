"""A run's folder, made and opened so that no link or rename can put another folder in its place."""

from __future__ import annotations

import contextlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mycelos.configuration.layout import DataLayout
from mycelos.sandbox import kernel
from mycelos.sandbox.errors import Layer, SandboxRefused, explain
from mycelos.sandbox.installation import find_installation
from mycelos.sandbox.plan import Workspace

_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY
_MODE_FOR_STARTER: Final = 0o700
_MODE_FOR_RUN_USER: Final = 0o2770
"""The run's user owns it; the group stays the spawner's, so that the gateway can read what the run made."""
_FOLDERS_OF_ALL: Final = frozenset(
    {"/boot", "/dev", "/etc", "/home", "/mnt", "/opt", "/proc", "/root", "/run", "/srv", "/sys", "/var"}
)


@dataclass
class OpenWorkspace:
    """An open folder. Close it once the process that uses it has started; `give_back` first where it was lent."""

    descriptor: int
    place: Workspace
    lent_by: os.stat_result | None = None

    def give_back(self) -> None:
        """Restore owner and mode of a folder that a person lent; what was made in it stays the run's."""
        if self.lent_by is not None:
            os.fchown(self.descriptor, self.lent_by.st_uid, self.lent_by.st_gid)
            os.fchmod(self.descriptor, stat.S_IMODE(self.lent_by.st_mode))

    def close(self) -> None:
        """Close the descriptor."""
        os.close(self.descriptor)


def open_run_workspace(data_directory: Path, run: str, user: int | None) -> OpenWorkspace:
    """Create ``gateway/workspaces/RUN`` below the data folder where it is missing, give it to ``user``, open it.

    ``run`` must be a checked identifier: it is one path segment.

    Raises:
        SandboxRefused: a part of the path is a link, is missing, or cannot be made.
    """
    relative = f"gateway/workspaces/{run}"
    try:
        root = os.open(data_directory, _DIRECTORY | os.O_CLOEXEC)
        try:
            _make_directory(root, "gateway", "workspaces")
            _make_directory(root, "gateway/workspaces", run)
            descriptor = kernel.open_beneath(root, relative, _DIRECTORY)
        finally:
            os.close(root)
    except OSError as error:
        raise SandboxRefused(
            Layer.WORKSPACE,
            f"cannot open {relative} in the data folder: {explain(error)}",
            "Look for links or wrong owners in data/gateway/workspaces",
        ) from None
    return _own(descriptor, str(data_directory / relative), user)


def open_workspace(directory: Path, user: int | None, data_directory: Path | None = None) -> OpenWorkspace:
    """Open a folder that a person named, for a command of theirs; with ``user`` it is lent until `give_back`.

    ``data_directory`` is the installation's: no folder above or below it will do.

    Raises:
        SandboxRefused: it is no folder, is a link, holds what a run must never write, or cannot be given to ``user``.
    """
    try:
        descriptor = os.open(directory, _DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        raise SandboxRefused(
            Layer.WORKSPACE, f"cannot open {directory}: {explain(error)}", "Name a folder that exists"
        ) from None
    found = os.fstat(descriptor)
    unfit = _unfit(descriptor, data_directory, lent=user is not None)
    if unfit is not None:
        os.close(descriptor)
        raise SandboxRefused(Layer.WORKSPACE, f"{directory} {unfit}", "Name a folder made for this command")
    if user is None:
        return OpenWorkspace(descriptor, Workspace(str(directory), found.st_dev, found.st_ino, 0))
    opened = _own(descriptor, str(directory), user)
    opened.lent_by = found
    return opened


def _unfit(descriptor: int, data_directory: Path | None, *, lent: bool) -> str | None:
    """Why a folder may not be a workspace: what is changed there would outlive the walls, or open the vault."""
    folder = Path(f"/proc/self/fd/{descriptor}").readlink()
    for place in find_installation().readable(with_programs=True):
        if Path(place).is_relative_to(folder) or folder.is_relative_to(place):
            return f"holds programs that run outside of the sandbox too ({place})"
    if any(os.path.lexists(DataLayout(above).master_key) for above in (folder, *folder.parents)):
        return "lies in a data folder of Mycelos"
    data = data_directory.resolve() if data_directory is not None and data_directory.exists() else None
    if data is not None and (data.is_relative_to(folder) or folder.is_relative_to(data)):
        return f"holds the data folder of Mycelos, or lies in it ({data})"
    if lent and (str(folder) in _FOLDERS_OF_ALL or os.fstat(descriptor).st_mode & stat.S_IWOTH):
        # Lending closes a folder to everybody else until the command ends, for good if this process is killed.
        return "is in use by other users"
    return None


def _own(descriptor: int, path: str, user: int | None) -> OpenWorkspace:
    try:
        if user is None:
            os.fchmod(descriptor, _MODE_FOR_STARTER)
        else:
            os.fchown(descriptor, user, -1)
            os.fchmod(descriptor, _MODE_FOR_RUN_USER)
        found = os.fstat(descriptor)
    except OSError as error:
        os.close(descriptor)
        raise SandboxRefused(
            Layer.WORKSPACE, f"cannot own {path}: {explain(error)}", "Check who owns the folder"
        ) from None
    return OpenWorkspace(descriptor, Workspace(path, found.st_dev, found.st_ino, 0))


def _make_directory(root: int, parent: str, name: str) -> None:
    descriptor = kernel.open_beneath(root, parent, _DIRECTORY)
    try:
        with contextlib.suppress(FileExistsError):
            os.mkdir(name, _MODE_FOR_STARTER, dir_fd=descriptor)
    finally:
        os.close(descriptor)
