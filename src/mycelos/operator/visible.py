"""Text of strangers made visible: two different texts never look the same because of what does not show.

What a person cannot see, or would take for something else, is written out between ⟨ and ⟩: its number or ``space``, and
how many there are. The mapping can be undone: no two texts have the same `visible_text`. Letters of every script stay,
and are named as such so that a page can mark them: which of them look like others, nobody can list.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from enum import StrEnum
from functools import lru_cache
from itertools import groupby
from typing import Final

_OPEN: Final = "\u27e8"
_CLOSE: Final = "\u27e9"
_SHOWN: Final = frozenset({"Lu", "Ll", "Lt", "Lm", "Lo", "Nd", "Pd", "Po", "Pi", "Pf", "Sc", "Sm"})
"""General categories (Unicode Standard, table 4-4) of what has a shape of its own.

Marks draw on what stands before them; among symbols and numbers are some without a shape; brackets pass for ours.
"""
_RIGHT_TO_LEFT: Final = frozenset({"R", "AL", "AN"})
# Conjoining Hangul draws as the syllable that another character is; the others are letters and quotes that are blank,
# or look like the bracket.
_NOT_SHOWN: Final = re.compile("[\u1100-\u11ff\ua960-\ua97f\ud7b0-\ud7ff\u3164\uffa0\U00013441\U00013442\u2039\u203a]")
_LINES: Final = re.compile(r"[^\n]*\n|[^\n]+")


class Look(StrEnum):
    """What a piece of text is to the eye."""

    PLAIN = "plain"
    SPACE = "space"
    """One space between two characters that show."""
    LETTERS = "letters"
    """Letters, digits and signs beyond ASCII, which may look like others."""
    WRITTEN = "written"
    """Written out."""


def visible(text: str, *, in_terminal: bool = False) -> Iterator[tuple[str, Look]]:
    """``text`` in pieces. In a terminal, which may order letters anew, what runs from right to left is written out."""
    looks = [_look_in_terminal(character) if in_terminal else _look(character) for character in text]
    end = 0
    for look, group in groupby(looks):
        start, end = end, end + sum(1 for _ in group)
        run = text[start:end]
        is_between = start > 0 and end < len(text) and Look.WRITTEN not in (looks[start - 1], looks[end])
        if look is Look.WRITTEN or (look is Look.SPACE and not (run == " " and is_between)):
            for character, same in groupby(run):
                yield _written(character, sum(1 for _ in same)), Look.WRITTEN
        else:
            yield run, look


def visible_text(text: str, *, in_terminal: bool = False) -> str:
    """The pieces as one text."""
    return "".join(piece for piece, _ in visible(text, in_terminal=in_terminal))


def lines_of(text: str) -> list[str]:
    """``text`` cut after each line feed, which stays: what the lines are together, the text is."""
    return _LINES.findall(text)


def _written(character: str, count: int) -> str:
    name = "space" if character == " " else f"U+{ord(character):04X}"
    return f"{_OPEN}{name}{_CLOSE}" if count == 1 else f"{_OPEN}{name}\u00d7{count}{_CLOSE}"


@lru_cache(4096)
def _look(character: str) -> Look:
    if character == " ":
        return Look.SPACE
    if "!" <= character <= "~":
        return Look.PLAIN
    is_shown = unicodedata.category(character) in _SHOWN and not _NOT_SHOWN.match(character)
    # A character that is a form of another one (NFKC) may look like it, or like several.
    return Look.LETTERS if is_shown and unicodedata.is_normalized("NFKC", character) else Look.WRITTEN


def _look_in_terminal(character: str) -> Look:
    return Look.WRITTEN if unicodedata.bidirectional(character) in _RIGHT_TO_LEFT else _look(character)
