"""The log's newest word on the vault, which the start holds the vault against, is never far from the end of the log.

The writer says it again, word for word, every `EVERY` entries. So a start finds it by walking back from the end that
was signed, link by link: no index can leave it out, and no row on the way can have been changed.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from mycelos.ledger.chain import forerunner_of
from mycelos.ledger.entry import Entry, EntryError, Phase, entry_from_row, make_draft
from mycelos.ledger.events import ANCHOR, STATES_VAULT, Event
from mycelos.ledger.merkle import ProofError, inclusion_proof, verify_inclusion
from mycelos.proxy.ledger.database import LedgerError
from mycelos.wire.identifiers import DEFAULT_TENANT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mycelos.ledger.entry import Draft
    from mycelos.proxy.ledger.reader import LedgerReader

EVERY: Final = 500
"""Entries behind the newest word after which it is said again, with the next group."""

GENERATION: Final = "vault_generation"
_WAY_ON: Final = "Keep the file as evidence and run mycelos db audit verify"


@dataclass(frozen=True)
class VaultWord:
    """What this life of the writer has said of the vault: the newest such details, and how many entries ago."""

    details: str = ""
    since: int = 0

    def drafts(self) -> tuple[Draft, ...]:
        """The same again, where it is due; nothing before anything was said."""
        if not self.details or self.since < EVERY:
            return ()
        said = json.loads(self.details)
        told = {name: said.get(name) for name in (GENERATION, ANCHOR)}
        return (make_draft(Event.LEDGER_VAULT_STATED, Phase.FACT, tenant=DEFAULT_TENANT, details=told),)

    def after(self, entries: Sequence[Entry]) -> VaultWord:
        """What it is once ``entries`` are on disk as well."""
        for behind, entry in enumerate(reversed(entries)):
            if states_vault(entry):
                return VaultWord(entry.details, behind)
        return VaultWord(self.details, self.since + len(entries))


def states_vault(entry: Entry) -> bool:
    """Whether ``entry`` says what the vault held."""
    # The name with its quotes and colon: inside a text of the details the quotes are escaped.
    return entry.event in STATES_VAULT and f'"{ANCHOR}":' in entry.details


def newest_word(reader: LedgerReader) -> Entry | None:
    """The newest entry that says what the vault held; None where none does.

    Of a log that was signed it looks at what is signed; behind that stands nothing that speaks of the vault.

    Raises:
        LedgerError: the file is damaged there, or a row on the way is not the one that was signed.
    """
    newest = reader.newest_checkpoint()
    size = reader.tree.size if newest is None else newest[0]
    wanted, left = "", size
    for row in reader.rows_back(size):
        try:
            entry = entry_from_row(row)
            wanted = forerunner_of(entry, left - 1, wanted or _leaf(reader, entry, size))
        except (EntryError, ProofError, ValueError) as error:
            raise _does_not_hold(str(error)) from None
        left -= 1
        if states_vault(entry):
            return entry
    if left:
        # A log whose beginning is gone says nothing of the vault only because somebody took that away.
        what = f"entry {left - 1} is missing"
        raise _does_not_hold(what)
    return None


def _does_not_hold(what: str) -> LedgerError:
    return LedgerError(f"the ledger does not hold near its end: {what}", _WAY_ON)


def _leaf(reader: LedgerReader, last: Entry, size: int) -> str:
    """The hash of the last of ``size`` entries, which is shown to be under the root of the stored tree.

    That root is the one that was signed: `mycelos.proxy.ledger.signed_end` asks for it at each start.

    Raises:
        ProofError, ValueError: it is not.
    """
    proof = inclusion_proof(size - 1, size, reader.tree.node)
    verify_inclusion(bytes.fromhex(last.leaf_hash), size - 1, size, proof, reader.tree.root(size))
    return last.leaf_hash
