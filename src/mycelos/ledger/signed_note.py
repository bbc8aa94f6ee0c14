"""Signed notes: a text and, below an empty line, who signed it (C2SP signed-note, Ed25519 signatures alone).

A key is named by a name and an id; as text it is a *vkey*: ``name+id in hex+base64 of 0x01 and the public key``.
Signing and the arithmetic of verifying are the caller's: this module draws up what is signed and says by whom it was.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Final, Self

ED25519: Final = b"\x01"
"""The signature type's byte."""
NOTE_LIMIT: Final = 64 * 1024
"""Bytes of a note, at most."""
SIGNATURE_LIMIT: Final = 100
"""Signature lines, at most; the specification asks for 16 at least."""

_PREFIX: Final = "— "
_KEY_LENGTH: Final = 32
_CONTROL: Final = re.compile(r"[\x00-\x09\x0b-\x1f]")
_NAME: Final = re.compile(r"[^\s+\ud800-\udfff]+\Z")

Sign = Callable[[bytes], bytes]
"""Makes the 64-byte Ed25519 signature (RFC 8032) of a text."""


Verifies = Callable[[bytes, bytes, bytes], bool]
"""Whether a public key (32 bytes) verifies a signature of a message: `mycelos.proxy.vault.signing.verifies`."""


class NoteError(ValueError):
    """The text is not a signed note, or not one signed by a key that is trusted. The text says why."""


@dataclass(frozen=True)
class VerifierKey:
    """A public key that is trusted to sign under ``name``. ``public_key`` is 32 bytes."""

    KIND: ClassVar[bytes] = ED25519

    name: str
    public_key: bytes

    def __post_init__(self) -> None:
        """Refuse what no signature line could name.

        Raises:
            NoteError: a name with a space, a plus or nothing in it, or a key of another length.
        """
        if not _NAME.match(self.name) or _CONTROL.search(self.name):
            message = "a key's name is text, not empty, and holds no space and no plus sign"
            raise NoteError(message)
        if len(self.public_key) != _KEY_LENGTH:
            message = f"an Ed25519 public key has {_KEY_LENGTH} bytes"
            raise NoteError(message)

    @cached_property
    def key_id(self) -> bytes:
        """Four bytes that tell keys of one name apart; no proof of anything."""
        return hashlib.sha256(self.name.encode() + b"\n" + self.KIND + self.public_key).digest()[:4]

    @classmethod
    def parse(cls, vkey: str) -> Self:
        """The key of a vkey.

        Raises:
            NoteError: another form, another kind of key, or an id that is not this key's.
        """
        name, _, rest = vkey.partition("+")
        key_id, _, encoded = rest.partition("+")
        data = _decode(encoded)
        if data[:1] != cls.KIND:
            message = f"this is not a vkey of kind 0x{cls.KIND.hex()} (Ed25519)"
            raise NoteError(message)
        key = cls(name, data[1:])
        if key_id != key.key_id.hex():
            message = "the vkey's id is not the one of its key"
            raise NoteError(message)
        return key

    def __str__(self) -> str:
        """The vkey."""
        return f"{self.name}+{self.key_id.hex()}+{base64.b64encode(self.KIND + self.public_key).decode()}"


@dataclass(frozen=True)
class Signature:
    """One signature line. ``value`` is what stands behind the four bytes of the id."""

    name: str
    key_id: bytes
    value: bytes

    def __str__(self) -> str:
        """The line, without its end."""
        return f"{_PREFIX}{self.name} {base64.b64encode(self.key_id + self.value).decode()}"


@dataclass(frozen=True)
class SignedNote:
    """A note as it was read; nothing of ``text`` may be believed before `verified_by`."""

    text: str
    signatures: tuple[Signature, ...]

    def __str__(self) -> str:
        """The note."""
        return f"{self.text}\n" + "".join(f"{line}\n" for line in self.signatures)

    @property
    def signers(self) -> str:
        """Who says to have signed, as the beginnings of vkeys; nothing of it is verified."""
        return " and ".join(f"{line.name}+{line.key_id.hex()}" for line in self.signatures)

    def verified_by(self, keys: Iterable[VerifierKey], verifies: Verifies) -> tuple[VerifierKey, ...]:
        """Those of ``keys`` that have signed, each once. Lines of other keys are passed over.

        Raises:
            NoteError: none of them has, or a line of one of them does not verify.
        """
        trusted = {(key.name, key.key_id): key for key in keys}
        found: dict[VerifierKey, None] = {}
        for line in self.signatures:
            key = trusted.get((line.name, line.key_id))
            if key is None or key in found:
                continue
            if not verifies(key.public_key, line.value, self.text.encode()):
                message = f"the signature of {key.name} does not verify"
                raise NoteError(message)
            found[key] = None
        if not found:
            message = "no trusted key has signed this"
            raise NoteError(message)
        return tuple(found)


def parse_note(data: bytes) -> SignedNote:
    """Read a note.

    Raises:
        NoteError: too long, not UTF-8, control characters, no signature, or a line that is none.
    """
    if len(data) > NOTE_LIMIT:
        message = f"a note has {NOTE_LIMIT} bytes at most"
        raise NoteError(message)
    try:
        whole = data.decode("utf-8")
    except UnicodeDecodeError:
        message = "a note is UTF-8"
        raise NoteError(message) from None
    if _CONTROL.search(whole):
        message = "a note holds no control characters"
        raise NoteError(message)
    text, separator, signed = whole.rpartition("\n\n")
    if not separator or not signed.endswith("\n"):
        message = "a note is a text, an empty line, and lines of signatures"
        raise NoteError(message)
    lines = signed[:-1].split("\n")
    if len(lines) > SIGNATURE_LIMIT:
        message = f"a note has {SIGNATURE_LIMIT} signatures at most"
        raise NoteError(message)
    return SignedNote(f"{text}\n", tuple(map(_parse_line, lines)))


def sign_note(text: str, signers: Iterable[tuple[VerifierKey, Sign]]) -> SignedNote:
    """The note of ``text``, which ends with a newline, signed by each of ``signers``.

    Raises:
        NoteError: a text that no note can hold.
    """
    if not text.endswith("\n") or _CONTROL.search(text):
        message = "the text of a note ends with a newline and holds no other control character"
        raise NoteError(message)
    made = tuple(Signature(key.name, key.key_id, sign(text.encode())) for key, sign in signers)
    return SignedNote(text, made)


def _parse_line(line: str) -> Signature:
    name, separator, encoded = line.removeprefix(_PREFIX).partition(" ")
    if not line.startswith(_PREFIX) or not separator or not _NAME.match(name):
        message = "a line below the text is not a signature"
        raise NoteError(message)
    data = _decode(encoded)
    if len(data) <= _KEY_LENGTH // 8:
        message = "a signature is too short"
        raise NoteError(message)
    return Signature(name, data[:4], data[4:])


def _decode(encoded: str) -> bytes:
    try:
        data = base64.b64decode(encoded, validate=True)
    except (ValueError, binascii.Error):
        data = b""
    # One spelling for one value: what does not come back the same was written in another.
    if not data or base64.b64encode(data).decode() != encoded:
        message = "this is not base64"
        raise NoteError(message)
    return data
