"""Canonical JSON: the one form of a value in bytes that is hashed (RFC 8785).

The values of an entry are a small part of JSON (objects with ASCII names, arrays, text, whole numbers, true, false,
null), and for that part Python's own encoder writes what RFC 8785 asks for: names sorted, no space, the short
escapes of section 3.2.2.2, everything else as UTF-8. Values outside that part are refused, never approximated. A
property test compares with the package ``rfc8785``, which is complete but slower.
"""

from __future__ import annotations

import json
from typing import Final

_INTEGER_LIMIT: Final = 2**53 - 1
_PLAIN: Final = (str, bool)

_encode = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False).encode


class CanonicalError(ValueError):
    """No canonical form here: a float, an unsafe integer, a name that is not ASCII, half a surrogate pair."""


def canonical(value: object) -> bytes:
    """The RFC 8785 form of ``value``, in UTF-8.

    Raises:
        CanonicalError: the value lies outside what entries may hold.
    """
    _check(value)
    try:
        return _encode(value).encode("utf-8")
    except UnicodeEncodeError:
        message = "text with half a surrogate pair has no canonical form"
        raise CanonicalError(message) from None


def _check(value: object) -> None:
    # Objects first, and text inside them not at all: most of what is asked for is a row of a table.
    if isinstance(value, dict):
        for name, member in value.items():
            if not (isinstance(name, str) and name.isascii()):
                message = "the names of an object must be ASCII text"
                raise CanonicalError(message)
            if type(member) is not str:
                _check(member)
        return
    if value is None or isinstance(value, _PLAIN):
        return
    if isinstance(value, int):
        if not -_INTEGER_LIMIT <= value <= _INTEGER_LIMIT:
            message = "an integer outside ±(2^53 - 1) has no canonical form"
            raise CanonicalError(message)
        return
    if isinstance(value, list | tuple):
        for member in value:
            _check(member)
        return
    message = f"a value of type {type(value).__name__} has no canonical form here"
    raise CanonicalError(message)
