"""Keys for a ledger in tests: the same at each call, another with another number."""

from __future__ import annotations

from typing import Any

from mycelos.ledger.checkpoint import Checkpoint
from mycelos.ledger.key_change import KeyChange
from mycelos.ledger.signed_note import VerifierKey
from mycelos.proxy.ledger.keys import LedgerKeys, origin_of
from mycelos.proxy.vault.hazmat import Secret
from mycelos.proxy.vault.signing import Signer


def ledger_keys(number: int = 0) -> LedgerKeys:
    """The keys of this number."""
    signer = Signer(Secret(bytearray([number] * 32)))
    return LedgerKeys(mac_key=bytes(range(32)), key_id=f"key_{number}", public_key=signer.public_key, sign=signer.sign)


def change_from(old: LedgerKeys, new: LedgerKeys) -> dict[str, Any]:
    """The details of the intent to change ``old`` for ``new``, signed by both."""
    change = KeyChange("ledger-signing", old.key_id, old.public_key.hex(), new.key_id, new.public_key.hex())
    return change.details(old.sign(change.statement()), new.sign(change.statement()))


def note_of(size: int, root: bytes = bytes(32), number: int = 0, origin_number: int = 0) -> str:
    """A checkpoint of this size and root, signed by the key ``number`` of the log that began with the other."""
    keys, origin = ledger_keys(number), origin_of(ledger_keys(origin_number).public_key)
    key = VerifierKey(origin, keys.public_key)
    return str(Checkpoint(origin, size, root).signed([(key, keys.sign)]))
