"""What is remembered of a log outside of it, held against the log while it is walked.

A keeper remembers a signed checkpoint. One of the operator's side (the command line, the proxy outside the data folder,
a witness, a file that is given) can be believed: where the log does not bear out what it remembers, the log is broken,
also where another key than the log's has signed it, since that is how a swapped key shows. The gateway may be hijacked:
what the log's key has not signed is no evidence there, neither for the log nor against it. But nor can it be told then
that nothing was cut off: a log that was set back to before a change of its key does not know the key that came later.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mycelos.ledger.chain import Head
from mycelos.ledger.checkpoint import Checkpoint, CheckpointError, parse_text
from mycelos.ledger.fault import FaultFoundError
from mycelos.ledger.signed_note import NoteError, SignedNote, parse_note

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mycelos.ledger.log_keys import LogKeys


@dataclass(frozen=True)
class RememberedNote:
    """The bytes of a checkpoint that a keeper has kept. ``is_operators`` is false for what the gateway can write.

    ``binds_end`` is false where the log is a copy that was made before: it may end earlier than the keeper remembers.
    """

    note: bytes
    is_operators: bool = True
    binds_end: bool = True


Evidence = RememberedNote | Head
"""A `Head` is what the caller itself knows of the log, from a place that needs no signature."""


@dataclass(frozen=True)
class _Head:
    keeper: str
    size: int
    head: Head


@dataclass(frozen=True)
class _Note:
    keeper: str
    size: int
    note: SignedNote
    checkpoint: Checkpoint
    is_operators: bool
    binds_end: bool


class Memories:
    """What every keeper remembers. `check` it at each `next_size`, and `demand_end` where the log ends."""

    def __init__(self, remembered: Mapping[str, Evidence]) -> None:
        self.untrusted: dict[str, str] = {}
        """Keepers whose memory is no evidence, each with the reason."""
        self.borne_out: list[str] = []
        """Keepers whose memory the log bears out."""
        self.beyond: list[str] = []
        """Keepers that remember more than the copy has, which is no fault of it."""
        waiting: list[_Head | _Note] = []
        for keeper, evidence in sorted(remembered.items()):
            try:
                waiting.append(_read(keeper, evidence))
            except (NoteError, CheckpointError) as error:
                self.untrusted[keeper] = str(error)
        # The nearest one last.
        self._waiting = sorted(waiting, key=lambda memory: memory.size, reverse=True)

    @property
    def next_size(self) -> int | None:
        """At how many entries `check` is wanted next; None where nothing waits."""
        return self._waiting[-1].size if self._waiting else None

    def check(self, head: Head, root: bytes, keys: LogKeys) -> None:
        """Compare what is remembered of the log as it is at ``head``.

        Raises:
            FaultFoundError: the log was written anew, or its key is another one.
        """
        while self.next_size == head.seq + 1:
            memory = self._waiting.pop()
            if isinstance(memory, _Head):
                expected, found, what = memory.head.leaf_hash, head.leaf_hash, "entry"
            elif self._is_believed(memory, head, keys):
                expected, found, what = memory.checkpoint.root.hex(), root.hex(), "root"
            else:
                continue
            if expected != found:
                what = f"the log was written anew: {memory.keeper} remembers another {what} here"
                raise FaultFoundError(max(head.seq, 0), what, expected, found)
            self.borne_out.append(memory.keeper)

    def demand_end(self, head: Head, keys: LogKeys) -> None:
        """Nothing may be remembered past the end of the log.

        Raises:
            FaultFoundError: the end is missing, or the log's key is another one.
        """
        while self._waiting:
            memory = self._waiting.pop()
            is_same_log = not isinstance(memory, _Head) and keys.origin in {None, memory.checkpoint.origin}
            if isinstance(memory, _Note) and not memory.binds_end and is_same_log:
                self.beyond.append(memory.keeper)
                continue
            # The key that came into use in a part that was cut off is not known here.
            is_cut = isinstance(memory, _Head) or (memory.is_operators and is_same_log)
            if is_cut or (isinstance(memory, _Note) and self._is_believed(memory, head, keys)):
                what = f"the end of the log is missing: {memory.keeper} remembers entry {memory.size - 1}"
                found = f"the log ends with entry {head.seq}" if head.seq >= 0 else "the log is empty"
                raise FaultFoundError(head.seq + 1, what, f"entry {memory.size - 1}", found)

    def _is_believed(self, memory: _Note, head: Head, keys: LogKeys) -> bool:
        """Whether the log's key has signed it; if not, that is a fault or no evidence: see the module's head."""
        try:
            keys.signer(memory.note)
        except NoteError as error:
            reason = str(error)
        else:
            if memory.checkpoint.origin == keys.origin:
                return True
            reason = "it is of another log"
        if not memory.is_operators:
            self.untrusted[memory.keeper] = reason
            return False
        what = f"{memory.keeper} remembers a checkpoint that this log's key has not signed"
        raise FaultFoundError(max(head.seq, 0), what, memory.note.signers, str(keys))


def _read(keeper: str, evidence: Evidence) -> _Head | _Note:
    if isinstance(evidence, Head):
        return _Head(keeper, evidence.seq + 1, evidence)
    note = parse_note(evidence.note)
    checkpoint = parse_text(note.text)
    return _Note(keeper, checkpoint.size, note, checkpoint, evidence.is_operators, evidence.binds_end)
