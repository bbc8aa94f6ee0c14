"""The Merkle tree as it lies in the database: leaf hashes in the entries, complete tiles above them.

Stored are the complete subtrees of 256, 65,536 and 16,777,216 entries (C2SP tlog-tiles has the same heights). Any other
complete subtree is at most 255 hashes away.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mycelos.ledger import merkle
from mycelos.proxy.ledger.database import LedgerError

if TYPE_CHECKING:
    import sqlite3

TILE_HEIGHT: Final = 8
"""Levels of a tile: it has 256 hashes at its lower edge."""

STORED_LEVELS: Final = frozenset({8, 16, 24})

_LEAVES: Final = "SELECT leaf_hash FROM audit_events WHERE seq >= ? AND seq < ? ORDER BY seq"
_NODES: Final = "SELECT hash FROM tree_nodes WHERE level = ? AND place >= ? AND place < ? ORDER BY place"
_LAST: Final = "SELECT seq FROM audit_events ORDER BY seq DESC LIMIT 1"


class StoredTree:
    """The tree behind one connection."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    @property
    def size(self) -> int:
        """Entries that are there now."""
        row = self._connection.execute(_LAST).fetchone()
        return row[0] + 1 if row else 0

    def node(self, level: int, place: int) -> bytes:
        """The complete subtree at ``level`` and ``place``: a `mycelos.ledger.merkle.Lookup`.

        Raises:
            LedgerError: a row that it needs is missing or is no hash.
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
            LedgerError: a row that it needs is missing or is no hash.
        """
        return merkle.root_of(size, self.node)

    def _hashes(self, level: int, first: int, count: int) -> list[bytes]:
        if level == 0:
            rows = self._connection.execute(_LEAVES, (first, first + count))
            found = _of_hex([text for (text,) in rows])
        else:
            found = [row[0] for row in self._connection.execute(_NODES, (level, first, first + count))]
        if len(found) != count or any(type(one) is not bytes or len(one) != merkle.HASH_LENGTH for one in found):
            message = (
                f"the ledger's tree lacks hashes of level {level} from place {first} on; "
                "keep the file as evidence and run mycelos db audit verify"
            )
            raise LedgerError(message)
        return found


def _of_hex(texts: list[str]) -> list[bytes]:
    """The hashes; none where one of them is no hexadecimal text."""
    try:
        return [bytes.fromhex(text) for text in texts]
    except (TypeError, ValueError):
        return []
