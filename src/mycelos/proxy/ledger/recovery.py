"""What is looked at before the ledger takes a new entry: do the last links hold, and what did a crash leave open?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from mycelos.ledger.chain import EMPTY, Head
from mycelos.ledger.entry import Draft, Entry, Phase, entry_from_row, make_draft
from mycelos.ledger.events import Event
from mycelos.ledger.verify import tail_fault
from mycelos.proxy.ledger.database import SELECT, LedgerError, open_for_reading

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator
    from pathlib import Path

TAIL: Final = 1000
"""Entries at the end whose links are checked at each start; the whole log is for ``mycelos db audit verify``."""


@dataclass(frozen=True)
class Recovery:
    """What a start found: where the log ends, and the intents of the last epoch that have no outcome."""

    head: Head
    unresolved: tuple[Entry, ...]

    def drafts(self) -> tuple[Draft, ...]:
        """One `intent.unresolved` for each, to be written together before anything else."""
        return tuple(
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


def examine(path: Path) -> Recovery:
    """Check the tail's links and find intents without an outcome.

    Raises:
        LedgerError: a link of the tail is broken, or the file cannot be read.
    """
    connection = open_for_reading(path)
    try:
        head = _check_tail(connection, path)
        return Recovery(head, tuple(_unresolved(connection)))
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
    if fault is not None:
        message = (
            f"the ledger does not hold at entry {fault.seq}: {fault.what}. Nothing is done without a sound ledger. "
            f"Run mycelos db audit verify; keep {path} as evidence under another name, then start again"
        )
        raise LedgerError(message)
    return head


def _unresolved(connection: sqlite3.Connection) -> list[Entry]:
    # Earlier epochs were settled by the start that followed them: their findings are the first entries of the next.
    resolved: set[tuple[int, str]] = set()
    intents: list[Entry] = []
    for entry in _last_epoch(connection):
        if entry.phase == Phase.OUTCOME and entry.intent_seq is not None:
            resolved.add((entry.intent_seq, entry.source))
        elif entry.phase == Phase.INTENT and (entry.seq, entry.source) not in resolved:
            # An outcome settles an intent of its own source only.
            intents.append(entry)
    return intents[::-1]


def _last_epoch(connection: sqlite3.Connection) -> Iterator[Entry]:
    epoch = None
    for row in connection.execute(f"{SELECT} ORDER BY seq DESC"):
        entry = entry_from_row(row)
        epoch = entry.epoch if epoch is None else epoch
        if entry.epoch != epoch:
            return
        yield entry
