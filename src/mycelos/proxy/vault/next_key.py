"""`.master_key.next`, which a rotation puts in the master key's place, and what becomes of one that was cut short.

The vault decides. It has one slot in use, changed in one transaction, and one key opens that slot: is it the one in
`.master_key`, the rotation is undone; is it the one in `.master_key.next`, it is finished.
"""

from __future__ import annotations

import os
import re
from enum import StrEnum
from pathlib import Path
from typing import Final

import sqlalchemy as sa

from mycelos.configuration.layout import DataLayout
from mycelos.proxy.database import Database
from mycelos.proxy.vault import slots
from mycelos.proxy.vault.errors import VaultError
from mycelos.proxy.vault.keys import read_master_key, sync_folder, write_key_file

_MOUNTS: Final = Path("/proc/self/mountinfo")
_ESCAPE: Final = re.compile(r"\\([0-7]{3})")
_KEEP: Final = "Put back a copy of the data folder that is sound, with its key."


class Settled(StrEnum):
    """What became of a rotation."""

    NONE = "none"
    UNDONE = "undone"
    FINISHED = "finished"


def write_next_key(layout: DataLayout, key: bytearray) -> None:
    """Write ``key`` down as the one to come; durable when it returns.

    Raises:
        OSError: the disk refuses, or there is one already.
    """
    layout.master_key_draft.unlink(missing_ok=True)
    write_key_file(layout.master_key_next, layout.master_key_draft, key)


def is_unfinished(layout: DataLayout) -> bool:
    """Whether a rotation was cut short."""
    return any(os.path.lexists(path) for path in (layout.master_key_next, layout.master_key_draft))


def settle_at_start(layout: DataLayout, from_environment: bytes | None) -> Settled:
    """Finish or undo what a killed process left. Before the vault is opened for use; it must not be open elsewhere.

    Raises:
        VaultError: no key that is there opens the vault, or a file is not as it must be; nothing is written.
    """

    def look(connection: sa.Connection) -> None:
        _choose(connection, layout, from_environment)

    if not is_unfinished(layout):
        return Settled.NONE
    if not os.path.lexists(layout.vault):
        if os.path.lexists(layout.master_key_next):
            raise VaultError(
                detail=f"{layout.master_key_next} is left of a rotation, and there is no vault {layout.vault}.",
                next_step=_KEEP,
            )
        layout.master_key_draft.unlink()
        return Settled.UNDONE
    database = Database.open(layout.vault, look)
    try:
        return database.alone_now(lambda: settle(layout, database, from_environment))
    except OSError as error:
        raise VaultError(
            detail=f"A rotation of the key that was cut short cannot be settled: {os.strerror(error.errno or 0)}.",
            next_step=f"Let the proxy write to {layout.root} and start again; until then nothing is lost.",
        ) from None
    finally:
        database.close()


def settle(layout: DataLayout, database: Database, from_environment: bytes | None) -> Settled:
    """Finish or undo; on the database's thread.

    Raises:
        VaultError: no key that is there opens the vault.
        Refusal: `vault_unavailable`.
        OSError: the folder's disk refuses. In each case nothing is lost, and it can be tried again.
    """
    if not os.path.lexists(layout.master_key_next):
        layout.master_key_draft.unlink(missing_ok=True)
        return Settled.NONE
    # The log first: a commit that failed half-way could come back out of it after a crash, and want its key.
    database.checkpoint()
    settled = database.transact(lambda connection: _choose(connection, layout, from_environment))
    if settled is Settled.FINISHED:
        swap(layout)
    else:
        layout.master_key_next.unlink()
        sync_folder(layout.root)
    layout.master_key_draft.unlink(missing_ok=True)
    return settled


def demand_replaceable(layout: DataLayout) -> None:
    """Refuse a master key that no rename can replace: a file that is mounted by itself, as containers have it.

    Raises:
        VaultError: it is a mount point; nothing is written.
    """
    path = os.path.realpath(layout.master_key)
    mounted = {_unescaped(line.split(" ")[4]) for line in _MOUNTS.read_text("utf-8", "surrogateescape").splitlines()}
    if path in mounted:
        raise VaultError(
            detail=f"{layout.master_key} is mounted into this place, and a new key cannot be put there from here.",
            next_step="Stop the system and run mycelos key rotate where the file itself lies.",
        )


def swap(layout: DataLayout) -> None:
    """Put the next key in the master key's place; durable when it returns.

    Raises:
        OSError: the disk refuses.
    """
    layout.master_key_next.replace(layout.master_key)
    sync_folder(layout.root)


def _unescaped(path: str) -> str:
    """A path as it is, from proc(5)'s form of it: space, tab, line end and backslash stand there in octal."""
    return _ESCAPE.sub(lambda match: chr(int(match[1], 8)), path)


def _choose(connection: sa.Connection, layout: DataLayout, from_environment: bytes | None) -> Settled:
    """Which of the keys opens the vault; nothing is written."""
    present = [] if from_environment is None else [from_environment]
    if os.path.lexists(layout.master_key):
        present.append(read_master_key(layout.master_key))
    is_undone = any(slots.opens(connection, key) for key in present)
    if not os.path.lexists(layout.master_key_next):
        return Settled.UNDONE
    try:
        following = read_master_key(layout.master_key_next)
    except VaultError as error:
        hint = f"The vault opens without it: remove {layout.master_key_next}." if is_undone else error.next_step
        raise VaultError(detail=error.detail, next_step=hint) from None
    if is_undone:
        return Settled.UNDONE
    if slots.opens(connection, following):
        return Settled.FINISHED
    raise VaultError(
        detail=f"Neither {layout.master_key} nor {layout.master_key_next} opens this vault; nothing was changed.",
        next_step=_KEEP,
    )
