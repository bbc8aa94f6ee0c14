"""No object of a request may have one name twice: readers differ on which of the two counts (RFC 8259, section 4).

A text of megabytes is not read again for it: the decoder says how long each value of the outermost object is, so that
it is stepped over, and only a value that holds objects is looked into.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final

import msgspec

_OPENING: Final = re.compile(rb"[ \t\r\n]*+\{")
_NAME: Final = re.compile(rb'[ \t\r\n]*+,?[ \t\r\n]*+("(?:[^"\\]++|\\.)*+")[ \t\r\n]*+:[ \t\r\n]*+', re.DOTALL)
_CLOSING: Final = re.compile(rb"[ \t\r\n]*+\}[ \t\r\n]*+\Z")
_VALUES: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_TEXT: Final = msgspec.json.Decoder(str)


class RepeatedNameError(Exception):
    """A name stands twice in one object."""

    def __init__(self, name: str) -> None:
        # The sender's text, as that of an unknown field.
        super().__init__(f"The field `{name[:64]}` stands there twice")


def demand_unique_names(data: bytes) -> None:
    """Look at every object of ``data``, which is JSON.

    Raises:
        RepeatedNameError: one has a name twice.
        ValueError, RecursionError: it cannot be read, after all.
    """
    opening = _OPENING.match(data)
    if opening is None:
        _look_into(data)
        return
    # Of a name that stands twice this has the last value, which is not the one that is met first; or it is the same
    # value, and the name is met again.
    values = _VALUES.decode(data)
    position, name, met = opening.end(), "", set[str]()
    while found := _NAME.match(data, position):
        name = _TEXT.decode(found[1])
        value = bytes(values[name])
        if name in met or not data.startswith(value, found.end()):
            raise RepeatedNameError(name)
        met.add(name)
        _look_into(value)
        position = found.end() + len(value)
    if not _CLOSING.match(data, position):
        # Stepped over less than the value that is there: 1 is how 12 begins.
        raise RepeatedNameError(name)


def _look_into(value: bytes) -> None:
    if value[:1] != b'"' and b"{" in value:
        _NAMES.decode(value.decode())


def _demand_unique(pairs: list[tuple[str, Any]]) -> None:
    if len(pairs) < 2 or len(dict(pairs)) == len(pairs):
        return
    met = set[str]()
    for name, _ in pairs:
        if name in met:
            raise RepeatedNameError(name)
        met.add(name)


# Numbers stay text: one of a million digits is not worth reading twice.
_NAMES: Final = json.JSONDecoder(object_pairs_hook=_demand_unique, parse_int=len, parse_float=len)
