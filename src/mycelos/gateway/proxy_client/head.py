"""The newest checkpoint that this gateway was given and saw to follow: what makes a ledger that was set back visible.

Each receipt brings a checkpoint. One with more entries is taken only after a proof that it begins with the entries of
the one that is kept (RFC 6962, section 2.1.2), checked here by hashing: see `HeadFollower`. The signature is for
`mycelos db audit verify` to check; the gateway has no cryptography.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from mycelos.configuration.head_file import HeadFile, HeadFileError, read_head_file, write_head_file
from mycelos.ledger.checkpoint import Checkpoint, CheckpointError, parse_text
from mycelos.ledger.merkle import ProofError, verify_consistency
from mycelos.ledger.signed_note import NoteError, parse_note

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from pathlib import Path

    from mycelos.wire.audit import AppendReceipt

WRITE_SECONDS: Final = 0.25
"""The file is written this often at most, and at stop."""

_REMEMBERED: Final = 1024
"""Receipts whose places are remembered, the newest ones."""
_RUN: Final = "Run: mycelos db audit verify"
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Kept:
    """A signed note, and what it says."""

    note: str
    checkpoint: Checkpoint

    @property
    def size(self) -> int:
        """Entries that it covers."""
        return self.checkpoint.size

    @classmethod
    def read(cls, note: str) -> Kept:
        """The checkpoint of ``note``.

        Raises:
            NoteError, CheckpointError: it is none.
        """
        return cls(note, parse_text(parse_note(note.encode()).text))


@dataclass(frozen=True)
class Alarm:
    """Why the ledger cannot be believed."""

    code: str
    detail: str


class RememberedHead:
    """Keeps the newest proven checkpoint, in memory and in a file; raises an alarm where the ledger went back.

    After an alarm nothing is taken any more: what is kept is what the ledger has to be held against.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._recent: OrderedDict[int, None] = OrderedDict()
        self._taken = asyncio.Event()
        self._one_at_a_time = threading.Lock()
        self.alarm: Alarm | None = None
        self.kept: Kept | None = None
        self.candidate: Kept | None = None
        """The newest that was given and not proven yet."""
        self.offered = asyncio.Event()
        """Set while there is a candidate."""
        self.floor = -1
        """The highest place that is known; a receipt for an entry sent after this moment lies above it."""
        try:
            kept = Kept.read(read_head_file(path).note)
        except FileNotFoundError:
            pass
        except (OSError, HeadFileError, UnicodeError, NoteError, CheckpointError):
            self._raise(f"The remembered checkpoint {path.name} cannot be read")
        else:
            self.kept, self.floor = kept, kept.size - 1

    def remember(self, receipt: AppendReceipt, floor: int) -> None:
        """Take a receipt in. ``floor`` was read before its entry was sent."""
        if receipt.seq <= floor or receipt.seq in self._recent:
            place = max(floor, receipt.seq)
            self._raise(
                f"The ledger gave place {receipt.seq} to a new entry, but place {place} was taken:"
                f" it was set back or replaced. {_RUN}"
            )
            return
        self._recent[receipt.seq] = None
        if len(self._recent) > _REMEMBERED:
            self._recent.popitem(last=False)
        self.floor = max(self.floor, receipt.seq)
        if receipt.checkpoint is not None:
            self._offer(receipt.checkpoint, receipt.seq)

    def prove(self, candidate: Kept, proof: Sequence[bytes]) -> None:
        """Take ``candidate`` if ``proof`` shows that it begins with what is kept; else there is an alarm."""
        kept = self.kept
        if kept is None or self.alarm is not None or candidate.size <= kept.size:
            return
        try:
            verify_consistency(kept.size, candidate.size, proof, kept.checkpoint.root, candidate.checkpoint.root)
        except ProofError as error:
            self._raise(
                f"The ledger's {candidate.size} entries do not begin with the {kept.size} that were signed before"
                f" ({error}): it was written anew or replaced. {_RUN}"
            )
        else:
            self._take(candidate)

    def deny(self, candidate: Kept) -> None:
        """The proxy says that it cannot show that ``candidate``, which it signed, follows."""
        self._raise(f"The proxy cannot show that its ledger of {candidate.size} entries follows the one before. {_RUN}")

    async def write(self) -> None:
        """Write the file now, whole or not at all, also where the power fails: an empty one would be an alarm.

        Where that place refuses, the next checkpoint tries again.
        """
        self._taken.clear()
        if self.kept is None:
            return
        try:
            await asyncio.to_thread(self._put, self.kept)
        except OSError as error:
            # What is missing then is evidence for the time after a restart.
            _log.warning("%s cannot be written (%s)", self._path, error.strerror)

    async def run(self, pause: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        """Write what is taken, soon after it is, until this is cancelled."""
        while True:
            await self._taken.wait()
            await pause(WRITE_SECONDS)
            await self.write()

    def _put(self, kept: Kept) -> None:
        # A thread whose waiter was cancelled works on: what it has in hand may not come after something newer.
        with self._one_at_a_time:
            newest = self.kept or kept
            write_head_file(self._path, HeadFile(newest.note))

    def _offer(self, note: str, seq: int) -> None:
        if self.alarm is not None:
            return
        try:
            found = Kept.read(note)
        except (NoteError, CheckpointError, UnicodeError):
            self._raise("The proxy gave a checkpoint that is none")
            return
        kept = self.kept
        if found.size <= seq:
            self._raise(f"The checkpoint given with entry {seq} does not cover it. {_RUN}")
        elif kept is None:
            # The first that is ever seen is taken as it is: from there on the ledger can only grow.
            self._take(found)
        elif found.checkpoint.origin != kept.checkpoint.origin:
            self._raise(f"The proxy gave a checkpoint of another ledger. {_RUN}")
        elif found.size == kept.size and found.checkpoint.root != kept.checkpoint.root:
            self._raise(f"The proxy signed two ledgers of {kept.size} entries. {_RUN}")
        elif found.size > max(kept.size, self.candidate.size if self.candidate else 0):
            self.candidate = found
            self.offered.set()

    def _take(self, found: Kept) -> None:
        self.kept = found
        if self.candidate is not None and self.candidate.size <= found.size:
            self.candidate = None
            self.offered.clear()
        self._taken.set()

    def _raise(self, detail: str) -> None:
        # The first alarm is the one that tells where it began.
        self.alarm = self.alarm or Alarm("ledger.verify_failed", detail)
        self.candidate = None
        self.offered.clear()
