"""The ledger's evidence read past its index and its schema, and what is wrong with these two."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

from mycelos.proxy.ledger.database import LedgerError
from mycelos.proxy.ledger.reader import LedgerReader

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from mycelos.ledger.walk import StoredNodes


class BareReader(LedgerReader):
    """A read-only connection that needs the pages of rows and checkpoints, and no other."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, any_schema=True)

    def rows(self) -> Iterator[Sequence[object]]:
        """Every row from the first, unchecked.

        Raises:
            LedgerError: a page that holds rows is damaged.
        """
        return self.readable_rows()

    def readable_nodes(self) -> StoredNodes | None:
        """The stored tree; None where it cannot be read, which takes nothing away from the entries."""
        try:
            return self.stored_nodes()
        except LedgerError:
            return None

    def derived_faults(self) -> tuple[str, ...]:
        """What is wrong with index, schema and the pages below, each a clause; nothing where nothing is."""
        faults = [f"the schema was changed at {name}" for name in self._changed()]
        try:
            fault = None if faults else self.index_fault()
        except LedgerError:
            faults.append("the index of rare entries cannot be read")
        else:
            faults += [] if fault is None else [f"entry {fault.seq}: {fault.what}"]
        if self.readable_nodes() is None:
            faults.append("the stored tree cannot be read")
        if not self.is_whole():
            faults.append("pages of the file are damaged")
        return tuple(faults)

    def _changed(self) -> list[str]:
        try:
            return self.schema_faults()
        except (sqlite3.Error, UnicodeDecodeError):
            return ["a place that cannot be read"]
