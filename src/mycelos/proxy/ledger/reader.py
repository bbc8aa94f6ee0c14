"""Reading the ledger: entries by filter, and every row in order for verification. Read-only, running or stopped."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain, islice, takewhile
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final, Self

from mycelos.ledger.entry import EntryError, entry_from_row
from mycelos.ledger.events import KNOWN, OUTSIDE, SUSPICIOUS
from mycelos.ledger.items import interleaved
from mycelos.ledger.log_filter import EVERYTHING, Filter
from mycelos.proxy.ledger.checkpoint_rows import misplaced_checkpoint, newest_checkpoint
from mycelos.proxy.ledger.database import SELECT, LedgerError, derived_fault, open_for_reading
from mycelos.proxy.ledger.rare_index import FALLING, RARE, RISING, index_fault
from mycelos.proxy.ledger.schema import schema_faults
from mycelos.proxy.ledger.stored_tree import STORED_LEVELS, StoredTree

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path
    from types import TracebackType

    from mycelos.ledger.entry import Entry
    from mycelos.ledger.events import Event
    from mycelos.ledger.fault import Fault
    from mycelos.ledger.log_filter import CountFilter
    from mycelos.ledger.walk import StoredNodes

# An index that somebody added is asked nowhere.
_ROWS: Final = f"{SELECT} NOT INDEXED ORDER BY seq"
_BACK: Final = f"{SELECT} NOT INDEXED WHERE seq < ? ORDER BY seq DESC"
_NODES: Final = "SELECT place, hash FROM tree_nodes WHERE level = ? ORDER BY place"
READ_LIMIT: Final = 10_000
"""Entries in one answer, at most."""


# What came of a request has its host as the subject, as its intent does; a refusal has it among its details. A row
# that was written past the ledger may hold anything there, and must not end the search.
HOST: Final = (
    "CASE event WHEN 'proxy.http_request' THEN subject "
    "ELSE CASE WHEN json_valid(details) THEN coalesce(json_extract(details, '$.host'), '') ELSE '' END END"
)
"""SQL for the host that an entry is about, empty where it is about none."""


def clauses(wanted: CountFilter) -> tuple[list[str], list[object]]:
    """``wanted`` as SQL conditions, and their values in order."""
    conditions: list[str] = []
    values: list[object] = []
    for name in wanted.__struct_fields__:
        value = getattr(wanted, name)
        # Not by truth: before the place 0 there is nothing.
        if value is None or value is False or name not in _FILTERED:
            continue
        condition, compared = (_CONDITIONS.get(name) or _is(name))(value)
        conditions.append(condition)
        values += compared
    return conditions, values


_Condition = Callable[[Any], tuple[str, Sequence[object]]]
"""Gives SQL for a value of a field, and what it compares with."""


def _is(column: str) -> _Condition:
    return lambda value: (f"{column} = ?", (value,))


def _among(column: str, listed: Collection[str], *, is_in: bool = True) -> tuple[str, Sequence[object]]:
    return f"{column} {'' if is_in else 'NOT '}IN ({', '.join('?' * len(listed))})", sorted(map(str, listed))


def _event(event: str) -> tuple[str, Sequence[object]]:
    # ``auth`` means every event of that area.
    return "(event = ? OR substr(event, 1, ?) = ?)", (event, len(event) + 1, f"{event}.")


def _source(source: str) -> tuple[str, Sequence[object]]:
    if source in {"known", "claimed"}:
        return _among("source", KNOWN, is_in=source == "known")
    return _is("source")(source)


_CONDITIONS: Final[Mapping[str, _Condition]] = {
    "before": lambda place: ("seq < ?", (place,)),
    "suspicious": lambda _: _among("event", SUSPICIOUS),
    "outside": lambda _: _among("event", OUTSIDE),
    "since": lambda moment: ("at >= ?", (moment,)),
    "event": _event,
    "host": _is(HOST),
    "source": _source,
}
"""The fields of a filter that are not a column's value; the others are."""
_FILTERED: Final = frozenset(Filter.__struct_fields__)


class LedgerReader:
    """A read-only connection. One thread at a time."""

    def __init__(self, path: Path, alive: Callable[[], None] | None = None, *, any_schema: bool = False) -> None:
        self._path = path
        self._connection = open_for_reading(path, alive, any_schema=any_schema)

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

    def newest(self, limit: int, wanted: Filter = EVERYTHING) -> list[Entry]:
        """The newest ``limit`` entries that match, oldest first."""
        conditions, values = clauses(wanted)
        where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
        return self._entries(f"{SELECT}{where} ORDER BY seq DESC LIMIT ?", [*values, _capped(limit)])[::-1]

    def newest_of_each_event(self, limit: int, wanted: Filter) -> list[Entry]:
        """Of the entries that match, the newest ``limit`` of every event, oldest first."""
        conditions, values = clauses(wanted)
        where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
        place = "row_number() OVER (PARTITION BY event ORDER BY seq DESC)"
        places = f"SELECT seq, {place} AS place FROM audit_events{where}"  # noqa: S608 - from code
        chosen = f"SELECT seq FROM ({places}) WHERE place <= ?"  # noqa: S608 - from code
        return self._entries(f"{SELECT} WHERE seq IN ({chosen}) ORDER BY seq", [*values, _capped(limit)])

    def count(self, wanted: Filter) -> int:
        """How many entries match."""
        conditions, values = clauses(wanted)
        if not conditions:
            return self.last() + 1
        try:
            found = self._connection.execute(
                f"SELECT count(*) FROM audit_events WHERE {' AND '.join(conditions)}",  # noqa: S608 - from code
                values,
            ).fetchone()
        except sqlite3.Error:
            message = f"{self._path} cannot be counted; run mycelos db audit verify"
            raise LedgerError(message) from None
        return int(found[0])

    def after(self, seq: int, limit: int, wanted: Filter = EVERYTHING) -> list[Entry]:
        """The first ``limit`` entries after ``seq`` that match, in order."""
        conditions, values = clauses(wanted)
        where = " AND ".join(["seq > ?", *conditions])
        return self._entries(f"{SELECT} WHERE {where} ORDER BY seq LIMIT ?", [seq, *values, _capped(limit)])

    def oldest(self, event: Event) -> Entry | None:
        """The first entry of a rare ``event``, or None."""
        return next(self._rare(event, RISING), None)

    def every(self, events: Iterable[str], after: int = -1) -> list[Entry]:
        """All entries of rare ``events`` behind number ``after``, in order."""
        found = (takewhile(lambda entry: entry.seq > after, self._rare(event, FALLING)) for event in events)
        return sorted(chain.from_iterable(found), key=attrgetter("seq"))

    def newest_of(self, events: Iterable[str]) -> Entry | None:
        """The newest entry of rare ``events``, or None."""
        found = (islice(self._rare(event, FALLING), 1) for event in events)
        return max(chain.from_iterable(found), key=attrgetter("seq"), default=None)

    @property
    def tree(self) -> StoredTree:
        """The tree as it lies in the file."""
        return StoredTree(self._connection, self._path)

    def misplaced_checkpoint(self) -> int | None:
        """The size of a checkpoint that is not in the row of its tile; None where all are.

        Raises:
            LedgerError: the file is damaged there.
        """
        return misplaced_checkpoint(self._connection, self._path)

    def newest_checkpoint(self, most: int | None = None) -> tuple[int, str] | None:
        """Size and note of the newest checkpoint, of ``most`` entries at most; None where none was signed.

        Raises:
            LedgerError: the file is damaged there.
        """
        return newest_checkpoint(self._connection, self._path, most)

    def last(self) -> int:
        """The place of the newest entry, -1 where there is none."""
        found = self.newest(1)
        return found[0].seq if found else -1

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Inside the block everything is read as it was at its first reading, whatever is written meanwhile."""
        self._connection.execute("BEGIN")
        try:
            yield
        finally:
            self._connection.execute("ROLLBACK")

    def checkpoints(self) -> list[tuple[int, str]]:
        """Size and note of each checkpoint that is kept, the smallest first.

        Raises:
            LedgerError: the file is damaged below the level of rows.
        """
        try:
            found = self._connection.execute("SELECT size, note FROM checkpoints NOT INDEXED ORDER BY size").fetchall()
        except sqlite3.Error:
            found = [()]
        if not all(tuple(map(type, row)) == (int, str) for row in found):
            message = f"{self._path} is damaged: its checkpoints cannot be read"
            raise LedgerError(message) from None
        return found

    def items(self, last_signed: bytes | None = None) -> Iterator[Sequence[object] | bytes]:
        """Every row, and each checkpoint after the last row that it covers: what verification walks.

        ``last_signed`` is the note of the file beside the database.

        Raises:
            LedgerError: the file is damaged below the level of rows.
        """
        notes = ((size, note.encode("utf-8", "surrogateescape")) for size, note in self.checkpoints())
        return interleaved(self.rows(), notes, last_signed)

    def stored_nodes(self) -> StoredNodes:
        """The stored tree, level by level: what verification holds against the entries of the same `snapshot`.

        Raises:
            LedgerError: the file is damaged there.
        """
        try:
            return {level: self._connection.execute(_NODES, (level,)).fetchall() for level in STORED_LEVELS}
        except sqlite3.Error:
            message = f"{self._path} is damaged: its tree cannot be read"
            raise derived_fault(message) from None

    def rows(self) -> Iterator[Sequence[object]]:
        """Every row from the first, unchecked: what verification walks.

        Raises:
            LedgerError: the file is damaged below the level of rows.
        """
        yield from self.readable_rows()
        # Keys inside the tree can be bent so that a search misses rows that this walk has met.
        if not self.is_whole():
            message = f"{self._path} is damaged below its rows: a search can miss some of them; keep it as evidence"
            raise derived_fault(message)

    def readable_rows(self) -> Iterator[Sequence[object]]:
        """The same, whatever the pages are like that this walk does not need.

        Raises:
            LedgerError: a page that it needs is damaged.
        """
        count = 0
        try:
            for row in self._plain_rows():
                yield row
                count += 1
        except sqlite3.Error:
            message = f"{self._path} is damaged: its rows can be read only up to number {count}"
            raise LedgerError(message) from None

    def is_whole(self) -> bool:
        """Whether SQLite finds no fault in its pages."""
        try:
            return bool(self._connection.execute("PRAGMA quick_check(1)").fetchone() == ("ok",))
        except sqlite3.Error:
            return False

    def rows_back(self, end: int) -> Iterator[Sequence[object]]:
        """Every row before number ``end``, unchecked, from the last back.

        Raises:
            LedgerError: the file is damaged there.
        """
        try:
            yield from self._connection.execute(_BACK, (end,))
        except sqlite3.Error:
            message = f"{self._path} is damaged: its rows cannot be read from the end; run mycelos db audit verify"
            raise LedgerError(message) from None

    def schema_faults(self) -> list[str]:
        """Tables, triggers and indexes that are missing, changed or added."""
        return schema_faults(self._connection)

    def index_fault(self) -> Fault | None:
        """The first entry at which the index and the rows of the same `snapshot` differ, where the schema is ours.

        Raises:
            LedgerError: the file is damaged there.
        """
        try:
            return index_fault(self._connection)
        except sqlite3.Error:
            message = f"{self._path} is damaged: its index cannot be read"
            raise derived_fault(message) from None

    def _plain_rows(self) -> Iterator[Sequence[object]]:
        """Every row. Text is read as text; only where it is none, byte by byte from there on, which takes longer."""
        count, tolerant = 0, self._connection.text_factory
        self._connection.text_factory = str
        try:
            for row in self._connection.execute(_ROWS):
                yield row
                count += 1
        except sqlite3.OperationalError:
            self._connection.text_factory = tolerant
            # From the first anew: where keys were bent, a search would find others than this walk.
            yield from islice(self._connection.execute(_ROWS), count, None)
        finally:
            self._connection.text_factory = tolerant

    def _rare(self, event: str, statement: str) -> Iterator[Entry]:
        """The entries of a rare ``event``: their numbers by the index, and what they say by the log itself."""
        if event not in RARE:
            message = f"{event} is not in the index of rare entries"
            raise ValueError(message)
        try:
            for seq, _ in self._connection.execute(statement, (event,)):
                entry = self.entry(seq)
                if entry is None or entry.event != event:
                    message = f"{self._path}: its index has an entry that is not there"
                    raise derived_fault(message)
                yield entry
        except sqlite3.Error:
            message = f"{self._path}: its index cannot be read"
            raise derived_fault(message) from None

    def _entries(self, statement: str, values: list[object]) -> list[Entry]:
        try:
            return [entry_from_row(row) for row in self._connection.execute(statement, values)]
        except (EntryError, sqlite3.Error) as error:
            what = str(error) if isinstance(error, EntryError) else "the file is damaged"
            message = f"{self._path} cannot be read here ({what}); run mycelos db audit verify"
            raise LedgerError(message) from None


def _capped(limit: int) -> int:
    return max(0, min(limit, READ_LIMIT))
