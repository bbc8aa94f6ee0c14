"""The rows of signed checkpoints, as they lie in the database."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Final

from mycelos.proxy.ledger.database import LedgerError, unreadable

if TYPE_CHECKING:
    from pathlib import Path

_NEWEST: Final = "SELECT size, note FROM checkpoints ORDER BY tile DESC LIMIT 1"
_NEWEST_WITHIN: Final = (
    "SELECT size, note FROM checkpoints WHERE tile <= ? >> 8 AND size <= ? ORDER BY tile DESC LIMIT 1"
)
_MISPLACED: Final = "SELECT size FROM checkpoints WHERE tile IS NOT size >> 8 LIMIT 1"


def newest_checkpoint(connection: sqlite3.Connection, path: Path, most: int | None = None) -> tuple[int, str] | None:
    """Size and note of the newest checkpoint, of ``most`` entries at most; None where none was signed.

    Raises:
        LedgerError: the file at ``path`` is damaged there.
    """
    try:
        if most is None:
            row = connection.execute(_NEWEST).fetchone()
        else:
            row = connection.execute(_NEWEST_WITHIN, (most, most)).fetchone()
    except (sqlite3.Error, UnicodeDecodeError) as error:
        raise unreadable(path, error) from None
    if row is None:
        return None
    size, note = row
    if not isinstance(size, int) or not isinstance(note, str):
        message = "the ledger is damaged: its newest checkpoint cannot be read; keep the file as evidence"
        raise LedgerError(message)
    return size, note


def misplaced_checkpoint(connection: sqlite3.Connection, path: Path) -> int | None:
    """The size of a checkpoint that is not in the row of its tile; None where all are.

    Raises:
        LedgerError: the file at ``path`` is damaged there.
    """
    try:
        row = connection.execute(_MISPLACED).fetchone()
    except sqlite3.Error as error:
        raise unreadable(path, error) from None
    return None if row is None else int(row[0])
