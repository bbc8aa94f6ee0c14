"""The only module that decrypts. Plaintext leaves it as a `Secret`, which dies with its ``with`` block.

Python cannot promise that no copy is left in freed memory: `Secret.reveal` makes one, and so does whoever
writes it to a socket. What is promised is that nothing here keeps a reference; see docs/limitations.md.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from types import TracebackType
from typing import Final, NoReturn, Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from mycelos.proxy.vault import envelope
from mycelos.proxy.vault.envelope import KeySlot, Randomness, SealedRecord, SlotKeys, WrappedKey

_SHORTEST: Final = envelope.NONCE_LENGTH + envelope.TAG_LENGTH


class SealBrokenError(Exception):
    """The stored bytes do not open: another key, or altered. Nothing more can be said, and nothing more is."""


class Secret:
    """Plaintext for the length of a ``with`` block. It does not print, compare, pickle, copy or encode itself."""

    __slots__ = ("_buffer", "_is_open")
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, buffer: bytearray) -> None:
        self._buffer = buffer
        self._is_open = False

    def __enter__(self) -> Self:
        if not self._buffer:
            message = "a secret is opened once"
            raise ValueError(message)
        self._is_open = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.destroy()

    def __del__(self) -> None:
        self.destroy()

    def reveal(self) -> bytes:
        """The plaintext. Only inside the ``with`` block; keep no reference beyond it.

        Raises:
            ValueError: the block has not begun or has ended.
        """
        if not self._is_open:
            message = "a secret is readable inside its with block only"
            raise ValueError(message)
        return bytes(self._buffer)

    def matches(self, other: bytes) -> bool:
        """Whether ``other`` is this secret, in a time that does not depend on where they differ."""
        if not self._is_open:
            message = "a secret is readable inside its with block only"
            raise ValueError(message)
        return hmac.compare_digest(self._buffer, other)

    def destroy(self) -> None:
        """Overwrite the buffer with zeros and let go of it."""
        self._is_open = False
        _wipe(self._buffer)
        self._buffer = bytearray()

    def __repr__(self) -> str:
        return "<Secret>"

    def __eq__(self, other: object) -> bool:
        message = "secrets are compared with matches()"
        raise TypeError(message)

    def _refuse(self, *_arguments: object) -> NoReturn:
        message = "a secret is not copied and not written down"
        raise TypeError(message)

    __copy__ = __deepcopy__ = __reduce__ = __reduce_ex__ = __getstate__ = __bytes__ = __format__ = _refuse


def open_slot(master_key: bytes, slot: KeySlot) -> SlotKeys:
    """The keys of ``slot``.

    Raises:
        SealBrokenError: another master key made it, or it was altered, or its derivation is unknown.
    """
    if slot.kdf != envelope.KDF:
        raise SealBrokenError
    associated = envelope.slot_associated_data(slot.tenant_id, slot.kid, slot.created_at)
    root = _decrypt(envelope.slot_cipher(master_key, slot.kid), slot.wrapped_root, associated)
    try:
        return SlotKeys(slot.kid, root)
    finally:
        _wipe(root)


def open_record(keys: SlotKeys, record: SealedRecord) -> Secret:
    """The secret of ``record``, whose seal binds its id, version, service, label and bindings.

    Raises:
        SealBrokenError: any of these is not what was sealed.
    """
    if record.kid != keys.kid:
        raise SealBrokenError
    associated = envelope.wrap_associated_data(record.kid, record.tenant_id, record.record_id, record.version)
    data_key = _decrypt(keys.key_encryption, record.wrapped_key, associated)
    try:
        return Secret(_decrypt(AESGCM(data_key), record.payload, record.payload_associated_data))
    except ValueError:
        raise SealBrokenError from None
    finally:
        _wipe(data_key)


def open_wrapped_key(keys: SlotKeys, wrapped: WrappedKey) -> Secret:
    """The 32 bytes of a long-lived key.

    Raises:
        SealBrokenError: its id, name or bytes are not what was sealed.
    """
    if wrapped.kid != keys.kid:
        raise SealBrokenError
    associated = envelope.named_key_associated_data(wrapped.kid, wrapped.tenant_id, wrapped.key_id, wrapped.name)
    return Secret(_decrypt(keys.key_encryption, wrapped.wrapped_key, associated))


def reseal(
    keys: SlotKeys,
    record: SealedRecord,
    *,
    label: str,
    bindings: str,
    check: Callable[[bytearray], None],
    randomness: Randomness,
) -> SealedRecord:
    """The next version of ``record``: the same secret under another label and other bindings.

    ``check`` is shown the secret, keeps nothing of it, and raises where it cannot be under these bindings.

    Raises:
        SealBrokenError: ``record`` does not open.
    """
    with open_record(keys, record) as secret:
        check(secret._buffer)  # noqa: SLF001 - the buffer itself, so that no copy is made
        return envelope.seal_record(
            keys,
            tenant_id=record.tenant_id,
            record_id=record.record_id,
            version=record.version + 1,
            service=record.service,
            label=label,
            bindings=bindings,
            secret=secret._buffer,  # noqa: SLF001 - the buffer itself, so that no copy is made
            randomness=randomness,
        )


def rewrap_record(old: SlotKeys, new: SlotKeys, record: SealedRecord, randomness: Randomness) -> SealedRecord:
    """``record`` with its data key under the keys of another slot. What is sealed under the data key stays as it is.

    Raises:
        SealBrokenError: its data key does not open under ``old``.
    """
    if record.kid != old.kid:
        raise SealBrokenError
    whose = (record.tenant_id, record.record_id, record.version)
    wrapped = _rewrap(
        (old, record.wrapped_key, envelope.wrap_associated_data(old.kid, *whose)),
        (new, envelope.wrap_associated_data(new.kid, *whose)),
        randomness,
    )
    return replace(record, kid=new.kid, wrapped_key=wrapped)


def rewrap_key(old: SlotKeys, new: SlotKeys, wrapped: WrappedKey, randomness: Randomness) -> WrappedKey:
    """A long-lived key under the keys of another slot.

    Raises:
        SealBrokenError: it does not open under ``old``.
    """
    if wrapped.kid != old.kid:
        raise SealBrokenError
    whose = (wrapped.tenant_id, wrapped.key_id, wrapped.name)
    again = _rewrap(
        (old, wrapped.wrapped_key, envelope.named_key_associated_data(old.kid, *whose)),
        (new, envelope.named_key_associated_data(new.kid, *whose)),
        randomness,
    )
    return replace(wrapped, kid=new.kid, wrapped_key=again)


@contextmanager
def open_all(keys: SlotKeys, records: list[SealedRecord]) -> Iterator[list[Secret]]:
    """Every secret of ``records``, each destroyed at the end, also when one of them does not open.

    Raises:
        SealBrokenError: one of them does not open; then none is given.
    """
    secrets: list[Secret] = []
    try:
        # One by one, so that those already open are destroyed when a later one does not open.
        secrets.extend(open_record(keys, record).__enter__() for record in records)
        yield secrets
    finally:
        for secret in secrets:
            secret.destroy()


def _rewrap(here: tuple[SlotKeys, bytes, bytes], there: tuple[SlotKeys, bytes], randomness: Randomness) -> bytes:
    (old, wrapped, opened_with), (new, sealed_with) = here, there
    key = _decrypt(old.key_encryption, wrapped, opened_with)
    try:
        return envelope.wrap(new, sealed_with, key, randomness)
    finally:
        _wipe(key)


def _decrypt(cipher: AESGCM, sealed: bytes, associated: bytes) -> bytearray:
    if len(sealed) <= _SHORTEST:
        raise SealBrokenError
    plain = bytearray(len(sealed) - _SHORTEST)
    try:
        cipher.decrypt_into(sealed[: envelope.NONCE_LENGTH], sealed[envelope.NONCE_LENGTH :], associated, plain)
    except InvalidTag:
        raise SealBrokenError from None
    return plain


def _wipe(buffer: bytearray) -> None:
    buffer[:] = bytes(len(buffer))
