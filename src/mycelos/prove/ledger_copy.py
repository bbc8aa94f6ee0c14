"""A ledger's files as somebody sees them who may write them: read, changed past every guard, and written back."""

from __future__ import annotations

import sqlite3
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

from mycelos.ledger.chain import EMPTY, Head, computed_hash
from mycelos.ledger.merkle import Frontier
from mycelos.proxy.ledger.database import INSERT, INSERT_NODE, KEEP_CHECKPOINT, open_for_writing
from mycelos.proxy.ledger.last_signed import BLOCK, file_of
from mycelos.proxy.ledger.rare_index import INDEX
from mycelos.proxy.ledger.reader import LedgerReader
from mycelos.proxy.ledger.stored_tree import STORED_LEVELS, TILE_HEIGHT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mycelos.ledger.entry import Entry

_INDEX: Final = "audit_events_rare"
_TABLES: Final = ("audit_events", "tree_nodes", "checkpoints")


@dataclass
class LedgerCopy:
    """Entries, kept checkpoints by their size, and the note in `ledger.signed`, empty where there is none."""

    entries: list[Entry]
    notes: dict[int, str]
    signed: str

    @classmethod
    def read(cls, path: Path, limit: int) -> Self:
        """The ledger at ``path`` up to its last kept checkpoint of ``limit`` entries at most, as if it ended there.

        Nothing where there is no such checkpoint.

        Raises:
            LedgerError: it cannot be read.
        """
        with LedgerReader(path) as reader, reader.snapshot():
            notes = {size: note for size, note in reader.checkpoints() if size <= limit}
            size = max(notes, default=0)
            entries = reader.after(-1, size)
        return cls(entries, notes, notes.get(size, ""))

    def link(self) -> None:
        """Compute the chain anew over what the entries say now."""
        head, made = EMPTY, []
        for entry in self.entries:
            moved = entry._replace(seq=head.seq + 1, prev_hash=head.leaf_hash)
            made.append(moved._replace(leaf_hash=computed_hash(moved)))
            head = Head(made[-1].seq, made[-1].leaf_hash)
        self.entries = made

    def cut(self, size: int) -> None:
        """Leave the first ``size`` entries and the checkpoints of so many at most."""
        del self.entries[size:]
        self.notes = {at: note for at, note in self.notes.items() if at <= size}

    def write(self, path: Path) -> None:
        """Put this in the place of the ledger at ``path``, or make it, with the tree that fits.

        Raises:
            LedgerError, sqlite3.Error, OSError: it cannot be written.
        """
        open_for_writing(path).close()
        tree = Frontier()
        with unguarded(path) as connection:
            for table in _TABLES:
                connection.execute(f"DELETE FROM {table}")  # noqa: S608 - names from code
            connection.executemany(INSERT, self.entries)
            for entry in self.entries:
                nodes = tree.append(bytes.fromhex(entry.leaf_hash))
                connection.executemany(INSERT_NODE, [node for node in nodes if node[0] in STORED_LEVELS])
            kept = ((size >> TILE_HEIGHT, size, note) for size, note in sorted(self.notes.items()))
            connection.executemany(KEEP_CHECKPOINT, kept)
        put_signed(path, self.signed)


@contextmanager
def unguarded(path: Path) -> Iterator[sqlite3.Connection]:
    """The database in one transaction without its guards, which are put back as they were."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        guards = connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'").fetchall()
        connection.execute("BEGIN")
        for name, _ in guards:
            connection.execute(f"DROP TRIGGER {name}")
        yield connection
        for _, sql in guards:
            connection.execute(sql)
        connection.execute("COMMIT")


def forge_index(path: Path, column: str = "event", where: str = "true") -> None:
    """Fill the index of rare entries with SQL's ``column`` of the rows that ``where`` names, under its honest text."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(f"DROP INDEX {_INDEX}")
        connection.execute(f"CREATE INDEX {_INDEX} ON audit_events ({column}) WHERE {where}")
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute("UPDATE sqlite_master SET sql = ? WHERE name = ?", (INDEX, _INDEX))
        # Whoever has the file open reads the schema again.
        (cookie,) = connection.execute("PRAGMA schema_version").fetchone()
        connection.execute(f"PRAGMA schema_version = {cookie + 1}")


def put_signed(path: Path, note: str) -> None:
    """Write ``note`` into the `ledger.signed` of the ledger at ``path``."""
    file_of(path).write_bytes(note.encode("utf-8", "surrogateescape").ljust(BLOCK, b"\0"))
