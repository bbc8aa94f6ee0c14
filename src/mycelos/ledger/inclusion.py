"""A proof that one entry is in the log, as a file that is checked offline (C2SP tlog-proof)."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from mycelos.ledger.checkpoint import Checkpoint, open_checkpoint
from mycelos.ledger.merkle import HASH_LENGTH, ProofError, verify_inclusion
from mycelos.ledger.signed_note import NOTE_LIMIT, VerifierKey, Verifies

FORMAT: Final = "c2sp.org/tlog-proof@v1"
PATH_LIMIT: Final = 63
"""Hashes on the way to the root, at most."""

_EXTRA: Final = "extra "
_INDEX: Final = re.compile(r"index (0|[1-9][0-9]{0,15})\Z")
_SIZE_LIMIT: Final = NOTE_LIMIT + 16 * 1024


@dataclass(frozen=True)
class InclusionProof:
    """Entry ``index``, the path from it to the root of ``checkpoint``, which is the signed note as bytes.

    ``extra`` is what others add for themselves; ours have none. Nothing authenticates it.
    """

    index: int
    path: tuple[bytes, ...]
    checkpoint: bytes
    extra: bytes | None = None

    def __bytes__(self) -> bytes:
        """The file."""
        extra = [] if self.extra is None else [f"{_EXTRA}{base64.b64encode(self.extra).decode()}"]
        hashes = (base64.b64encode(found).decode() for found in self.path)
        lines = [FORMAT, *extra, f"index {self.index}", *hashes, ""]
        return "".join(f"{line}\n" for line in lines).encode() + self.checkpoint

    def verify(self, leaf: bytes, origin: str, keys: Iterable[VerifierKey], verifies: Verifies) -> Checkpoint:
        """Check the signature and the path of the entry with the hash ``leaf``; gives the checkpoint.

        Raises:
            CheckpointError: nobody trusted has signed the checkpoint, or it is of another log.
            ProofError: the entry is not shown to be there.
        """
        found = open_checkpoint(self.checkpoint, origin, keys, verifies)
        verify_inclusion(leaf, self.index, found.size, self.path, found.root)
        return found


def parse_proof(data: bytes) -> InclusionProof:
    """Read a proof.

    Raises:
        ProofError: another form.
    """
    head, separator, checkpoint = data[:_SIZE_LIMIT].partition(b"\n\n")
    try:
        lines = head.decode("ascii").split("\n")
    except UnicodeDecodeError:
        lines = []
    if len(data) > _SIZE_LIMIT or not separator or len(lines) < 2 or lines[0] != FORMAT:
        message = f"a proof begins with the line {FORMAT}"
        raise ProofError(message)
    extra = _decode(lines.pop(1).removeprefix(_EXTRA)) if lines[1].startswith(_EXTRA) else None
    index = _INDEX.match(lines[1]) if len(lines) > 1 else None
    if index is None:
        message = "a proof names the index of its entry before its hashes"
        raise ProofError(message)
    if len(lines) - 2 > PATH_LIMIT:
        message = f"a proof has {PATH_LIMIT} hashes at most"
        raise ProofError(message)
    path = tuple(map(_decode, lines[2:]))
    if any(len(found) != HASH_LENGTH for found in path):
        message = f"a hash of a proof has {HASH_LENGTH} bytes"
        raise ProofError(message)
    return InclusionProof(int(index[1]), path, checkpoint, extra)


def _decode(text: str) -> bytes:
    try:
        found = base64.b64decode(text, validate=True)
    except ValueError:
        found = None
    # One spelling for one value.
    if found is None or base64.b64encode(found).decode() != text:
        message = "a line of a proof is not base64"
        raise ProofError(message)
    return found
