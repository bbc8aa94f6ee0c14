"""Typed identifiers: a prefix that names the kind, then a UUIDv7 (RFC 9562, section 5.7).

Written as the TypeID specification writes them: ``run_01h2xcejqtf2nbrexx3vqjhp41``, 26 letters of
Crockford's base32 for the 128 bits. They sort by creation time and are never used again.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

_ALPHABET: Final = "0123456789abcdefghjkmnpqrstvwxyz"
_VALUES: Final = {letter: value for value, letter in enumerate(_ALPHABET)}
_SUFFIX_LENGTH: Final = 26
_RANDOM_LENGTH: Final = 10
_TIME_LIMIT: Final = 1 << 48

DEFAULT_TENANT: Final = "tenant_00000000000000000000000000"
"""The one owner of an installation. The column keeps the place for more."""


class Kind(StrEnum):
    """The kinds of thing that have an identifier; the value is the prefix."""

    AGENT = "agent"
    APPROVAL = "appr"
    CHAT = "chat"
    CREDENTIAL = "cred"
    EGRESS_RULE = "rule"
    KEY_SLOT = "kid"
    MESSAGE = "msg"
    MODEL = "model"
    PASSKEY = "passkey"
    RUN = "run"
    SESSION = "sess"
    TENANT = "tenant"
    TOKEN = "tok"  # noqa: S105 - a prefix, no secret
    WRAPPED_KEY = "key"


_PREFIXES: Final = frozenset(kind.value for kind in Kind)


class IdentifierError(ValueError):
    """The text is not an identifier of the expected kind."""


def make_identifier(kind: Kind, unix_milliseconds: int, randomness: bytes) -> str:
    """Build an identifier from a time and ten random bytes, both given by the caller.

    Raises:
        IdentifierError: the time is outside 48 bits, or the randomness is not ten bytes.
    """
    if not 0 <= unix_milliseconds < _TIME_LIMIT:
        message = f"time out of range: {unix_milliseconds}"
        raise IdentifierError(message)
    if len(randomness) != _RANDOM_LENGTH:
        message = f"randomness must be {_RANDOM_LENGTH} bytes, not {len(randomness)}"
        raise IdentifierError(message)
    noise = int.from_bytes(randomness, "big")
    number = unix_milliseconds << 80
    number |= 0x7 << 76
    number |= ((noise >> 62) & 0xFFF) << 64
    number |= 0b10 << 62
    number |= noise & ((1 << 62) - 1)
    letters = [_ALPHABET[(number >> shift) & 31] for shift in range(125, -1, -5)]
    return f"{kind.value}_{''.join(letters)}"


def parse_identifier(kind: Kind, text: str) -> str:
    """Return ``text`` if it is a well-formed identifier of this kind.

    Raises:
        IdentifierError: another prefix, length, letter, or a value above 128 bits.
    """
    prefix, separator, suffix = text.rpartition("_")
    if not separator or prefix != kind.value:
        message = f"expected an identifier that begins with {kind.value}_"
        raise IdentifierError(message)
    # The first letter carries three bits only: 26 letters hold 130 bits, a UUID 128.
    if len(suffix) != _SUFFIX_LENGTH or suffix[0] > "7" or any(c not in _VALUES for c in suffix):
        message = f"malformed identifier after {kind.value}_: 26 letters of Crockford base32 needed"
        raise IdentifierError(message)
    return text


def is_identifier(text: str) -> bool:
    """Whether ``text`` is a well-formed identifier of any kind."""
    prefix = text.rpartition("_")[0]
    if prefix not in _PREFIXES:
        return False
    try:
        parse_identifier(Kind(prefix), text)
    except IdentifierError:
        return False
    return True
