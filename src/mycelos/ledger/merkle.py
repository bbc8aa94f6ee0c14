"""The Merkle tree over the entries: RFC 6962, section 2.1, with SHA-256.

Only complete subtrees are stored, each under its level and its place: level 0 holds the leaves, a node of level L
covers 2**L leaves. Everything else (the root of any size, proofs) is computed from them by the recursions of the RFC.
Hashes are 32 bytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from typing import Final

HASH_LENGTH: Final = 32
EMPTY_ROOT: Final = hashlib.sha256(b"").digest()
"""The root of a tree without leaves."""

Node = tuple[int, int, bytes]
"""A complete subtree: level, place within the level, hash."""

Lookup = Callable[[int, int], bytes]
"""Gives the hash of the complete subtree at (level, place)."""


class ProofError(ValueError):
    """A proof does not show what it claims, or asks for what cannot be proven. The text says which."""


def hash_children(left: bytes, right: bytes) -> bytes:
    """The hash of an inner node."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def hash_pairs(row: Sequence[bytes]) -> list[bytes]:
    """The level above ``row``, a hash for each two; what is left over at its end is left out."""
    sha256 = hashlib.sha256
    return [sha256(b"\x01" + left + right).digest() for left, right in zip(row[::2], row[1::2], strict=False)]


class Frontier:
    """The right edge of a growing tree: one complete subtree for each one in the binary form of its size."""

    def __init__(self, size: int = 0, roots: Sequence[bytes] = ()) -> None:
        """A tree of ``size`` leaves whose edge is ``roots``, from the largest subtree to the smallest.

        Raises:
            ValueError: not one root for each one in the binary form of ``size``.
        """
        if size < 0 or len(roots) != size.bit_count():
            message = "a frontier has one hash for each one in the binary form of its size"
            raise ValueError(message)
        self.size = size
        self._roots = list(roots)

    @classmethod
    def of(cls, size: int, node: Lookup) -> Frontier:
        """The frontier of a stored tree."""
        return cls(size, [node(level, place) for level, place in frontier_places(size)])

    def copy(self) -> Frontier:
        """Another frontier of the same tree, which grows by itself."""
        return Frontier(self.size, self._roots)

    def append(self, leaf: bytes) -> Iterator[Node]:
        """Add one leaf hash; gives the subtrees that it completes, from the leaf up."""
        level, place, found = 0, self.size, leaf
        self._roots.append(found)
        yield level, place, found
        while place & 1:
            right = self._roots.pop()
            found = hash_children(self._roots.pop(), right)
            self._roots.append(found)
            level, place = level + 1, place >> 1
            yield level, place, found
        self.size += 1

    def extend(self, leaves: Sequence[bytes]) -> list[list[bytes]]:
        """Add many leaf hashes at once; gives the subtrees that they complete, level by level from the leaves up.

        Those of level L follow each other from place ``size >> L`` on, with the size before.
        """
        row, edge, place = list(leaves), [], self.size
        levels = []
        while row:
            levels.append(row)
            whole = [self._roots.pop(), *row] if place & 1 else row
            if len(whole) & 1:
                edge.append(whole[-1])
            row = hash_pairs(whole)
            place >>= 1
        self._roots += reversed(edge)
        self.size += len(leaves)
        return levels

    def root(self) -> bytes:
        """The root of the tree as it is now."""
        if not self._roots:
            return EMPTY_ROOT
        found = self._roots[-1]
        for left in reversed(self._roots[:-1]):
            found = hash_children(left, found)
        return found


def frontier_places(size: int) -> list[tuple[int, int]]:
    """Level and place of each subtree on the right edge of a tree of ``size`` leaves, the largest first."""
    places = []
    start = 0
    for level in reversed(range(size.bit_length())):
        if size >> level & 1:
            places.append((level, start >> level))
            start += 1 << level
    return places


def root_of(size: int, node: Lookup) -> bytes:
    """The root over the first ``size`` leaves."""
    return _subtree(0, size, node) if size else EMPTY_ROOT


def inclusion_proof(index: int, size: int, node: Lookup) -> list[bytes]:
    """The audit path of leaf ``index`` in the tree of ``size`` leaves (section 2.1.1), from the leaf's sibling up.

    Raises:
        ProofError: there is no such leaf.
    """
    if not 0 <= index < size:
        message = f"a tree of {size} entries has no entry {index}"
        raise ProofError(message)
    path: list[bytes] = []
    start, end = 0, size
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            path.append(_subtree(middle, end, node))
            end = middle
        else:
            path.append(_subtree(start, middle, node))
            start = middle
    return path[::-1]


def consistency_proof(old: int, new: int, node: Lookup) -> list[bytes]:
    """That the tree of ``new`` leaves begins with the tree of ``old`` leaves (section 2.1.2).

    Raises:
        ProofError: ``old`` is larger than ``new``.
    """
    if not 0 <= old <= new:
        message = f"a tree of {new} entries holds none of {old}"
        raise ProofError(message)
    if old in {0, new}:
        return []
    path: list[bytes] = []
    start, end, is_whole = 0, new, True
    while old - start != end - start:
        middle = start + _split(end - start)
        if old <= middle:
            path.append(_subtree(middle, end, node))
            end = middle
        else:
            path.append(_subtree(start, middle, node))
            start, is_whole = middle, False
    # The old tree is known to whoever asks: its root is left out where it is a subtree by itself.
    if not is_whole:
        path.append(_subtree(start, end, node))
    return path[::-1]


def verify_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> None:
    """Check that ``leaf`` is entry ``index`` of the tree with ``root`` (RFC 9162, section 2.1.3.2).

    Raises:
        ProofError: it is not shown.
    """
    _demand_hashes(leaf, root, *proof)
    if not 0 <= index < size:
        message = f"a tree of {size} entries has no entry {index}"
        raise ProofError(message)
    place, last, found = index, size - 1, leaf
    for sibling in proof:
        if last == 0:
            message = "the inclusion proof is too long"
            raise ProofError(message)
        if place & 1 or place == last:
            found = hash_children(sibling, found)
            while place and not place & 1:
                place, last = place >> 1, last >> 1
        else:
            found = hash_children(found, sibling)
        place, last = place >> 1, last >> 1
    if last:
        message = "the inclusion proof is too short"
        raise ProofError(message)
    if found != root:
        message = "the inclusion proof leads to another root"
        raise ProofError(message)


def verify_consistency(old: int, new: int, proof: Sequence[bytes], old_root: bytes, new_root: bytes) -> None:
    """Check that the tree with ``new_root`` begins with the one with ``old_root`` (RFC 9162, section 2.1.4.2).

    An empty old tree is the beginning of every tree; its root must be the empty one.

    Raises:
        ProofError: it is not shown.
    """
    _demand_hashes(old_root, new_root, *proof)
    if not 0 <= old <= new:
        message = f"a tree of {new} entries holds none of {old}"
        raise ProofError(message)
    if old in {0, new}:
        _demand_equal(bool(proof), False, "nothing is to be proven here, and the proof is not empty")
        _demand_equal(old_root if old else EMPTY_ROOT, new_root if old == new else old_root, "the roots differ")
        return
    path = list(proof)
    if old & (old - 1) == 0:
        path.insert(0, old_root)
    _demand_equal(bool(path), True, "the consistency proof is empty")
    place, last = old - 1, new - 1
    while place & 1:
        place, last = place >> 1, last >> 1
    found_old = found_new = path[0]
    for sibling in path[1:]:
        _demand_equal(last > 0, True, "the consistency proof is too long")
        if place & 1 or place == last:
            found_old, found_new = hash_children(sibling, found_old), hash_children(sibling, found_new)
            while place and not place & 1:
                place, last = place >> 1, last >> 1
        else:
            found_new = hash_children(found_new, sibling)
        place, last = place >> 1, last >> 1
    _demand_equal(last, 0, "the consistency proof is too short")
    _demand_equal(found_old, old_root, "the consistency proof leads to another old root")
    _demand_equal(found_new, new_root, "the consistency proof leads to another new root")


def _split(count: int) -> int:
    """The largest power of two below ``count``, which is two or more."""
    return 1 << ((count - 1).bit_length() - 1)


def _subtree(start: int, end: int, node: Lookup) -> bytes:
    count = end - start
    if count & (count - 1) == 0:
        level = count.bit_length() - 1
        return node(level, start >> level)
    middle = start + _split(count)
    return hash_children(_subtree(start, middle, node), _subtree(middle, end, node))


def _demand_hashes(*hashes: bytes) -> None:
    if any(len(found) != HASH_LENGTH for found in hashes):
        message = f"a hash has {HASH_LENGTH} bytes"
        raise ProofError(message)


def _demand_equal(found: object, expected: object, message: str) -> None:
    if found != expected:
        raise ProofError(message)
