"""The ledger as it lies there, verified: its rows and checkpoints in one reading, schema and index, the last note."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from mycelos.ledger.checkpoint import parse_text
from mycelos.ledger.fault import Fault
from mycelos.ledger.signed_note import parse_note
from mycelos.ledger.verify import Evidence, Verdict, Verification, verify
from mycelos.proxy.ledger.database import derived_fault, lies_there
from mycelos.proxy.ledger.last_signed import file_of, read_last_signed
from mycelos.proxy.ledger.reader import LedgerReader
from mycelos.proxy.ledger.signed_end import was_emptied
from mycelos.proxy.ledger.vault_order import vault_fault
from mycelos.proxy.vault.signing import verifies

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from mycelos.ledger.signed_note import VerifierKey


@dataclass(frozen=True)
class Verified:
    """What was found, and the newest checkpoint of what was walked: a note to remember, None where none was signed."""

    result: Verification
    checkpoint: str | None
    is_derived: bool = False
    """Whether nothing is at fault but the index or the schema, which `mycelos db audit rebuild` makes anew."""


def verify_ledger(
    path: Path,
    remembered: Mapping[str, Evidence],
    *,
    trusted: VerifierKey | None = None,
    progress: Callable[[int], None] = lambda _: None,
) -> Verified:
    """Verify the ledger at ``path``, of a running system or a stopped one. Arguments as `mycelos.ledger.verify.verify`.

    Where something is remembered, a ledger that is gone altogether is one whose end is missing.

    Raises:
        LedgerUnavailableError: the system does not let it be read now.
        LedgerError: it or the file of the last signed note is none, or there is none and nothing was remembered.
    """
    if remembered and not lies_there(path):
        return Verified(verify((), remembered, verifies, trusted=trusted), None)
    # First: what was signed by now must be in what is read next.
    last = read_last_signed(path)
    try:
        with LedgerReader(path) as reader, reader.snapshot():
            newest = reader.newest_checkpoint()
            result = verify(
                reader.items(last or None),
                remembered,
                verifies,
                trusted=trusted,
                stored=reader.stored_nodes(),
                progress=progress,
            )
            faults = reader.schema_faults()
            misplaced = reader.misplaced_checkpoint()
            # With another schema nothing can be said of the index, and nothing be read by it.
            of_index = None if faults else reader.index_fault()
            # By the index, so only where that was held against the rows; a row that is none is told by the walk.
            of_vault = None if faults or of_index or result.fault else vault_fault(reader)
            is_emptied = not faults and last == b"" and newest is not None and was_emptied(reader, newest[0])
    except (sqlite3.Error, UnicodeDecodeError):
        message = f"{path} is damaged below its rows; keep it as evidence"
        raise derived_fault(message) from None
    is_derived = result.fault is None and bool(faults or of_index)
    if faults:
        what = "the tables' definitions or their guards were changed"
        result = _broken(result, what, "the schema that the proxy makes", f"changed: {', '.join(faults)}")
    elif of_index is not None:
        result = _with_fault(result, of_index)
    elif of_vault is not None:
        result = _with_fault(result, of_vault)
    elif misplaced is not None:
        result = not_in_its_tile(result, misplaced)
    elif newest is not None and (last is None or is_emptied):
        what = "the file that says how far the log was signed is gone, or was emptied"
        result = _broken(result, what, str(file_of(path)), "no such file" if last is None else "an empty one")
    elif result.fault is None and (signed := _size(last)) > (kept := 0 if newest is None else newest[0]):
        # The commit comes before the file, and the file was read before the database.
        what = "the newest checkpoint is gone from the database"
        result = _broken(result, what, f"one of {signed} entries, as in {file_of(path)}", f"one of {kept} entries")
    return Verified(result, None if newest is None else newest[1], is_derived)


def not_in_its_tile(result: Verification, size: int) -> Verification:
    """The same where the checkpoint of ``size`` entries lies in another tile's row."""
    return _broken(result, "a checkpoint is not in its place", f"tile {size >> 8} for {size} entries", "another tile")


def _size(last: bytes | None) -> int:
    """Of a note that the walk has found sound; 0 where there is none."""
    return parse_text(parse_note(last).text).size if last else 0


def _broken(result: Verification, what: str, expected: str, found: str) -> Verification:
    return _with_fault(result, Fault(max(result.head.seq, 0), what, expected, found))


def _with_fault(result: Verification, fault: Fault) -> Verification:
    if result.fault is not None:
        return result
    return replace(result, verdict=Verdict.BROKEN, reason=fault.what, fault=fault)
