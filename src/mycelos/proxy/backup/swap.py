"""One folder in another's place, in one step that either has happened or has not."""

from __future__ import annotations

import ctypes
import errno
import os
from pathlib import Path
from typing import Final

from mycelos.proxy.backup.errors import BackupError

_AT_FDCWD: Final = -100
_RENAME_EXCHANGE: Final = 2
_UNSUPPORTED: Final = frozenset({errno.EINVAL, errno.ENOSYS, errno.EXDEV})


def is_free(place: Path) -> bool:
    """Whether nothing lies at ``place``, or an empty folder."""
    try:
        return not any(place.iterdir())
    except FileNotFoundError:
        return True


def put_in_place(prepared: Path, place: Path) -> bool:
    """Give the folder ``prepared`` the name ``place``. Whatever lay there has the name ``prepared`` afterwards.

    Returns:
        Whether something lay there.

    Raises:
        BackupError: this file system cannot exchange two names; nothing was changed.
        OSError: the system refuses; nothing was changed.
    """
    if is_free(place):
        # rename(2) replaces an empty folder.
        prepared.rename(place)
    else:
        _exchange(prepared, place)
    sync_folder(place.parent)
    return prepared.exists()


def set_aside(folder: Path, name: str) -> Path:
    """Give ``folder`` a name in its parent that says what it is; the name, with a number where it is taken.

    Raises:
        OSError: the system refuses.
    """
    place = folder.with_name(name)
    number = 1
    while os.path.lexists(place):
        number += 1
        place = folder.with_name(f"{name}-{number}")
    folder.rename(place)
    sync_folder(place.parent)
    return place


def sync_tree(folder: Path) -> None:
    """Have every file and folder below ``folder`` on the disk.

    Raises:
        OSError: the disk refuses.
    """
    for path in folder.rglob("*"):
        if path.is_symlink():
            continue
        if path.is_dir():
            sync_folder(path)
        else:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
    sync_folder(folder)


def sync_folder(folder: Path) -> None:
    """Have the names in ``folder`` on the disk.

    Raises:
        OSError: the disk refuses.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _exchange(one: Path, other: Path) -> None:
    # renameat2(2), which Python does not wrap.
    call = ctypes.CDLL(None, use_errno=True).renameat2
    if call(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE) == 0:
        return
    number = ctypes.get_errno()
    if number in _UNSUPPORTED:
        raise BackupError(
            detail=f"The file system of {other} cannot exchange two folders in one step; nothing was changed.",
            next_step=f"Move {other} away yourself, then run the command again.",
        )
    raise OSError(number, os.strerror(number), str(other))
