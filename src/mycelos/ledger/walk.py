"""The walk over a whole log: each link of the chain, the tree, each checkpoint on its way. The inner loop of `verify`.

An item is a row (columns in the order of `COLUMNS`) or a checkpoint (the bytes of a signed note), which stands directly
after the last entry that it covers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

from mycelos.ledger.chain import EMPTY, Head, computed_hash
from mycelos.ledger.checkpoint import CheckpointError, parse_text
from mycelos.ledger.entry import VERSION, EntryError, body, entry_from_row
from mycelos.ledger.events import UNSIGNED
from mycelos.ledger.fault import FaultFoundError
from mycelos.ledger.log_keys import KEY_EVENTS
from mycelos.ledger.merkle import Frontier, Node
from mycelos.ledger.signed_note import NoteError, parse_note
from mycelos.ledger.unsigned import LIMIT, NOT_SIGNED, demand_unsigned

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mycelos.ledger.log_keys import LogKeys
    from mycelos.ledger.remembered import Memories

BATCH: Final = 1024
"""Leaves that are put into the tree at once."""
StoredNodes = Mapping[int, Iterable[tuple[object, object]]]
"""Of each level of the tree that is stored: place and hash of each complete subtree, in the order of the places."""

_UNSIGNED: Final = frozenset(event.value for event in UNSIGNED)


class Walk:
    """How far a log was walked, and what was found by then. ``progress`` is told the number of entries now and then."""

    def __init__(
        self, keys: LogKeys, memories: Memories, progress: Callable[[int], None], stored: StoredNodes | None = None
    ) -> None:
        self.head = EMPTY
        self.signed_size = 0
        """Entries that the newest checkpoint of the log covers."""
        self.vouched_size = 0
        """The same for the newest one whose key follows from the one that the caller trusts."""
        self._keys = keys
        self._memories = memories
        self._progress = progress
        self._stored = {level: iter(nodes) for level, nodes in (stored or {}).items()}
        self._complete: list[Node] = []
        self._tree = Frontier()
        self._leaves: list[bytes] = []
        self._unsigned = -1
        """The first entry behind the newest checkpoint whose event must not stand there; -1 where there is none."""
        self._behind: list[Sequence[Any]] = []
        """The entries behind the newest checkpoint, as long as each may stand there; one more than `LIMIT` at most."""
        self._epoch = 0
        """The last entry's."""
        self._signed_epoch = 0
        """That of the last entry that a checkpoint covers."""

    @property
    def size(self) -> int:
        """Entries that hold."""
        return self.head.seq + 1

    def root(self) -> bytes:
        """The root over these entries."""
        if self._leaves:
            size = self._tree.size
            for level, hashes in enumerate(self._tree.extend(self._leaves)):
                if level in self._stored:
                    self._complete += ((level, place, one) for place, one in enumerate(hashes, size >> level))
            self._leaves.clear()
        return self._tree.root()

    def run(self, items: Iterable[Sequence[Any] | bytes]) -> None:
        """Walk to the end.

        Raises:
            FaultFoundError: at the first item that is not what it must be.
        """
        self._compare()
        events, unsigned, leaves, behind = KEY_EVENTS, _UNSIGNED, self._leaves, self._behind
        before: Any = self.head.leaf_hash
        epoch = self._epoch
        seq, stop = self.head.seq, self._next_stop()
        for item in items:
            if isinstance(item, bytes):
                self.head = Head(seq, before)
                self._read_checkpoint(item, epoch)
                continue
            leaf = _leaf(item, seq + 1, before)
            if not leaf:
                self.head = Head(seq, before)
                leaf = bytes.fromhex(link(item, self.head).leaf_hash)
            if item[5] in events:
                self.head = Head(seq, before)
                self._keys.read(item)
            seq, before, epoch = seq + 1, item[20], item[2]
            leaves.append(leaf)
            if self._unsigned < 0:
                if item[5] not in unsigned:
                    self._unsigned = seq
                elif len(behind) <= LIMIT:
                    behind.append(item)
            if seq == stop:
                self.head = Head(seq, before)
                self._compare()
                stop = self._next_stop()
        self.head, self._epoch = Head(seq, before), epoch
        self._compare()

    def demand_stored_end(self) -> None:
        """The stored tree ends where the log does.

        Raises:
            FaultFoundError: it has more.
        """
        for level, nodes in self._stored.items():
            if next(nodes, None) is not None:
                what = f"the stored tree has a hash of level {level} for entries that are not there"
                raise FaultFoundError(self.size, what, "none", "one more")

    def demand_signed_end(self) -> None:
        """The proxy signs each entry in the transaction that writes it, but for `UNSIGNED`.

        Raises:
            FaultFoundError: an entry at the end is not signed, in a log that names a key.
        """
        if self._keys.in_use is None or self.signed_size == self.size:
            return
        if self._unsigned >= 0:
            raise FaultFoundError(self._unsigned, NOT_SIGNED, str(self._keys), "no signature")
        demand_unsigned(self._behind, self._signed_epoch, str(self._keys))

    def _next_stop(self) -> int:
        batch = self.head.seq + BATCH
        wanted = self._memories.next_size
        return batch if wanted is None else min(batch, wanted - 1)

    def _compare(self) -> None:
        self._memories.check(self.head, self.root(), self._keys)
        for level, place, computed in self._complete:
            found = next(self._stored[level], None)
            if found != (place, computed):
                last = ((place + 1) << level) - 1
                what = f"the stored tree has another hash of level {level} at place {place}"
                raise FaultFoundError(last, what, computed.hex(), _told(found))
        self._complete.clear()
        self._progress(self.size)

    def _read_checkpoint(self, data: bytes, epoch: int) -> None:
        last = max(self.head.seq, 0)
        try:
            note = parse_note(data)
            checkpoint = parse_text(note.text)
        except (NoteError, CheckpointError) as error:
            expected = "a signed note of origin, size and root"
            raise FaultFoundError(last, "a checkpoint cannot be read", expected, str(error)) from None
        if checkpoint.size > self.size:
            what = "entries that were signed are missing"
            raise FaultFoundError(self.size, what, f"{checkpoint.size} entries", f"{self.size} entries")
        if checkpoint.size < self.size or checkpoint.size <= self.signed_size:
            what = "a checkpoint is out of order"
            raise FaultFoundError(last, what, f"one of {self.size} entries, once", f"one of {checkpoint.size} entries")
        try:
            key = self._keys.signer(note)
        except NoteError as error:
            what = "a checkpoint that the log's key has not signed"
            raise FaultFoundError(last, what, str(self._keys), f"{note.signers}: {error}") from None
        if checkpoint.origin != self._keys.origin:
            what = "a checkpoint of another log"
            raise FaultFoundError(last, what, str(self._keys.origin), checkpoint.origin)
        if checkpoint.root != self.root():
            what = f"one of the entries {self.signed_size} to {last} was written anew after it was signed"
            raise FaultFoundError(last, what, checkpoint.root.hex(), self.root().hex())
        self._keys.has_signed(key)
        self.signed_size, self._unsigned = checkpoint.size, -1
        self._signed_epoch = epoch
        self._behind.clear()
        if self._keys.is_vouched_for:
            self.vouched_size = checkpoint.size


def link(row: Sequence[Any], head: Head) -> Head:
    """The head after ``row``, which must follow ``head``.

    Raises:
        FaultFoundError: it is no entry, does not follow, or its content was changed.
    """
    place = head.seq + 1
    try:
        entry = entry_from_row(row)
    except EntryError as error:
        raise FaultFoundError(place, "this row is not an entry", "an entry v1", str(error)) from None
    if entry.seq != place:
        what = "an entry is missing or out of order"
        raise FaultFoundError(place, what, f"entry {place}", f"entry {entry.seq}")
    if entry.prev_hash != head.leaf_hash:
        what = "the entry does not follow the one before it"
        raise FaultFoundError(place, what, head.leaf_hash, entry.prev_hash)
    computed = computed_hash(entry)
    if computed != entry.leaf_hash:
        raise FaultFoundError(place, "the entry's content was changed", entry.leaf_hash, computed)
    return Head(place, entry.leaf_hash)


def _told(found: tuple[object, object] | None) -> str:
    if found is None:
        return "none"
    place, stored = found
    return f"{stored.hex() if isinstance(stored, bytes) else 'no hash'} at place {place}"


def _leaf(row: Sequence[Any], place: int, before: str, sha256: Callable[[bytes], Any] = hashlib.sha256) -> bytes:
    """The leaf hash of a row that follows; empty where it does not, or where that is not plain: then `link` decides."""
    try:
        found: bytes = sha256(b"\x00" + body(row)).digest()
    except (TypeError, ValueError):
        return b""
    # The texts are texts, or they could not have been quoted.
    is_plain = (
        row[0].__class__ is row[1].__class__ is row[2].__class__ is row[4].__class__ is int
        and (row[7] is None or row[7].__class__ is int)
        and row[18].__class__ is str
    )
    follows = row[0] == place and row[1] == VERSION and row[19] == before and found.hex() == row[20]
    return found if is_plain and follows else b""
