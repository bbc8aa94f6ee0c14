"""What the witnesses' side knows of the ledger, and what can go wrong with one."""

from __future__ import annotations

from enum import StrEnum
from typing import Protocol

from mycelos.ledger.checkpoint import Checkpoint, CheckpointError, parse_text
from mycelos.ledger.merkle import ProofError, verify_consistency
from mycelos.ledger.signed_note import NoteError, SignedNote, parse_note


class LogView(Protocol):
    """The ledger, as far as a witness needs it."""

    @property
    def checkpoint(self) -> str | None:
        """The newest checkpoint, a signed note; None before the first one."""
        ...

    async def consistency(self, old: int, new: int) -> list[bytes]:
        """The proof (RFC 6962, section 2.1.2) that the first ``new`` entries begin with the first ``old``."""
        ...


class FaultCode(StrEnum):
    """What a witness did not do, as stable words for the record."""

    UNREACHABLE = "unreachable"
    INVALID_ANSWER = "invalid_answer"
    WRONG_COSIGNATURE = "wrong_cosignature"
    UNKNOWN_LOG = "unknown_log"
    UNTRUSTED_KEY = "untrusted_key"
    FORGOTTEN = "forgotten"
    END_MISSING = "end_missing"
    REWRITTEN = "rewritten"


DISAGREEMENTS = frozenset({FaultCode.END_MISSING, FaultCode.REWRITTEN})
"""The witness remembers another ledger than the one that is here."""


class WitnessFault(Exception):
    """A checkpoint was not taken. The text says why; ``size`` is what the witness remembers, where it says so."""

    def __init__(self, code: FaultCode, why: str, size: int | None = None) -> None:
        super().__init__(why)
        self.code = code
        self.size = size


def read_note(data: bytes | str) -> tuple[SignedNote, Checkpoint]:
    """A checkpoint and the note that it stands in, before anything of it is believed.

    Raises:
        NoteError, CheckpointError: it is not one.
    """
    note = parse_note(data.encode() if isinstance(data, str) else data)
    return note, parse_text(note.text)


async def demand_prefix(log: LogView, remembered: bytes) -> None:
    """That the ledger begins with what ``remembered``, a checkpoint, says.

    Raises:
        WitnessFault: it does not (`DISAGREEMENTS`), it is of another log, or it is no checkpoint.
    """
    try:
        _, old = read_note(remembered)
    except (NoteError, CheckpointError) as error:
        raise WitnessFault(FaultCode.INVALID_ANSWER, str(error)) from None
    if log.checkpoint is None:
        why = f"it remembers {old.size} entries, and the ledger has no checkpoint"
        raise WitnessFault(FaultCode.END_MISSING, why, old.size)
    _, new = read_note(log.checkpoint)
    if old.origin != new.origin:
        why = f"it remembers another log, {old.origin}; this one is {new.origin}"
        raise WitnessFault(FaultCode.UNKNOWN_LOG, why)
    if old.size > new.size:
        why = f"it remembers {old.size} entries, and the ledger's checkpoint has {new.size}"
        raise WitnessFault(FaultCode.END_MISSING, why, old.size)
    try:
        proof = await log.consistency(old.size, new.size)
        verify_consistency(old.size, new.size, proof, old.root, new.root)
    except ProofError as error:
        why = f"the ledger does not begin with the {old.size} entries that it remembers: {error}"
        raise WitnessFault(FaultCode.REWRITTEN, why, old.size) from None
