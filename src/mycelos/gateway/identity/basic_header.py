"""HTTP Basic credentials out of an Authorization header (RFC 7617), strictly."""

from __future__ import annotations

import base64
import binascii
import unicodedata
from typing import Final

MINIMUM_PASSWORD_CHARACTERS: Final = 8
"""NIST SP 800-63B, section 5.1.1.2."""

MAXIMUM_PASSWORD_BYTES: Final = 1024
"""More is never a password that somebody set; it would only be work for the hash function."""


def parse_basic(value: str) -> str | None:
    """The password in ``Basic base64(user:password)``, in Unicode's NFC form (RFC 7617, section 2.1).

    The user name is not looked at: an installation has one owner. None stands for every malformed, empty or
    overlong credential.
    """
    scheme, _, encoded = value.partition(" ")
    encoded = encoded.strip(" ")
    if scheme.lower() != "basic" or len(encoded) > 2 * MAXIMUM_PASSWORD_BYTES:
        return None
    try:
        text = base64.b64decode(encoded, validate=True).decode("utf-8")
    except (binascii.Error, ValueError):
        return None
    _, colon, password = text.partition(":")
    if not colon or not password or not password.isprintable() or len(password.encode()) > MAXIMUM_PASSWORD_BYTES:
        return None
    return unicodedata.normalize("NFC", password)
