"""The first place where a log is not what it must be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from mycelos.ledger.text import escape, shorten

_LIMIT: Final = 512
"""Characters of what was expected and found, at most: both may be text of whoever changed the log."""


@dataclass(frozen=True)
class Fault:
    """``seq`` is the entry: the wrong one, or the last one that a wrong checkpoint covers."""

    seq: int
    what: str
    expected: str
    found: str

    def __str__(self) -> str:
        """One sentence, without what was expected and found."""
        return f"entry {self.seq}: {self.what}"


class FaultFoundError(Exception):
    """Ends a verification."""

    def __init__(self, seq: int, what: str, expected: str, found: str) -> None:
        self.fault = Fault(seq, what, shorten(escape(expected), _LIMIT), shorten(escape(found), _LIMIT))
        super().__init__(str(self.fault))
