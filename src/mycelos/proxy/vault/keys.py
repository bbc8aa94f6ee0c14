"""The master key: read from the environment's value or from its file, made once, never overwritten.

The file holds the key in base64 on one line, mode 0600 (or 0400), and belongs to the user that runs the proxy.
"""

from __future__ import annotations

import base64
import hmac
import os
import secrets
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Final

from mycelos.configuration.environment import ConfigurationError, parse_master_key
from mycelos.configuration.layout import DataLayout
from mycelos.proxy.vault.envelope import KEY_LENGTH
from mycelos.proxy.vault.errors import VaultError

_FILE_LIMIT: Final = 256
_MODES: Final = frozenset({0o600, 0o400})


def load_master_key(layout: DataLayout, from_environment: bytes | None) -> bytes:
    """The master key. Where environment and file both give one, they must be the same.

    Raises:
        VaultError: none, two different ones, or a file that is not as it must be; nothing is written.
    """
    from_file = read_master_key(layout.master_key) if os.path.lexists(layout.master_key) else None
    if from_environment is None and from_file is None:
        hint = "Restore it from where you keep it" if _has_vault(layout) else "Make one with: mycelos init"
        raise VaultError(
            detail=f"There is no master key: no MYCELOS_MASTER_KEY and no {layout.master_key}.", next_step=f"{hint}."
        )
    if from_environment is not None and from_file is not None and not hmac.compare_digest(from_environment, from_file):
        raise VaultError(
            detail=f"MYCELOS_MASTER_KEY and {layout.master_key} are two different keys.",
            next_step="After a rotation of the key the file holds the new one: take MYCELOS_MASTER_KEY out of the "
            "environment. Else keep the one that made this vault.",
        )
    key = from_environment or from_file
    if key is None or len(key) != KEY_LENGTH:
        raise VaultError(detail="The master key is not 32 bytes.", next_step="Give the key that mycelos init made.")
    return key


def read_master_key(path: Path) -> bytes:
    """The key in ``path``.

    Raises:
        VaultError: a link, wrong owner, mode, length or form; the text names the fix and never the content.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        raise VaultError(
            detail=f"The key file {path} cannot be opened ({os.strerror(error.errno or 0)}).",
            next_step="It must be a plain file, no link, that its owner may read.",
        ) from None
    try:
        _demand_owner_only(path, os.fstat(descriptor))
        content = os.read(descriptor, _FILE_LIMIT + 1)
    finally:
        os.close(descriptor)
    try:
        key = parse_master_key(content.decode("ascii"))
    except (ConfigurationError, UnicodeDecodeError):
        key = None
    if key is None:
        raise VaultError(
            detail=f"The key file {path} does not hold 32 bytes in base64.",
            next_step="Restore it from where you keep a copy of it.",
        )
    return key


def create_master_key(layout: DataLayout, randomness: Callable[[int], bytes] = os.urandom) -> Path:
    """Make the key file, whole or not at all, and return its path.

    Raises:
        VaultError: there is one already, or a vault that another key made.
    """
    path = layout.master_key
    if _has_vault(layout):
        raise VaultError(
            detail=f"There is already a vault in {layout.proxy}; a new key could not open it.",
            next_step=f"Restore {path} from where you keep it. Without it the credentials in this vault are lost: "
            f"only if you give them up, move {layout.vault} away and start anew.",
        )
    layout.root.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{secrets.token_hex(8)}.new")
    try:
        write_key_file(path, draft, randomness(KEY_LENGTH))
    except FileExistsError:
        raise VaultError(
            detail=f"There is already a key in {path}; it stays as it is.", next_step="Nothing needs to be done."
        ) from None
    return path


def write_key_file(path: Path, draft: Path, key: bytes | bytearray) -> None:
    """Put ``key`` into ``path``, a file that must not be there, whole or not at all; durable when it returns.

    Raises:
        FileExistsError: ``path`` or ``draft`` is there.
        OSError: the disk refuses; there is no ``path``.
    """
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            os.fchmod(descriptor, 0o600)
            stream.write(base64.b64encode(key) + b"\n")
            stream.flush()
            os.fsync(descriptor)
        # A link, unlike a rename, never replaces: of two that start at once, one keeps its key and one is told.
        os.link(draft, path)
    finally:
        draft.unlink()
    sync_folder(path.parent)


def _has_vault(layout: DataLayout) -> bool:
    return os.path.lexists(layout.vault)


def _demand_owner_only(path: Path, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise VaultError(
            detail=f"The key file {path} is not a plain file.", next_step="Restore it from where you keep a copy of it."
        )
    if status.st_uid != os.geteuid():
        raise VaultError(
            detail=f"The key file {path} belongs to user id {status.st_uid}, the proxy runs as {os.geteuid()}.",
            next_step="Run as its owner, or give it to the proxy's user with: chown",
        )
    if stat.S_IMODE(status.st_mode) not in _MODES:
        raise VaultError(
            detail=f"The key file {path} has mode {stat.S_IMODE(status.st_mode):04o}: others may have read the key.",
            next_step=f"Run: chmod 600 {path} - and if others use this machine, make new secrets at the services and "
            "give each with: mycelos credential rotate SERVICE",
        )


def sync_folder(folder: Path) -> None:
    """Make durable which names are in ``folder``."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
