"""Values of strangers in the terminal: wrapped here and not by the terminal, with a bar before each further line.

Whatever a value holds, each line of output begins with a label of ours or with spaces and the bar.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import Final

from mycelos.cli.output import say
from mycelos.operator.visible import Look, visible

_BAR: Final = "| "
_END: Final = "|"
"""Behind each line that goes on in the next: a space before it is seen."""
_WIDEST: Final = 2
"""Columns that a character beyond ASCII takes at most; taken as so many, it never makes a line too long."""


def say_framed(label: str, value: str) -> None:
    """``value`` made visible behind ``label``; at the terminal's width it goes on behind a bar."""
    further = " " * (len(label) - len(_BAR)) + _BAR
    # One column is left free: some terminals begin a new line as soon as one is full.
    room = shutil.get_terminal_size().columns - len(label) - 1
    lines = list(_wrapped(value, room))
    for number, line in enumerate(lines):
        say(f"{further if number else label}{line}{_END if number < len(lines) - 1 else ''}")


def _wrapped(value: str, room: int) -> Iterator[str]:
    line, used = "", 0
    limit = room - len(_END)
    for part in _parts(value, limit):
        width = _columns(part)
        if line and used + width > limit:
            yield line
            line, used = "", 0
        line, used = line + part, used + width
    yield line


def _parts(value: str, limit: int) -> Iterator[str]:
    """What is not broken: what is written out, where there is room for it, and each character of the rest."""
    for piece, look in visible(value, in_terminal=True):
        if look is Look.WRITTEN and _columns(piece) <= limit:
            yield piece
        else:
            yield from piece


def _columns(text: str) -> int:
    return sum(1 if character.isascii() else _WIDEST for character in text)
