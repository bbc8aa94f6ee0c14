"""Signatures with a long-lived key: Ed25519 (RFC 8032) from its 32-byte seed, which is opened when it is used."""

from __future__ import annotations

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from mycelos.proxy.vault import hazmat
from mycelos.proxy.vault.envelope import SlotKeys, WrappedKey
from mycelos.proxy.vault.hazmat import Secret


class Signer:
    """A key that is open."""

    __slots__ = ("_key",)

    def __init__(self, seed: Secret) -> None:
        """Take the key of ``seed``, and destroy that."""
        with seed:
            self._key = Ed25519PrivateKey.from_private_bytes(seed.reveal())

    @property
    def public_key(self) -> bytes:
        """The 32 bytes that verify what `sign` makes."""
        return self._key.public_key().public_bytes_raw()

    def sign(self, message: bytes) -> bytes:
        """The signature of ``message``, 64 bytes. From any thread."""
        return self._key.sign(message)


def public_key(keys: SlotKeys, wrapped: WrappedKey) -> bytes:
    """The 32 bytes that verify what `sign` makes.

    Raises:
        SealBrokenError: the key does not open.
    """
    return Signer(hazmat.open_wrapped_key(keys, wrapped)).public_key


def sign(keys: SlotKeys, wrapped: WrappedKey, message: bytes) -> bytes:
    """The signature of ``message``, 64 bytes.

    Raises:
        SealBrokenError: the key does not open.
    """
    return Signer(hazmat.open_wrapped_key(keys, wrapped)).sign(message)


def verifies(public_key: bytes, signature: bytes, message: bytes) -> bool:
    """Whether the key whose public half is given has signed ``message``."""
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, message)
    except (ValueError, InvalidSignature):
        return False
    return True
