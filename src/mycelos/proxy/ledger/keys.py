"""What the ledger signs and keeps digests with, and which keys a log names for itself.

A log's first entry `ledger.checkpoint` names its origin and its first key; each change of the key is an intent
`key.rotated` that both keys have signed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from mycelos.ledger.checkpoint import SIZE_LIMIT
from mycelos.ledger.fault import FaultFoundError
from mycelos.ledger.log_keys import KEY_EVENTS, LogKeys
from mycelos.ledger.signed_note import NoteError, VerifierKey, parse_note
from mycelos.proxy.ledger.database import LedgerError, derived_fault
from mycelos.proxy.vault.signing import verifies

if TYPE_CHECKING:
    from mycelos.proxy.ledger.reader import LedgerReader

MAC_KEY_LENGTH: Final = 32
_ORIGINS: Final = "ledger.mycelos.internal/"


@dataclass(frozen=True)
class LedgerKeys:
    """The vault's keys for the ledger: ``mac_key`` (32 bytes), and the key of signatures by its public half.

    ``sign`` gives the 64 bytes of Ed25519; it may be called from any thread.
    """

    mac_key: bytes = field(repr=False)
    key_id: str
    public_key: bytes
    sign: Callable[[bytes], bytes] = field(repr=False)

    def __post_init__(self) -> None:
        """Refuse a key of another length.

        Raises:
            ValueError: the key is not 32 bytes.
        """
        if len(self.mac_key) != MAC_KEY_LENGTH:
            message = f"the key must be {MAC_KEY_LENGTH} bytes"
            raise ValueError(message)

    def declaration(self) -> dict[str, Any]:
        """The details of the entry with which a log begins to be signed."""
        return {
            "origin": origin_of(self.public_key),
            "key_id": self.key_id,
            "public_key": self.public_key.hex(),
        }


@dataclass(frozen=True)
class NamedKeys:
    """The keys that a log names for itself: every one, the newest last, and those that may sign what comes next."""

    origin: str
    keys: tuple[VerifierKey, ...]
    accepted: tuple[VerifierKey, ...]

    def demand_accepted(self, public_key: bytes | None) -> None:
        """The vault's key, None where it has none, is one that may sign what comes next.

        Raises:
            LedgerError: it is another.
        """
        if public_key not in {key.public_key for key in self.accepted}:
            message = (
                "the key in the vault that signs the ledger is not the one that the ledger names: vault and ledger are "
                "not of the same time"
            )
            raise LedgerError(message, "Put back both from one copy of the data folder")


def origin_of(first_public_key: bytes) -> str:
    """The name of the log whose first key is this one: it stays when the key changes."""
    return _ORIGINS + hashlib.sha256(first_public_key).hexdigest()[:16]


def read_log_keys(reader: LedgerReader) -> NamedKeys | None:
    """The keys that the log names, by the rule of `mycelos.ledger.log_keys`; None for one that was never signed.

    Raises:
        LedgerError: an entry that names a key is not as it must be, or none is found where something was signed.
    """
    found, every = LogKeys(verifies), dict[VerifierKey, None]()
    entries = reader.every(KEY_EVENTS)
    ends = (*(entry.seq for entry in entries[1:]), SIZE_LIMIT)
    try:
        for entry, end in zip(entries, ends, strict=False):
            found.read(entry)
            every |= dict.fromkeys(found.accepted)
            if len(found.accepted) > 1:
                _take_in(found, reader.newest_checkpoint(end), entry.seq)
    except FaultFoundError:
        message = (
            "an entry of the ledger that names its signing key is not as it must be; keep the file as evidence and "
            "run mycelos db audit verify"
        )
        raise LedgerError(message) from None
    if found.origin is None and reader.newest_checkpoint() is not None:
        message = "the ledger was signed, and its index of rare entries finds no entry that names a key"
        raise derived_fault(message)
    return None if found.origin is None else NamedKeys(found.origin, tuple(every), found.accepted)


def _take_in(keys: LogKeys, checkpoint: tuple[int, str] | None, seq: int) -> None:
    """Whoever has signed the newest checkpoint before the next entry about a key has the key in use there.

    One before ``seq`` says nothing. One that no key of the log has signed says nothing here: where the log ends in it,
    the start refuses it, and elsewhere `mycelos db audit verify` does.
    """
    if checkpoint is None or checkpoint[0] <= seq:
        return
    with suppress(NoteError):
        keys.has_signed(keys.signer(parse_note(checkpoint[1].encode("utf-8", "surrogateescape"))))
