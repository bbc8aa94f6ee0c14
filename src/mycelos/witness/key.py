"""The witness's own Ed25519 key (RFC 8032): 32 bytes in a file of its own, made at the first start, mode 0600."""

from __future__ import annotations

import hashlib
import os
import secrets
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from mycelos.configuration.environment import ConfigurationError
from mycelos.ledger.cosignature import CosignerKey
from mycelos.ledger.signed_note import Sign

_SEED_LENGTH: Final = 32


@dataclass(frozen=True)
class WitnessKey:
    """What the witness is known by, and what signs for it."""

    public: CosignerKey
    sign: Sign = field(repr=False)


def verifies(public_key: bytes, signature: bytes, message: bytes) -> bool:
    """Whether the key whose public half is given has signed ``message``."""
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, message)
    except (ValueError, InvalidSignature):
        return False
    return True


def open_key(path: Path) -> WitnessKey:
    """The key at ``path``; a new one where there is none.

    Raises:
        ConfigurationError: what lies there is no key, or others may read it.
        OSError: the system refuses.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        return _read(path)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(secrets.token_bytes(_SEED_LENGTH))
        stream.flush()
        os.fsync(stream.fileno())
    return _read(path)


def _read(path: Path) -> WitnessKey:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as stream:
        status = os.fstat(descriptor)
        seed = stream.read(_SEED_LENGTH + 1) if stat.S_ISREG(status.st_mode) else b""
    if status.st_mode & 0o077:
        message = f"others may read the witness's key; run: chmod 600 {path}"
        raise ConfigurationError(message)
    if len(seed) != _SEED_LENGTH:
        message = f"{path} is no key of {_SEED_LENGTH} bytes; a witness that has lost its key starts in a new folder"
        raise ConfigurationError(message)
    private = Ed25519PrivateKey.from_private_bytes(seed)
    public = private.public_key().public_bytes_raw()
    name = f"witness.mycelos.internal/{hashlib.sha256(public).hexdigest()[:16]}"
    return WitnessKey(CosignerKey(name, public), private.sign)
