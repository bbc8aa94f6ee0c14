"""Checkpoints: size and root of the tree at one moment, as the text of a signed note (C2SP tlog-checkpoint)."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from mycelos.ledger.merkle import HASH_LENGTH
from mycelos.ledger.signed_note import NoteError, Sign, SignedNote, VerifierKey, Verifies, parse_note, sign_note

SIZE_LIMIT: Final = 2**53
"""Entries at most: what every reader of JSON counts to."""

_SIZE: Final = re.compile(r"(0|[1-9][0-9]{0,15})\Z")


class CheckpointError(ValueError):
    """The text is not a checkpoint, or not one of this log. The text says why."""


@dataclass(frozen=True)
class Checkpoint:
    """The head of the log ``origin`` at ``size`` entries; ``root`` is 32 bytes."""

    origin: str
    size: int
    root: bytes

    def text(self) -> str:
        """The text that is signed."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"

    def signed(self, signers: Iterable[tuple[VerifierKey, Sign]]) -> SignedNote:
        """This checkpoint as a note."""
        return sign_note(self.text(), signers)


def parse_text(text: str) -> Checkpoint:
    """Read the text of a note. Extension lines are refused: nobody could check what they say.

    Raises:
        CheckpointError: another form.
    """
    lines = text.split("\n")
    if len(lines) != 4 or lines[3] or not lines[0]:
        message = "a checkpoint has three lines: origin, size and root"
        raise CheckpointError(message)
    origin, size, encoded = lines[:3]
    if not _SIZE.match(size) or int(size) >= SIZE_LIMIT:
        message = "the second line of a checkpoint is the number of entries"
        raise CheckpointError(message)
    try:
        root = base64.b64decode(encoded, validate=True)
    except ValueError:
        root = b""
    if len(root) != HASH_LENGTH or base64.b64encode(root).decode() != encoded:
        message = "the third line of a checkpoint is the root, 32 bytes in base64"
        raise CheckpointError(message)
    return Checkpoint(origin, int(size), root)


def open_checkpoint(data: bytes, origin: str, keys: Iterable[VerifierKey], verifies: Verifies) -> Checkpoint:
    """The checkpoint of ``data``, signed by one of ``keys``, of the log ``origin``.

    Raises:
        CheckpointError: it is not one, of another log, or nobody trusted has signed it.
    """
    try:
        note = parse_note(data)
        note.verified_by(keys, verifies)
    except NoteError as error:
        message = f"the checkpoint cannot be trusted: {error}"
        raise CheckpointError(message) from None
    found = parse_text(note.text)
    if found.origin != origin:
        message = "the checkpoint is of another log"
        raise CheckpointError(message)
    return found
