"""Verification: walk every entry, then compare with heads that were remembered outside the log.

The chain alone shows edits. Only a remembered head shows that the tail was cut off or everything was written anew,
so without one the verdict is *cannot tell*, never *holds*.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from mycelos.ledger.chain import EMPTY, Head, computed_hash
from mycelos.ledger.entry import EntryError, entry_from_row

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence


class Verdict(StrEnum):
    """What a verification says."""

    HOLDS = "holds"
    BROKEN = "broken"
    CANNOT_TELL = "cannot_tell"


EXIT_CODES: Final = {Verdict.HOLDS: 0, Verdict.BROKEN: 1, Verdict.CANNOT_TELL: 6}


@dataclass(frozen=True)
class Fault:
    """The first place where the log is not what it must be."""

    seq: int
    what: str
    expected: str
    found: str


@dataclass(frozen=True)
class Verification:
    """The verdict, its sentence, how much was walked, where the log ends, and the first fault if there is one.

    ``compared`` names the remembered heads that the log was held against.
    """

    verdict: Verdict
    reason: str
    entries: int
    head: Head
    compared: tuple[str, ...]
    fault: Fault | None

    @property
    def exit_code(self) -> int:
        """0 holds, 1 broken, 6 cannot tell."""
        return EXIT_CODES[self.verdict]


def verify(rows: Iterable[Sequence[object]], remembered: Mapping[str, Head]) -> Verification:
    """Walk ``rows`` (columns in the order of `COLUMNS`) from the first; ``remembered`` maps a keeper to its head."""
    keepers = tuple(sorted(remembered))
    head = EMPTY
    for row in rows:
        fault, head = _step(row, head)
        fault = fault or _differs_from_remembered(head, remembered)
        if fault is not None:
            return Verification(Verdict.BROKEN, _sentence(fault), fault.seq, head, keepers, fault)
    count = head.seq + 1
    fault = _cut_off(head, remembered)
    if fault is not None:
        return Verification(Verdict.BROKEN, _sentence(fault), count, head, keepers, fault)
    if not remembered:
        reason = "every link holds, but no head was remembered outside the log: a cut tail or a rewrite would not show"
        return Verification(Verdict.CANNOT_TELL, reason, count, head, keepers, None)
    reason = f"every link holds, up to and past the heads that {' and '.join(keepers)} remembered"
    return Verification(Verdict.HOLDS, reason, count, head, keepers, None)


def tail_fault(rows: Iterable[Sequence[object]], before: Head) -> tuple[Fault | None, Head]:
    """Check only the links of ``rows``, which come after ``before``: the first fault, and where the log ends."""
    head = before
    for row in rows:
        fault, head = _step(row, head)
        if fault is not None:
            return fault, head
    return None, head


def _step(row: Sequence[object], head: Head) -> tuple[Fault | None, Head]:
    place = head.seq + 1
    try:
        entry = entry_from_row(row)
    except EntryError as error:
        return Fault(place, "this row is not an entry", "an entry v1", str(error)), head
    if entry.seq != place:
        return Fault(place, "an entry is missing or out of order", f"entry {place}", f"entry {entry.seq}"), head
    if entry.prev_hash != head.leaf_hash:
        return Fault(place, "the entry does not follow the one before it", head.leaf_hash, entry.prev_hash), head
    computed = computed_hash(entry)
    if computed != entry.leaf_hash:
        return Fault(place, "the entry's content was changed", entry.leaf_hash, computed), head
    return None, Head(place, entry.leaf_hash)


def _differs_from_remembered(head: Head, remembered: Mapping[str, Head]) -> Fault | None:
    for keeper in sorted(remembered):
        kept = remembered[keeper]
        if kept.seq == head.seq and kept.leaf_hash != head.leaf_hash:
            what = f"the log was written anew: {keeper} remembers another entry here"
            return Fault(head.seq, what, kept.leaf_hash, head.leaf_hash)
    return None


def _cut_off(head: Head, remembered: Mapping[str, Head]) -> Fault | None:
    for keeper in sorted(remembered):
        kept = remembered[keeper]
        if kept.seq > head.seq:
            what = f"the end of the log is missing: {keeper} remembers entry {kept.seq}"
            found = f"the log ends with entry {head.seq}" if head.seq >= 0 else "the log is empty"
            return Fault(head.seq + 1, what, f"entry {kept.seq}", found)
    return None


def _sentence(fault: Fault) -> str:
    return f"entry {fault.seq}: {fault.what}"
