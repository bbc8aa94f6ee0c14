"""Reading the ledger: entries by filter, and every row in order for verification. Read-only, running or stopped."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

from mycelos.ledger.entry import EntryError, entry_from_row
from mycelos.ledger.events import SUSPICIOUS
from mycelos.proxy.ledger.database import SELECT, LedgerError, open_for_reading, schema_faults

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path
    from types import TracebackType

    from mycelos.ledger.entry import Entry

READ_LIMIT: Final = 10_000
"""Entries in one answer, at most."""


@dataclass(frozen=True)
class Filter:
    """Which entries are wanted. Empty means any; ``since`` is RFC 3339 in UTC as entries have it."""

    suspicious: bool = False
    since: str | None = None
    event: str | None = None
    agent: str | None = None
    run: str | None = None

    def clauses(self) -> tuple[list[str], list[object]]:
        """SQL conditions and their values."""
        conditions: list[str] = []
        values: list[object] = []
        if self.suspicious:
            names = sorted(event.value for event in SUSPICIOUS)
            conditions.append(f"event IN ({', '.join('?' * len(names))})")
            values += names
        if self.event is not None:
            # ``auth`` means every event of that area.
            conditions.append("(event = ? OR substr(event, 1, ?) = ?)")
            values += [self.event, len(self.event) + 1, f"{self.event}."]
        for column, value in (("agent", self.agent), ("run", self.run)):
            if value is not None:
                conditions.append(f"{column} = ?")
                values.append(value)
        if self.since is not None:
            conditions.append("at >= ?")
            values.append(self.since)
        return conditions, values


class LedgerReader:
    """A read-only connection. One thread at a time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection = open_for_reading(path)

    def __enter__(self) -> Self:
        """Nothing more to open."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connection."""
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def entry(self, seq: int) -> Entry | None:
        """The entry at ``seq``, or None."""
        found = self._entries(f"{SELECT} WHERE seq = ?", [seq])
        return found[0] if found else None

    def newest(self, limit: int, wanted: Filter = Filter()) -> list[Entry]:
        """The newest ``limit`` entries that match, oldest first."""
        conditions, values = wanted.clauses()
        where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
        return self._entries(f"{SELECT}{where} ORDER BY seq DESC LIMIT ?", [*values, _capped(limit)])[::-1]

    def after(self, seq: int, limit: int, wanted: Filter = Filter()) -> list[Entry]:
        """The first ``limit`` entries after ``seq`` that match, in order."""
        conditions, values = wanted.clauses()
        where = " AND ".join(["seq > ?", *conditions])
        return self._entries(f"{SELECT} WHERE {where} ORDER BY seq LIMIT ?", [seq, *values, _capped(limit)])

    def rows(self) -> Iterator[Sequence[object]]:
        """Every row from the first, unchecked: what verification walks.

        Raises:
            LedgerError: the file is damaged below the level of rows.
        """
        count = 0
        try:
            for row in self._connection.execute(f"{SELECT} ORDER BY seq"):
                yield row
                count += 1
            # Keys inside the tree can be bent so that a search misses rows that this walk has met.
            is_sound = self._connection.execute("PRAGMA quick_check(1)").fetchone() == ("ok",)
        except sqlite3.Error:
            message = f"{self._path} is damaged: its rows can be read only up to number {count}"
            raise LedgerError(message) from None
        if not is_sound:
            message = f"{self._path} is damaged below its rows: a search can miss some of them; keep it as evidence"
            raise LedgerError(message)

    def schema_faults(self) -> list[str]:
        """Tables and triggers that are missing, changed or added."""
        return schema_faults(self._connection)

    def _entries(self, statement: str, values: list[object]) -> list[Entry]:
        try:
            return [entry_from_row(row) for row in self._connection.execute(statement, values)]
        except (EntryError, sqlite3.Error) as error:
            what = str(error) if isinstance(error, EntryError) else "the file is damaged"
            message = f"{self._path} cannot be read here ({what}); run mycelos db audit verify"
            raise LedgerError(message) from None


def _capped(limit: int) -> int:
    return max(0, min(limit, READ_LIMIT))
