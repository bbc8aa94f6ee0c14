"""Which byte of an SQLite file is what (https://www.sqlite.org/fileformat2.html), as far as a flipped bit asks for it.

It reads a sound file of tables only, without auto-vacuum and without a list of free pages.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class Role(StrEnum):
    """What a byte is for."""

    HEAD = "head of the file"
    STRUCTURE = "head of a page and its list of cells"
    UNUSED = "space that is not in use"
    ROW_ID_TYPE = "the type of a column that the row's number stands for"
    SCHEMA_NUMBER = "the number of a row of the schema, or the page of a trigger, which has none"
    CONTENT = "content"


_HEAD_LENGTH: Final = 100
_TABLE_LEAF, _INDEX_LEAF = 13, 10
_ZERO: Final = 8
"""The type of a number that is zero and takes no byte."""
_HEADS: Final = {2: 12, 5: 12, _INDEX_LEAF: 8, _TABLE_LEAF: 8}


def roles(data: bytes) -> list[Role]:
    """The role of each byte."""
    size = int.from_bytes(data[16:18]) or 65536
    found = [Role.CONTENT] * len(data)
    for first in range(0, len(data), size):
        start = first + (_HEAD_LENGTH if first == 0 else 0)
        kind = data[start]
        if kind not in _HEADS:
            # An overflow page; its use ends where its payload does, which its owner knows.
            continue
        count = int.from_bytes(data[start + 3 : start + 5])
        content = first + (int.from_bytes(data[start + 5 : start + 7]) or 65536)
        cells = start + _HEADS[kind]
        found[start : cells + 2 * count] = [Role.STRUCTURE] * (cells + 2 * count - start)
        found[cells + 2 * count : content] = [Role.UNUSED] * (content - cells - 2 * count)
        block = int.from_bytes(data[start + 1 : start + 3])
        while block:
            length = int.from_bytes(data[first + block + 2 : first + block + 4])
            found[first + block + 4 : first + block + length] = [Role.UNUSED] * (length - 4)
            block = int.from_bytes(data[first + block : first + block + 2])
        if kind == _TABLE_LEAF:
            for number in range(count):
                place = first + int.from_bytes(data[cells + 2 * number : cells + 2 * number + 2])
                # Length of the payload, number of the row, length of the record's head, then the first type.
                row = _after_number(data, place)
                types = _after_number(data, _after_number(data, row))
                if first == 0:
                    found[row] = Role.SCHEMA_NUMBER
                    # Type, name and table's name are before it.
                    for _ in range(3):
                        types = _after_number(data, types)
                    if data[types] == _ZERO:
                        found[types] = Role.SCHEMA_NUMBER
                else:
                    found[types] = Role.ROW_ID_TYPE
    found[:_HEAD_LENGTH] = [Role.HEAD] * _HEAD_LENGTH
    return found


def _after_number(data: bytes, place: int) -> int:
    """Behind the number of variable length at ``place``."""
    for length in range(1, 10):
        if data[place + length - 1] < 0x80:
            return place + length
    return place + 9
