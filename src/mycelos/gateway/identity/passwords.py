"""Checking the owner's password against an argon2id hash (RFC 9106), one check at a time."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import unicodedata
from typing import Final

import anyio
import anyio.to_thread
import argon2

from mycelos.configuration.environment import ConfigurationError
from mycelos.gateway.identity.basic_header import MAXIMUM_PASSWORD_BYTES, MINIMUM_PASSWORD_CHARACTERS
from mycelos.wire.problems import ProblemCode, Refusal

_HASHER: Final = argon2.PasswordHasher.from_parameters(argon2.profiles.RFC_9106_LOW_MEMORY)
_MAXIMUM_WAITING: Final = 8
_MAXIMUM_MEMORY_KIB: Final = 1024 * 1024


def hash_password(password: str) -> str:
    """An argon2id hash string with a fresh salt: RFC 9106's second recommended setting, 64 MiB."""
    return _HASHER.hash(unicodedata.normalize("NFC", password))


def check_hash(text: str) -> str:
    """Return ``text`` if it is an argon2id hash that this process can check.

    Raises:
        ConfigurationError: another algorithm, or no hash at all.
    """
    try:
        parameters = argon2.extract_parameters(text)
    except argon2.exceptions.InvalidHashError:
        parameters = None
    if parameters is None or parameters.type is not argon2.Type.ID or parameters.memory_cost > _MAXIMUM_MEMORY_KIB:
        message = "MYCELOS_PASSWORD_HASH is not an argon2id hash; make one with: mycelos password set"
        raise ConfigurationError(message)
    return text


def check_configured(password: str | None, password_hash: str | None) -> None:
    """Refuse what MYCELOS_PASSWORD and MYCELOS_PASSWORD_HASH cannot be, without the work of a hash.

    Raises:
        ConfigurationError: both are set, or one cannot be used.
    """
    if password is not None and password_hash is not None:
        message = "MYCELOS_PASSWORD and MYCELOS_PASSWORD_HASH are both set; keep one, best the hash"
        raise ConfigurationError(message)
    if password_hash is not None:
        check_hash(password_hash)
    if password is not None:
        if len(password) < MINIMUM_PASSWORD_CHARACTERS:
            message = (
                f"MYCELOS_PASSWORD is shorter than {MINIMUM_PASSWORD_CHARACTERS} characters and could be guessed; "
                "choose a longer one"
            )
            raise ConfigurationError(message)
        if not password.isprintable() or len(password.encode()) > MAXIMUM_PASSWORD_BYTES:
            message = f"MYCELOS_PASSWORD must be printable text of at most {MAXIMUM_PASSWORD_BYTES} bytes"
            raise ConfigurationError(message)


def configured_hash(password: str | None, password_hash: str | None) -> str | None:
    """The hash to check against, from MYCELOS_PASSWORD or MYCELOS_PASSWORD_HASH, or None where neither is set.

    Raises:
        ConfigurationError: both are set, or one cannot be used.
    """
    check_configured(password, password_hash)
    return password_hash if password is None else hash_password(password)


class PasswordCheck:
    """Checks attempts against one hash, one at a time in a thread, so that guessing cannot eat the machine.

    A program sends its password with every request. The newest that was right is remembered as a digest under
    a random key, for this process's life, so that not each request costs 64 MiB of work.
    """

    def __init__(self, password_hash: str) -> None:
        self._hash = check_hash(password_hash)
        self._one_at_a_time = anyio.CapacityLimiter(1)
        self._in_hand = 0
        self._key = secrets.token_bytes(32)
        self._known: bytes | None = None

    def is_known(self, password: str) -> bool:
        """Whether ``password`` is the one that was found right before; constant time."""
        return self._known is not None and hmac.compare_digest(self._known, self._digest(password))

    async def is_right(self, password: str) -> bool:
        """Whether ``password`` matches the hash.

        Raises:
            Refusal: `rate_limited`, too many checks are waiting already.
        """
        if self._in_hand > _MAXIMUM_WAITING:
            raise Refusal(
                ProblemCode.RATE_LIMITED,
                "Too many sign-ins are being checked at once.",
                "Wait a few seconds, or sign in with the link that `mycelos open` prints.",
            )
        self._in_hand += 1
        try:
            right = await anyio.to_thread.run_sync(_verify, self._hash, password, limiter=self._one_at_a_time)
        finally:
            self._in_hand -= 1
        if right:
            self._known = self._digest(password)
        return right

    def _digest(self, password: str) -> bytes:
        return hashlib.blake2b(password.encode(), key=self._key, digest_size=32).digest()


def _verify(password_hash: str, password: str) -> bool:
    try:
        return _HASHER.verify(password_hash, password)
    except argon2.exceptions.VerifyMismatchError:
        return False
