"""The change of a signing key: one statement that names both keys and is signed by both (Ed25519, RFC 8032).

It stands in the intent of `key.rotated`, before the new key is used: whoever trusts the old key can go on from there to
the new one, and nobody who holds only one of the two can write it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from mycelos.ledger.canonical import canonical
from mycelos.ledger.entry import Phase, read_details
from mycelos.ledger.events import Event

if TYPE_CHECKING:
    from collections.abc import Callable

    from mycelos.ledger.entry import Entry

    Verifies = Callable[[bytes, bytes, bytes], bool]
    """Whether a public key (32 bytes) verifies a signature of a message: `mycelos.proxy.vault.signing.verifies`."""

_FORMAT: Final = "mycelos/key-change/1"
_FIELDS: Final = frozenset(
    {"name", "previous_key_id", "previous_public_key", "key_id", "public_key", "previous_signature", "signature"}
)


class KeyChangeError(ValueError):
    """The entry is no change of a signing key, or it is not signed by both keys."""


@dataclass(frozen=True)
class KeyChange:
    """Which key follows which; public keys are 32 bytes in lower-case hex."""

    name: str
    previous_key_id: str
    previous_public_key: str
    key_id: str
    public_key: str

    def statement(self) -> bytes:
        """What both keys sign: canonical JSON (RFC 8785)."""
        return canonical({
            "format": _FORMAT,
            "name": self.name,
            "previous": {"key_id": self.previous_key_id, "public_key": self.previous_public_key},
            "next": {"key_id": self.key_id, "public_key": self.public_key},
        })  # fmt: skip

    def details(self, previous_signature: bytes, signature: bytes) -> dict[str, Any]:
        """The fields of the entry that carries it."""
        return {
            "name": self.name,
            "previous_key_id": self.previous_key_id,
            "previous_public_key": self.previous_public_key,
            "key_id": self.key_id,
            "public_key": self.public_key,
            "previous_signature": previous_signature.hex(),
            "signature": signature.hex(),
        }


def check_key_change(entry: Entry, verifies: Verifies) -> KeyChange:
    """The change that ``entry`` carries, signed by the old key and by the new one.

    It says nothing of whether the old key is one to trust: compare `KeyChange.previous_public_key` with the one known.

    Raises:
        KeyChangeError: another event or phase, a field too many or too few, or a signature that does not verify.
    """
    if (entry.event, entry.phase) != (Event.KEY_ROTATED.value, Phase.INTENT.value):
        message = f"entry {entry.seq} announces no change of a key"
        raise KeyChangeError(message)
    details = read_details(entry)
    if set(details) != _FIELDS or not all(isinstance(value, str) for value in details.values()):
        message = f"entry {entry.seq} does not hold the fields of a change of a signing key"
        raise KeyChangeError(message)
    signatures = {"previous": details.pop("previous_signature"), "next": details.pop("signature")}
    change = KeyChange(**details)
    if change.previous_key_id == change.key_id or change.previous_public_key == change.public_key:
        message = f"entry {entry.seq}: the key does not change"
        raise KeyChangeError(message)
    statement = change.statement()
    for which, public_key in (("previous", change.previous_public_key), ("next", change.public_key)):
        try:
            has_signed = verifies(_bytes(public_key, 32), _bytes(signatures[which], 64), statement)
        except ValueError:
            has_signed = False
        if not has_signed:
            message = f"entry {entry.seq}: the {which} key has not signed this change"
            raise KeyChangeError(message)
    return change


def _bytes(text: str, length: int) -> bytes:
    value = bytes.fromhex(text)
    # One spelling for one value: upper case and spaces would be read too.
    if len(value) != length or value.hex() != text:
        message = f"expected {length} bytes in lower-case hex"
        raise ValueError(message)
    return value
