"""What a secret may hold to be put into a request: one rule for the vault's door and for the injector.

No message quotes the secret.
"""

from __future__ import annotations

import re
from typing import Final

from mycelos.wire.binding import Bearer, Header, Injection

# RFC 9110, section 5.5, without spaces, which some servers cut away, and without obsolete bytes above ASCII.
_HEADER_SECRET: Final = re.compile(rb"[\x21-\x7e]+\Z")
_CONTROL: Final = re.compile(rb"[\x00-\x1f\x7f]")


class SecretNotInjectableError(ValueError):
    """The secret can never be put where the binding wants it. The text says what it holds, and not what it is."""


def check_injectable(injection: Injection, secret: bytes | bytearray) -> None:
    """Refuse a secret that ``injection`` cannot carry.

    Raises:
        SecretNotInjectableError: a header would be broken, or read otherwise by the server.
    """
    if not secret:
        message = "it is empty"
        raise SecretNotInjectableError(message)
    if _CONTROL.search(secret):
        message = "it holds a control character"
        raise SecretNotInjectableError(message)
    if isinstance(injection, Bearer | Header) and not _HEADER_SECRET.match(secret):
        message = "it holds a space or a character outside ASCII and cannot stand in a header"
        raise SecretNotInjectableError(message)
