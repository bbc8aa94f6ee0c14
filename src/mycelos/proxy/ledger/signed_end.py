"""Is the end of the log the one that the proxy signed? Asked at the start, before anything is added to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mycelos.ledger.checkpoint import Checkpoint, CheckpointError, open_checkpoint
from mycelos.ledger.events import Event
from mycelos.ledger.fault import FaultFoundError
from mycelos.ledger.unsigned import LIMIT, demand_unsigned
from mycelos.proxy.ledger.database import LedgerError
from mycelos.proxy.ledger.keys import NamedKeys, read_log_keys
from mycelos.proxy.ledger.last_signed import file_of, read_last_signed
from mycelos.proxy.ledger.reader import LedgerReader
from mycelos.proxy.vault.signing import verifies

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from mycelos.ledger.signed_note import VerifierKey

_EVIDENCE: Final = (
    "Nothing is done without a sound ledger. Run mycelos db audit verify; keep the file as evidence under another "
    "name; to go on without it: mycelos backup adopt"
)
_OLD_COPY: Final = (
    "Put back the newest copy of the data folder; to go on from this one, with every credential parked: mycelos backup "
    "adopt"
)


def demand_signed_end(path: Path, *, adopt: bool = False) -> NamedKeys | None:
    """Check the newest checkpoint, what stands after it, and the file of the last signed one; the keys of the log.

    None for a log that was never signed. ``adopt`` takes an old copy for what it is: the file is not looked at.

    Raises:
        LedgerError: the end of the log is not the one that was signed; the text says what to do.
    """
    with LedgerReader(path) as reader:
        keys = read_log_keys(reader)
        newest = reader.newest_checkpoint()
        if keys is None and newest is None:
            if not adopt:
                _demand_nothing_signed(path)
            return None
        if keys is None or newest is None:
            message = "the ledger names a key, and has no checkpoint"
            raise LedgerError(message, _EVIDENCE)
        note = newest[1].encode("utf-8", "surrogateescape")
        signed = _demand_root(reader, note, keys.accepted, f"the newest checkpoint in {path}")
        if signed.size != newest[0]:
            message = f"the newest checkpoint in {path} is not of the size that its row says"
            raise LedgerError(message, _EVIDENCE)
        if reader.misplaced_checkpoint() is not None:
            message = f"the checkpoints in {path} are not in their places"
            raise LedgerError(message, _EVIDENCE)
        _demand_known_tail(reader, signed.size, keys)
        if not adopt:
            _demand_last_signed(path, reader, keys, signed)
    return keys


def was_emptied(reader: LedgerReader, size: int) -> bool:
    """Whether a last signed note of a log with a checkpoint of ``size`` can only be empty because somebody emptied it.

    A crash leaves it so in the first life of the log alone, before the first answer.
    """
    first, last = reader.oldest(Event.LEDGER_CHECKPOINT), reader.entry(size - 1)
    return first is not None and last is not None and last.epoch > first.epoch


def demand_unused(path: Path) -> None:
    """A log that names no key has no entry but what a command adds beside a stopped system: its first start is to come.

    Raises:
        LedgerError: it has others; the text says what to do.
    """
    with LedgerReader(path) as reader:
        _demand_known_tail(reader, 0, None)


def _demand_nothing_signed(path: Path) -> None:
    if read_last_signed(path):
        message = f"{file_of(path)} was signed over another ledger than {path}, which names no key"
        raise LedgerError(message, _OLD_COPY)


def _demand_last_signed(path: Path, reader: LedgerReader, keys: NamedKeys, newest: Checkpoint) -> None:
    kept = file_of(path)
    note = read_last_signed(path)
    if note is None:
        message = f"{kept} is gone, which says how far the ledger was signed"
        raise LedgerError(message, _OLD_COPY)
    if not note and was_emptied(reader, newest.size):
        message = f"{kept} was emptied, which says how far the ledger was signed"
        raise LedgerError(message, _OLD_COPY)
    if note:
        last = _demand_root(reader, note, keys.keys, str(kept), _OLD_COPY)
        if last.size > newest.size:
            message = (
                f"{kept} was signed at {last.size} entries, and the newest checkpoint in {path} at {newest.size}: the "
                "ledger is an old copy"
            )
            raise LedgerError(message, _OLD_COPY)


def _demand_root(
    reader: LedgerReader, note: bytes, keys: Iterable[VerifierKey], where: str, way_out: str = _EVIDENCE
) -> Checkpoint:
    listed = tuple(keys)
    try:
        found = open_checkpoint(note, listed[0].name, listed, verifies)
    except CheckpointError as error:
        message = f"{where}: {error}"
        raise LedgerError(message, way_out) from None
    size = reader.tree.size
    if found.size > size:
        message = (
            f"the ledger is an old copy or was cut off: {where} was signed at {found.size} entries, and there are "
            f"{size}"
        )
        raise LedgerError(message, way_out)
    if reader.tree.root(found.size) != found.root:
        message = f"the ledger was written anew: {where} was signed over other entries"
        raise LedgerError(message, way_out)
    return found


def _demand_known_tail(reader: LedgerReader, signed: int, keys: NamedKeys | None) -> None:
    last = reader.entry(signed - 1)
    signers = "no key" if keys is None else " or ".join(map(str, keys.accepted))
    try:
        demand_unsigned(reader.after(signed - 1, LIMIT + 1), 0 if last is None else last.epoch, signers)
    except FaultFoundError as found:
        message = f"entry {found.fault.seq} of the ledger: {found.fault.what} ({found.fault.found})"
        raise LedgerError(message, _EVIDENCE) from None
