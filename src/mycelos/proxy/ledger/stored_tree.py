"""The Merkle tree as it lies in the database: leaf hashes in the entries, complete tiles above them.

Stored are the complete subtrees of 256, 65,536 and 16,777,216 entries (C2SP tlog-tiles has the same heights). Any other
complete subtree is at most 255 hashes away.
"""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Any, Final

from mycelos.ledger import merkle
from mycelos.proxy.ledger.database import LedgerError, unreadable

if TYPE_CHECKING:
    from pathlib import Path

TILE_HEIGHT: Final = 8
"""Levels of a tile: it has 256 hashes at its lower edge."""

STORED_LEVELS: Final = frozenset({8, 16, 24})

_LEAVES: Final = "SELECT leaf_hash FROM audit_events WHERE seq >= ? AND seq < ? ORDER BY seq"
_NODES: Final = "SELECT hash FROM tree_nodes WHERE level = ? AND place >= ? AND place < ? ORDER BY place"
_LAST: Final = "SELECT seq FROM audit_events ORDER BY seq DESC LIMIT 1"


class StoredTree:
    """The tree behind one connection to the ledger at ``path``."""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self._connection = connection
        self._path = path

    @property
    def size(self) -> int:
        """Entries that are there now.

        Raises:
            LedgerError: the file is damaged there.
        """
        rows = self._rows(_LAST)
        return rows[0][0] + 1 if rows else 0

    def node(self, level: int, place: int) -> bytes:
        """The complete subtree at ``level`` and ``place``: a `mycelos.ledger.merkle.Lookup`.

        Raises:
            LedgerError: a row that it needs is missing, is no hash, or cannot be read.
        """
        below = level - level % TILE_HEIGHT
        first = place << (level - below)
        hashes = self._hashes(below, first, 1 << (level - below))
        while len(hashes) > 1:
            hashes = merkle.hash_pairs(hashes)
        return hashes[0]

    def root(self, size: int) -> bytes:
        """The root over the first ``size`` entries.

        Raises:
            LedgerError: a row that it needs is missing, is no hash, or cannot be read.
        """
        return merkle.root_of(size, self.node)

    def _hashes(self, level: int, first: int, count: int) -> list[bytes]:
        if level == 0:
            found = _of_hex([text for (text,) in self._rows(_LEAVES, first, first + count)])
        else:
            found = [row[0] for row in self._rows(_NODES, level, first, first + count)]
        if len(found) != count or any(type(one) is not bytes or len(one) != merkle.HASH_LENGTH for one in found):
            message = (
                f"the ledger's tree lacks hashes of level {level} from place {first} on; "
                "keep the file as evidence and run mycelos db audit verify"
            )
            raise LedgerError(message)
        return found

    def _rows(self, statement: str, *values: int) -> list[Any]:
        try:
            return self._connection.execute(statement, values).fetchall()
        except (sqlite3.Error, UnicodeDecodeError) as error:
            raise unreadable(self._path, error) from None


def _of_hex(texts: list[str]) -> list[bytes]:
    """The hashes; none where one of them is no hexadecimal text."""
    try:
        return [bytes.fromhex(text) for text in texts]
    except (TypeError, ValueError):
        return []
