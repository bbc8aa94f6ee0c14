"""What is looked at before the ledger takes a new entry: do the last links hold, and what did a crash leave open?"""

from __future__ import annotations

import sqlite3
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from mycelos.ledger.chain import EMPTY, Head
from mycelos.ledger.entry import Draft, Entry, EntryError, Phase, entry_from_row, make_draft
from mycelos.ledger.events import Event
from mycelos.ledger.verify import tail_fault
from mycelos.proxy.ledger.checkpoint_rows import newest_checkpoint
from mycelos.proxy.ledger.database import SELECT, LedgerError, derived_fault, open_for_reading
from mycelos.proxy.ledger.rare_index import tail_index_fault
from mycelos.wire.identifiers import DEFAULT_TENANT

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mycelos.ledger.fault import Fault

_ALL: Final = 2**62
TAIL: Final = 1000
"""Entries at the end whose links are checked at each start; the whole log is for ``mycelos db audit verify``."""

EACH: Final = 1000
"""Intents without an outcome that are told one by one, the newest of each source. Older ones are told together: a
gateway can leave any number of them open, and no number of them may keep the proxy from starting."""


@dataclass
class Others:
    """Further intents of one source, between two numbers."""

    source: str
    last: int
    first: int = 0
    count: int = 0

    def draft(self) -> Draft:
        """The one entry for all of them."""
        return make_draft(
            Event.INTENT_UNRESOLVED,
            Phase.FACT,
            tenant=DEFAULT_TENANT,
            subject=self.source,
            outcome="unknown",
            reason="too many for an entry each",
            details={"count": self.count, "first_seq": self.first, "last_seq": self.last},
        )


@dataclass(frozen=True)
class Recovery:
    """What a start found: where the log ends, and the intents of the last epoch that have no outcome."""

    head: Head
    unresolved: tuple[Entry, ...]
    others: tuple[Others, ...] = ()

    def drafts(self) -> tuple[Draft, ...]:
        """One `intent.unresolved` for each, to be written together before anything else."""
        return tuple(others.draft() for others in self.others) + tuple(
            make_draft(
                Event.INTENT_UNRESOLVED,
                Phase.FACT,
                tenant=intent.tenant,
                principal=intent.principal,
                actor=intent.actor,
                run=intent.run,
                agent=intent.agent,
                subject=intent.subject,
                outcome="unknown",
                reason="the system stopped before the outcome was recorded; the effect may have happened",
                intent_seq=intent.seq,
                details={"event": intent.event},
            )
            for intent in self.unresolved
        )


def examine(path: Path, alive: Callable[[], None] | None = None) -> Recovery:
    """Check the tail's links and find intents without an outcome; ``alive`` is called while that goes on.

    Raises:
        LedgerError: a link of the tail is broken, the index has not what the tail has, a row that is needed is no
            entry, or the file cannot be read.
    """
    connection = open_for_reading(path, alive)
    try:
        # One state of the log for all that is read.
        connection.execute("BEGIN")
        head = _check_tail(connection, path)
        return Recovery(head, *_unresolved(connection, path))
    except EntryError as error:
        raise _unsound(path, f"a row of the ledger is no entry: {error}") from None
    finally:
        connection.close()


def _check_tail(connection: sqlite3.Connection, path: Path) -> Head:
    rows = connection.execute(f"{SELECT} ORDER BY seq DESC LIMIT ?", (TAIL + 1,)).fetchall()[::-1]
    # The oldest row of a longer log is the anchor: its own forerunner is not read.
    before = EMPTY
    if len(rows) > TAIL:
        anchor = entry_from_row(rows.pop(0))
        before = Head(anchor.seq, anchor.leaf_hash)
    fault, head = tail_fault(rows, before)
    if fault is None:
        of_index = _index_fault(connection, [(row[0], row[5]) for row in rows], before.seq + 1)
        if of_index is not None:
            message = f"the ledger's index is not that of its entries at entry {of_index.seq}: {of_index.what}"
            raise derived_fault(message)
    if fault is not None:
        raise _unsound(path, f"the ledger does not hold at entry {fault.seq}: {fault.what}")
    return head


def _index_fault(connection: sqlite3.Connection, rows: list[tuple[int, str]], first: int) -> Fault | None:
    # What the start asks for next is read by the index: who signs, who locked down, what an earlier start left open.
    try:
        return tail_index_fault(connection, rows, first)
    except sqlite3.Error as error:
        message = f"the ledger's index of rare entries cannot be read ({type(error).__name__})"
        raise derived_fault(message) from None


def _unsound(path: Path, what: str) -> LedgerError:
    way_out = (
        "Nothing is done without a sound ledger. Run mycelos db audit verify; "
        f"keep {path} as evidence; to go on without it: mycelos backup adopt"
    )
    return LedgerError(what, way_out)


def _unresolved(connection: sqlite3.Connection, path: Path) -> tuple[tuple[Entry, ...], tuple[Others, ...]]:
    # Earlier epochs were settled by the start that followed them: their findings are the first entries of the next.
    resolved: set[tuple[int, str]] = set()
    intents: list[int] = []
    found: Counter[str] = Counter()
    others: dict[str, Others] = {}
    # Facts, and all columns but these, are left to the database: a life may have millions of entries.
    for seq, phase, source, intent_seq in connection.execute(
        "SELECT seq, phase, source, intent_seq FROM audit_events "
        "WHERE seq >= ? AND phase IN ('intent', 'outcome') ORDER BY seq DESC",
        (_last_epoch(connection, path),),
    ):
        if phase == Phase.OUTCOME:
            resolved.add((intent_seq, source))
        # An outcome settles an intent of its own source only.
        elif (seq, source) in resolved:
            resolved.remove((seq, source))
        elif found[source] < EACH:
            found[source] += 1
            intents.append(seq)
        else:
            more = others.setdefault(source, Others(source, seq))
            more.first, more.count = seq, more.count + 1
    entries = (connection.execute(f"{SELECT} WHERE seq = ?", (seq,)).fetchone() for seq in reversed(intents))
    return tuple(map(entry_from_row, entries)), tuple(others.values())


def _last_epoch(connection: sqlite3.Connection, path: Path) -> int:
    """The number of the first entry of the newest epoch that was signed, or else of the newest at all.

    Epochs only grow, so that it is found by halving. What commands have added since without a key stands behind it.
    """
    signed = newest_checkpoint(connection, path)
    newest = connection.execute(
        "SELECT seq, epoch FROM audit_events WHERE seq < ? ORDER BY seq DESC LIMIT 1", (signed[0] if signed else _ALL,)
    ).fetchone()
    if newest is None:
        return 0
    low, high = 0, newest[0]
    while low < high:
        middle = (low + high) // 2
        found = connection.execute("SELECT epoch FROM audit_events WHERE seq = ?", (middle,)).fetchone()
        # A row that is missing is verification's to tell; here it is looked for further back.
        if found is not None and found[0] < newest[1]:
            low = middle + 1
        else:
            high = middle
    return int(low)
