"""What is remembered of a log outside of it, held against the log while it is walked.

A keeper remembers a signed checkpoint. One of the operator's side (the command line, the proxy outside the data folder,
a witness, a file that is given) can be believed: where the log does not bear out what it remembers, the log is broken,
also where another key than the log's has signed it, since that is how a swapped key shows. The gateway may be hijacked:
what the log's key has not signed is no evidence there, neither for the log nor against it. But nor can it be told then
that nothing was cut off: a log that was set back to before a change of its key does not know the key that came later.

A *copy* that somebody was given need not be of the log that this installation's keepers remember. Where those of the
operator's side all name another origin, it is of another log: nothing that is remembered here says anything of it, and
only what was given for it can bear it out.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

from mycelos.ledger.chain import Head
from mycelos.ledger.checkpoint import Checkpoint, CheckpointError, parse_text
from mycelos.ledger.fault import FaultFoundError
from mycelos.ledger.signed_note import NoteError, SignedNote, parse_note

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mycelos.ledger.log_keys import LogKeys


_WRITTEN_ANEW_OR_RESTORED: Final = (
    "the log was written anew, or this copy was made before a backup was restored, which forks the log"
)


@dataclass(frozen=True)
class RememberedNote:
    """The bytes of a checkpoint that a keeper has kept. ``is_operators`` is false for what the gateway can write.

    ``binds`` is false for what an installation remembers, where the log is a copy: that may end earlier than the keeper
    remembers, or be of another log.
    """

    note: bytes
    is_operators: bool = True
    binds: bool = True


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
    binds: bool


class Memories:
    """What every keeper remembers. `check` it at each `next_size`, and `demand_end` where the log ends."""

    def __init__(self, remembered: Mapping[str, Evidence]) -> None:
        self.untrusted: dict[str, str] = {}
        """Keepers whose memory is no evidence, each with the reason."""
        self.another: list[str] = []
        """Keepers that remember another log than the one that the copy is of, which is not compared."""
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
        self._borne_out: list[_Head | _Note] = []
        self._ours = {
            memory.checkpoint.origin
            for memory in waiting
            if isinstance(memory, _Note) and memory.is_operators and not memory.binds
        }

    @property
    def borne_out(self) -> list[str]:
        """Keepers whose memory the log bears out."""
        return [memory.keeper for memory in self._borne_out]

    def bear_out(self, *, signed: int | None = None) -> bool:
        """Whether what the log bears out says that it holds.

        Of another log, what this installation remembers does not. ``signed`` is given where the log's key is in doubt,
        with the entries that its own checkpoints cover: then it takes all of these, remembered by the operator's side.
        """
        return any(map(partial(self._counts, signed=signed), self._borne_out))

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
            if self._is_of_another(memory, keys):
                continue
            if isinstance(memory, _Head):
                expected, found, what = memory.head.leaf_hash, head.leaf_hash, "entry"
            elif self._is_believed(memory, head, keys):
                expected, found, what = memory.checkpoint.root.hex(), root.hex(), "root"
            else:
                continue
            if expected != found:
                why = "the log was written anew" if _binds(memory) else _WRITTEN_ANEW_OR_RESTORED
                what = f"{why}: {memory.keeper} remembers another {what} here"
                raise FaultFoundError(max(head.seq, 0), what, expected, found)
            self._borne_out.append(memory)

    def demand_end(self, head: Head, keys: LogKeys) -> None:
        """Nothing may be remembered past the end of the log.

        Raises:
            FaultFoundError: the end is missing, or the log's key is another one.
        """
        while self._waiting:
            memory = self._waiting.pop()
            if self._is_of_another(memory, keys):
                continue
            is_same_log = not isinstance(memory, _Head) and keys.origin in {None, memory.checkpoint.origin}
            if not _binds(memory) and is_same_log:
                self.beyond.append(memory.keeper)
                continue
            # The key that came into use in a part that was cut off is not known here.
            is_cut = isinstance(memory, _Head) or (memory.is_operators and is_same_log)
            if is_cut or (isinstance(memory, _Note) and self._is_believed(memory, head, keys)):
                what = f"the end of the log is missing: {memory.keeper} remembers entry {memory.size - 1}"
                found = f"the log ends with entry {head.seq}" if head.seq >= 0 else "the log is empty"
                raise FaultFoundError(head.seq + 1, what, f"entry {memory.size - 1}", found)

    def _is_of_another(self, memory: _Head | _Note, keys: LogKeys) -> bool:
        """Whether ``memory`` is of another log than the copy, which then is noted."""
        if isinstance(memory, _Head) or memory.binds or not self._ours:
            return False
        if keys.origin in {None, memory.checkpoint.origin, *self._ours}:
            return False
        self.another.append(memory.keeper)
        return True

    def _counts(self, memory: _Head | _Note, signed: int | None) -> bool:
        is_of_this_log = _binds(memory) or not self.another
        is_operators = isinstance(memory, _Head) or memory.is_operators
        return is_of_this_log and (signed is None or (is_operators and memory.size >= signed))

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


def _binds(memory: _Head | _Note) -> bool:
    return isinstance(memory, _Head) or memory.binds


def _read(keeper: str, evidence: Evidence) -> _Head | _Note:
    if isinstance(evidence, Head):
        return _Head(keeper, evidence.seq + 1, evidence)
    note = parse_note(evidence.note)
    checkpoint = parse_text(note.text)
    return _Note(keeper, checkpoint.size, note, checkpoint, evidence.is_operators, evidence.binds)
