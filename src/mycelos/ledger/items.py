"""What verification walks and an export holds: entries, and each checkpoint directly after the last one it covers."""

from __future__ import annotations

import heapq
from itertools import islice
from operator import itemgetter
from typing import TYPE_CHECKING, TypeVar

from mycelos.ledger.checkpoint import SIZE_LIMIT, CheckpointError, parse_text
from mycelos.ledger.signed_note import NoteError, parse_note

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

Row = TypeVar("Row")


def interleaved(
    rows: Iterable[Row], kept: Iterable[tuple[int, bytes]], newest: bytes | None = None
) -> Iterator[Row | bytes]:
    """``rows`` and the checkpoints among them, all as they are stored: it is for `verify` to say whether they hold.

    Args:
        rows: every entry from the first.
        kept: the log's checkpoints with the sizes that they are stored under, in the order of these.
        newest: the newest checkpoint, from its own file. It may be older than some of those kept, or one of them.
    """
    pairs = heapq.merge(kept, () if newest is None else ((_size(newest), newest),), key=itemgetter(0))
    left, size = iter(rows), 0
    for covered, note in _without_repeats(pairs):
        # None stands before the first entry, whatever size it is stored under.
        wanted = max(covered, size, 1)
        yield from islice(left, wanted - size)
        yield note
        size = wanted
    yield from left


def _without_repeats(pairs: Iterable[tuple[int, bytes]]) -> Iterator[tuple[int, bytes]]:
    before = None
    for pair in pairs:
        if pair != before:
            yield pair
        before = pair


def _size(note: bytes) -> int:
    try:
        return parse_text(parse_note(note).text).size
    except (NoteError, CheckpointError):
        # Behind everything: there it fails.
        return SIZE_LIMIT
