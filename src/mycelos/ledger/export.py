"""Entries as lines of JSON, one an entry: what an export holds and how it is read back."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from mycelos.ledger.canonical import CanonicalError, canonical
from mycelos.ledger.entry import COLUMNS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mycelos.ledger.entry import Entry


def to_line(entry: Entry) -> bytes:
    """One line, without its end: the columns as an object in canonical form.

    Raises:
        EntryError: the row was changed so that its details are no object.
        CanonicalError: its details hold what entries cannot.
    """
    return canonical(entry.as_dict())


def row_from_line(line: bytes) -> Sequence[object]:
    """The row that ``line`` was written from, for verification. A line that is none gives an empty row, which fails."""
    try:
        columns = json.loads(line)
        if not isinstance(columns, dict) or set(columns) != set(COLUMNS):
            return ()
        row = [columns[name] for name in COLUMNS]
        row[COLUMNS.index("details")] = canonical(columns["details"]).decode("utf-8")
    except (ValueError, CanonicalError, RecursionError):
        return ()
    return row
