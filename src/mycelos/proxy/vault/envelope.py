"""The vault's formats: how a secret is sealed, and what its seal binds. Opening is `hazmat`'s alone.

master key -> key slot -> random root -> key-encryption key and row-MAC key -> a data key a record -> payload.
Everything is AES-256-GCM with random 96-bit nonces (NIST SP 800-38D, section 8.2.2), keys are derived with
HKDF-SHA256 (RFC 5869), associated data is canonical JSON (RFC 8785). `docs/security/vault-format.md` writes it down.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, hmac
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from mycelos.ledger.canonical import canonical
from mycelos.wire.binding import Binding

Randomness = Callable[[int], bytes]
"""Gives as many random bytes as asked for: `os.urandom`, or a fixed source where a vector is made."""

KDF: Final = "hkdf-sha256/1"
KEY_LENGTH: Final = 32
NONCE_LENGTH: Final = 12
TAG_LENGTH: Final = 16
WRAP_LIMIT: Final = 1 << 32
"""Wraps under one key with random nonces (NIST SP 800-38D, section 8.3); then the key must be rotated."""

_SLOT_LABEL: Final = b"mycelos/vault/1/slot"
_KEY_ENCRYPTION_LABEL: Final = b"mycelos/vault/1/key-encryption"
_ROW_MAC_LABEL: Final = b"mycelos/vault/1/row-mac"


@dataclass(frozen=True)
class KeySlot:
    """A root wrapped under a master key. Rotation adds a slot and retires the old one."""

    kid: str
    tenant_id: str
    kdf: str
    wrapped_root: bytes
    created_at: str
    retired_at: str | None


@dataclass(frozen=True)
class SealedRecord:
    """One version of a credential as it is stored. ``bindings`` is canonical JSON."""

    tenant_id: str
    record_id: str
    version: int
    service: str
    label: str
    bindings: str
    kid: str
    wrapped_key: bytes = field(repr=False)
    payload: bytes = field(repr=False)

    @cached_property
    def payload_associated_data(self) -> bytes:
        """What the payload's seal must bind, made from the columns as they were read."""
        return payload_associated_data(
            tenant_id=self.tenant_id,
            record_id=self.record_id,
            version=self.version,
            service=self.service,
            label=self.label,
            bindings=self.bindings,
        )


@dataclass(frozen=True)
class WrappedKey:
    """A long-lived random key under the key-encryption key of a slot."""

    tenant_id: str
    key_id: str
    name: str
    kid: str
    wrapped_key: bytes = field(repr=False)


class SlotKeys:
    """What an opened slot gives: the key-encryption key and the row-MAC key, held inside the library's objects."""

    __slots__ = ("_row_mac", "key_encryption", "kid")

    def __init__(self, kid: str, root: bytes | bytearray) -> None:
        self.kid = kid
        self.key_encryption = AESGCM(_derive(root, _KEY_ENCRYPTION_LABEL))
        self._row_mac = hmac.HMAC(_derive(root, _ROW_MAC_LABEL), hashes.SHA256())

    def __repr__(self) -> str:
        return f"SlotKeys({self.kid!r})"

    def __reduce_ex__(self, _protocol: object) -> str:
        message = "keys are not copied and not written down"
        raise TypeError(message)

    def row_mac(self, table: str, columns: Mapping[str, str | int | None]) -> bytes:
        """The MAC over one row's columns, 32 bytes."""
        mac = self._row_mac.copy()
        mac.update(_row_form(table, columns))
        return mac.finalize()

    def row_holds(self, table: str, columns: Mapping[str, str | int | None], tag: bytes) -> bool:
        """Whether ``tag`` is the MAC over these columns; compared in constant time."""
        mac = self._row_mac.copy()
        mac.update(_row_form(table, columns))
        try:
            mac.verify(tag)
        except InvalidSignature:
            return False
        return True


def make_slot(
    master_key: bytes | bytearray, tenant_id: str, kid: str, created_at: str, randomness: Randomness
) -> tuple[KeySlot, SlotKeys]:
    """A new slot with a new random root, and its keys."""
    root = bytearray(randomness(KEY_LENGTH))
    nonce = randomness(NONCE_LENGTH)
    associated = slot_associated_data(tenant_id, kid, created_at)
    wrapped = nonce + slot_cipher(master_key, kid).encrypt(nonce, root, associated)
    keys = SlotKeys(kid, root)
    root[:] = bytes(len(root))
    return KeySlot(kid, tenant_id, KDF, wrapped, created_at, None), keys


def slot_cipher(master_key: bytes | bytearray, kid: str) -> AESGCM:
    """The cipher that wraps the root of slot ``kid``."""
    return AESGCM(_derive(master_key, _SLOT_LABEL + b"\x00" + kid.encode("ascii")))


def slot_associated_data(tenant_id: str, kid: str, created_at: str) -> bytes:
    """What the wrap of a root binds."""
    return canonical({
        "format": "mycelos/key-slot/1", "kdf": KDF, "kid": kid, "tenant": tenant_id, "created_at": created_at,
    })  # fmt: skip


def seal_record(
    keys: SlotKeys, *, tenant_id: str, record_id: str, version: int, service: str, label: str, bindings: str,
    secret: bytes | bytearray, randomness: Randomness,
) -> SealedRecord:  # fmt: skip
    """Seal ``secret`` under a data key of its own."""
    data_key = bytearray(randomness(KEY_LENGTH))
    nonce = randomness(NONCE_LENGTH)
    associated = payload_associated_data(
        tenant_id=tenant_id, record_id=record_id, version=version, service=service, label=label, bindings=bindings
    )
    payload = nonce + AESGCM(data_key).encrypt(nonce, secret, associated)
    wrapped = wrap(keys, wrap_associated_data(keys.kid, tenant_id, record_id, version), data_key, randomness)
    data_key[:] = bytes(len(data_key))
    return SealedRecord(tenant_id, record_id, version, service, label, bindings, keys.kid, wrapped, payload)


def make_wrapped_key(keys: SlotKeys, *, tenant_id: str, key_id: str, name: str, randomness: Randomness) -> WrappedKey:
    """A new random 32-byte key with a name, wrapped."""
    value = bytearray(randomness(KEY_LENGTH))
    wrapped = wrap(keys, named_key_associated_data(keys.kid, tenant_id, key_id, name), value, randomness)
    value[:] = bytes(len(value))
    return WrappedKey(tenant_id, key_id, name, keys.kid, wrapped)


def payload_associated_data(
    *, tenant_id: str, record_id: str, version: int, service: str, label: str, bindings: str
) -> bytes:
    """What a payload binds. No key id: changing the master key rewraps data keys and never seals again."""
    metadata = canonical({"service": service, "label": label, "bindings": json.loads(bindings)})
    return canonical({
        "format": "mycelos/credential/1", "tenant": tenant_id, "record": record_id, "version": version,
        "metadata": hashlib.sha256(metadata).hexdigest(),
    })  # fmt: skip


def wrap_associated_data(kid: str, tenant_id: str, record_id: str, version: int) -> bytes:
    """What the wrap of a data key binds."""
    return canonical({
        "format": "mycelos/data-key/1", "kid": kid, "tenant": tenant_id, "record": record_id, "version": version,
    })  # fmt: skip


def named_key_associated_data(kid: str, tenant_id: str, key_id: str, name: str) -> bytes:
    """What the wrap of a long-lived key binds."""
    return canonical({
        "format": "mycelos/wrapped-key/1", "kid": kid, "tenant": tenant_id, "record": key_id, "name": name,
    })  # fmt: skip


def canonical_bindings(bindings: tuple[Binding, ...]) -> str:
    """The stored form of bindings: one JSON text for one meaning."""
    return canonical(msgspec.to_builtins(bindings)).decode("utf-8")


def wrap(keys: SlotKeys, associated: bytes, value: bytearray, randomness: Randomness) -> bytes:
    """``value`` under the key-encryption key of a slot, whose wraps are counted by whoever writes it down."""
    nonce = randomness(NONCE_LENGTH)
    return nonce + keys.key_encryption.encrypt(nonce, value, associated)


def _row_form(table: str, columns: Mapping[str, str | int | None]) -> bytes:
    return canonical({"format": "mycelos/row/1", "table": table, "columns": dict(columns)})


def _derive(key: bytes | bytearray, label: bytes) -> bytes:
    return HKDF(algorithm=hashes.SHA256(), length=KEY_LENGTH, salt=None, info=label).derive(key)
