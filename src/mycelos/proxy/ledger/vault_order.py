"""What the log says of the vault, held against itself: its changes only grow, but for a restore that is on record.

A start holds the vault against the newest word of the log, as the index names it. Whoever hid that word for one start
and put the index right again has left every row as it was: what shows it then is a later word of an earlier change.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mycelos.ledger.entry import read_details
from mycelos.ledger.events import ANCHORED, Event
from mycelos.ledger.fault import Fault
from mycelos.proxy.ledger.vault_word import GENERATION

if TYPE_CHECKING:
    from mycelos.proxy.ledger.reader import LedgerReader

_SET_BACK: Final = "the vault was set back before this entry, and no restore is on record"


def vault_fault(reader: LedgerReader) -> Fault | None:
    """The first entry that speaks of an earlier change of the vault than one before it; None where none does.

    It asks the index, which the caller has held against the rows of the same snapshot.

    Raises:
        LedgerError: the file is damaged there.
    """
    newest = -1
    for entry in reader.every(event.value for event in ANCHORED):
        if entry.event == Event.LEDGER_RESTORED:
            # From here on another vault is spoken of.
            newest = -1
        generation = read_details(entry).get(GENERATION)
        if type(generation) is not int:
            continue
        if generation < newest:
            return Fault(entry.seq, _SET_BACK, f"change {newest} or a later one", f"change {generation}")
        newest = generation
    return None
