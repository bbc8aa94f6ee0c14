"""The operator's socket and the token beside it: both for the owner alone, both new at each start."""

from __future__ import annotations

import os
import secrets
import socket
import stat
from pathlib import Path
from typing import Final

from mycelos.configuration.layout import DataLayout
from mycelos.proxy.database import prepare_folder
from mycelos.proxy.vault.errors import VaultError

_ADDRESS_LIMIT: Final = 107
_BACKLOG: Final = 64


def write_operator_token(layout: DataLayout) -> str:
    """Make a new token of 256 random bits, put it in its file (mode 0600), and return it.

    Raises:
        VaultError: others may enter the folder or read the file.
    """
    prepare_folder(layout.proxy)
    token = secrets.token_urlsafe(32)
    # Written in place: the vault page is confined to this file as it was when the page began.
    descriptor = os.open(layout.operator_token, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid() or status.st_mode & 0o077:
            raise VaultError(
                detail=f"{layout.operator_token} is not a file of the proxy's user alone.",
                next_step=f"Remove it and start again: rm {layout.operator_token}",
            )
        os.pwrite(descriptor, token.encode("ascii"), 0)
        os.ftruncate(descriptor, len(token))
    finally:
        os.close(descriptor)
    return token


def clear_operator_socket(layout: DataLayout) -> None:
    """Remove the socket that a dead proxy left.

    The vault's lock, taken before, says that no other proxy lives on this folder.

    Raises:
        VaultError: something lies there that cannot be removed.
    """
    path = layout.operator_socket
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise VaultError(
            detail=f"{path} is in the way of the operator's socket ({os.strerror(error.errno or 0)}).",
            next_step="Move it away and start again.",
        ) from None


def bind_operator_socket(layout: DataLayout) -> socket.socket:
    """A listening socket at its path, mode 0600, in the place of one that was left.

    Raises:
        VaultError: as `clear_operator_socket`.
        OSError: the path cannot be bound.
    """
    clear_operator_socket(layout)
    path = layout.operator_socket
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    # Between bind and chmod the folder's own mode, 0700, keeps others out.
    try:
        listener.bind(_address(path, folder))
        path.chmod(0o600)
        listener.listen(_BACKLOG)
    except BaseException:
        listener.close()
        raise
    finally:
        os.close(folder)
    return listener


def _address(path: Path, folder: int) -> str:
    """The path, or a short way to the same place: a socket's address holds 107 bytes."""
    return str(path) if len(os.fsencode(path)) <= _ADDRESS_LIMIT else f"/proc/self/fd/{folder}/{path.name}"
