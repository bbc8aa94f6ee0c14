"""Cosignatures: a witness's word that a checkpoint follows all that it saw before (C2SP tlog-cosignature, Ed25519).

The line has the form of a note's signature. What is signed is the checkpoint's text below two lines of its own, the
second of which is the time, so the key is another kind than the log's and can never sign a checkpoint itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final

from mycelos.ledger.signed_note import NoteError, Sign, Signature, SignedNote, VerifierKey, Verifies, parse_note

_TIME_LENGTH: Final = 8
_LATEST: Final = 2**63


class CosignerKey(VerifierKey):
    """A witness's public key. Its vkey and key id have the kind 0x04."""

    KIND: ClassVar[bytes] = b"\x04"


@dataclass(frozen=True)
class Cosigned:
    """A checkpoint with the lines of its witness. ``at`` is the newest time in them, in seconds since 1970."""

    note: SignedNote
    at: int


def cosign(text: str, key: CosignerKey, at: int, sign: Sign) -> Signature:
    """The line by which ``key`` vouches for the checkpoint's ``text`` at the time ``at``, seconds since 1970."""
    stamp = at.to_bytes(_TIME_LENGTH, "big")
    return Signature(key.name, key.key_id, stamp + sign(_message(text, at)))


def with_lines(note: SignedNote, lines: bytes) -> SignedNote:
    """``note`` with the witness's ``lines`` below its own signatures.

    Raises:
        NoteError: they are not signature lines alone.
    """
    if not lines:
        message = "the witness answered without a line"
        raise NoteError(message)
    whole = parse_note(str(note).encode() + lines)
    # An empty line in them would make the checkpoint's own lines part of the text.
    if whole.text != note.text:
        message = "the witness answered more than lines"
        raise NoteError(message)
    return whole


def cosigned_by(whole: SignedNote, key: CosignerKey, verifies: Verifies) -> Cosigned:
    """The note as far as ``key`` has cosigned it; lines of other keys are passed over.

    Raises:
        NoteError: this key has not, or a line of it does not verify.
    """
    times = []
    for line in whole.signatures:
        if (line.name, line.key_id) != (key.name, key.key_id):
            continue
        at = int.from_bytes(line.value[:_TIME_LENGTH], "big")
        if at >= _LATEST or not verifies(key.public_key, line.value[_TIME_LENGTH:], _message(whole.text, at)):
            message = f"the cosignature of {key.name} does not verify"
            raise NoteError(message)
        times.append(at)
    if not times:
        message = f"{key.name} has not cosigned this"
        raise NoteError(message)
    return Cosigned(whole, max(times))


def _message(text: str, at: int) -> bytes:
    return f"cosignature/v1\ntime {at}\n{text}".encode()
