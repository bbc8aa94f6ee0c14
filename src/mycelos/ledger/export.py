"""A log as lines of JSON (RFC 8785), one an entry or a checkpoint: what an export holds and how it is read back.

A checkpoint is ``{"checkpoint":"..."}`` with the signed note as text, after the last entry that it covers.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from mycelos.ledger.canonical import CanonicalError, canonical
from mycelos.ledger.entry import COLUMNS
from mycelos.ledger.signed_note import NoteError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mycelos.ledger.entry import Entry

_NAMES: Final = frozenset(COLUMNS)
_DETAILS: Final = COLUMNS.index("details")

LINE_LIMIT: Final = 2 * 1024 * 1024
"""Bytes of a line, its end among them: more than the largest entry takes."""


def to_line(entry: Entry) -> bytes:
    """One line, without its end: the columns as an object in canonical form.

    Raises:
        EntryError: the row was changed so that its details are no object.
        CanonicalError: its details hold what entries cannot.
    """
    return canonical(entry.as_dict())


def to_checkpoint_line(note: bytes) -> bytes:
    """One line, without its end, for the signed note.

    Raises:
        NoteError: it was changed so that it is no text.
    """
    try:
        return canonical({"checkpoint": note.decode()})
    except UnicodeDecodeError:
        message = "a note is UTF-8"
        raise NoteError(message) from None


def item_from_line(line: bytes) -> Sequence[Any] | bytes:
    """The row or the note that ``line`` was written from, for verification.

    A line that is neither, or is spelled in another way than it would be written, gives an empty row, which fails.
    """
    try:
        found = json.loads(line)
        # One spelling: other spaces, escapes or a name twice would be read as the same.
        if not isinstance(found, dict) or canonical(found) != line.removesuffix(b"\n"):
            return ()
        if found.keys() == {"checkpoint"} and isinstance(found["checkpoint"], str):
            return found["checkpoint"].encode()
    except (ValueError, CanonicalError, RecursionError):
        return ()
    return row_from_object(found)


def row_from_object(found: Mapping[str, Any]) -> Sequence[Any]:
    """The row that `Entry.as_dict` was made of; empty where ``found`` is none."""
    if found.keys() != _NAMES:
        return ()
    row = [found[name] for name in COLUMNS]
    try:
        row[_DETAILS] = canonical(row[_DETAILS]).decode()
    except (CanonicalError, RecursionError):
        return ()
    return row
