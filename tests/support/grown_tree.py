"""Trees in memory with their checkpoints and proofs, as an honest proxy gives them, and as one that starts again."""

from __future__ import annotations

import hashlib

from ledger_keys import note_of

from mycelos.ledger.merkle import Frontier, consistency_proof, inclusion_proof, root_of


class GrownTree:
    """A tree of so many leaves. Another ``name`` is another tree of the same log."""

    def __init__(self, size: int = 0, name: str = "a") -> None:
        self._name = name
        self._nodes: dict[tuple[int, int], bytes] = {}
        self._frontier = Frontier()
        self.grow(size)

    def grow(self, size: int) -> None:
        """Add leaves up to ``size``."""
        for number in range(self._frontier.size, size):
            for level, place, found in self._frontier.append(self.leaf(number)):
                self._nodes[level, place] = found

    def leaf(self, number: int) -> bytes:
        return hashlib.sha256(f"{self._name}{number}".encode()).digest()

    def node(self, level: int, place: int) -> bytes:
        return self._nodes[level, place]

    def note(self, size: int, origin_number: int = 0) -> str:
        return note_of(size, root_of(size, self.node), origin_number=origin_number)

    def consistency(self, old: int, new: int) -> list[bytes]:
        return consistency_proof(old, new, self.node)

    def inclusion(self, index: int, size: int) -> list[bytes]:
        return inclusion_proof(index, size, self.node)
