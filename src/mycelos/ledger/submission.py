"""What a log sends to a witness: the size it last cosigned, a proof from there, the checkpoint (C2SP tlog-witness)."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from typing import Final

from mycelos.ledger.checkpoint import SIZE_LIMIT
from mycelos.ledger.merkle import HASH_LENGTH
from mycelos.ledger.signed_note import NOTE_LIMIT

PROOF_LIMIT: Final = 63
"""Hashes of a proof, at most."""
SUBMISSION_LIMIT: Final = NOTE_LIMIT + 4096
"""Bytes of a submission, at most."""
SIZE_TYPE: Final = "text/x.tlog.size"
"""Media type of the answer that names the size which the witness has cosigned."""

_SIZE: Final = re.compile(r"(0|[1-9][0-9]{0,15})")


class SubmissionError(ValueError):
    """The bytes are no submission. The text says why."""


@dataclass(frozen=True)
class Submission:
    """``proof`` shows that the tree of ``note`` begins with that of ``old`` entries."""

    old: int
    proof: tuple[bytes, ...]
    note: bytes

    def body(self) -> bytes:
        """The request's body."""
        proof = b"".join(base64.b64encode(found) + b"\n" for found in self.proof)
        return b"old %d\n%s\n%s" % (self.old, proof, self.note)


def parse_submission(data: bytes) -> Submission:
    """Read a request's body; the note in it is read by whoever trusts a key.

    Raises:
        SubmissionError: another form.
    """
    head, separator, note = data.partition(b"\n\n")
    first, *lines = head.split(b"\n")
    old = parse_size(first.removeprefix(b"old ")) if first.startswith(b"old ") else None
    if not separator or old is None:
        message = "a submission is a line with the old size, a proof, an empty line and a checkpoint"
        raise SubmissionError(message)
    if len(lines) > PROOF_LIMIT:
        message = f"a proof has {PROOF_LIMIT} hashes at most"
        raise SubmissionError(message)
    return Submission(old, tuple(map(_hash, lines)), note)


def parse_size(data: bytes) -> int | None:
    """The number of entries that ``data`` says, or None where it says none."""
    try:
        text = data.decode("ascii")
    except UnicodeDecodeError:
        return None
    return int(text) if _SIZE.fullmatch(text) and int(text) < SIZE_LIMIT else None


def _hash(line: bytes) -> bytes:
    try:
        found = base64.b64decode(line, validate=True)
    except ValueError:
        found = b""
    if len(found) != HASH_LENGTH or base64.b64encode(found) != line:
        message = f"a line of the proof is {HASH_LENGTH} bytes in base64"
        raise SubmissionError(message)
    return found
