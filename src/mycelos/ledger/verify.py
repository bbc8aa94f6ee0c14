"""Verification: walk every entry and checkpoint, and compare with what is remembered outside the log.

The chain shows an edit, and the log's checkpoints one behind which the chain was written anew without the key. That
everything was written anew shows only to who knows something of the log, its key or an earlier checkpoint; that the end
was cut off, only to who knows a checkpoint. So without any the verdict is *cannot tell*, never *holds*.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from mycelos.ledger.fault import Fault, FaultFoundError
from mycelos.ledger.log_keys import LogKeys
from mycelos.ledger.remembered import Evidence, Memories, RememberedNote
from mycelos.ledger.walk import Walk, link

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from mycelos.ledger.chain import Head
    from mycelos.ledger.signed_note import VerifierKey, Verifies
    from mycelos.ledger.walk import StoredNodes

__all__ = [
    "EXIT_CODES",
    "WORDS",
    "Evidence",
    "Fault",
    "RememberedNote",
    "Verdict",
    "Verification",
    "tail_fault",
    "verify",
]


class Verdict(StrEnum):
    """What a verification says."""

    HOLDS = "holds"
    BROKEN = "broken"
    CANNOT_TELL = "cannot_tell"


EXIT_CODES: Final = {Verdict.HOLDS: 0, Verdict.BROKEN: 1, Verdict.CANNOT_TELL: 6}
WORDS: Final = {Verdict.HOLDS: "holds", Verdict.BROKEN: "does not hold", Verdict.CANNOT_TELL: "cannot tell"}
"""How a person is told."""

GIVEN_KEY: Final = "the key that was given"
"""What ``compared`` calls ``trusted``."""


@dataclass(frozen=True)
class Verification:
    """What a verification has found.

    Attributes:
        verdict: what it comes to.
        reason: the same in a sentence.
        entries: how many were walked; where the log is broken, up to the first fault.
        head: the last of them.
        compared: whose memory the log bears out, by name; `GIVEN_KEY` where the key bears it out too.
        fault: the first place that is wrong, where one is.
        root: the tree's root over these entries, 32 bytes.
        signed_size: how many of them the newest checkpoint of the log covers; 0 where there is none.
        origin: the log's name, once an entry says it.
        key: the vkey of its key in use.
        untrusted: keepers whose memory is no evidence, each with the reason.
        another: keepers that remember another log than the one that this copy is of, not compared.
    """

    verdict: Verdict
    reason: str
    entries: int
    head: Head
    compared: tuple[str, ...]
    fault: Fault | None
    root: bytes
    signed_size: int
    origin: str | None
    key: str | None
    untrusted: Mapping[str, str]
    another: tuple[str, ...]

    @property
    def exit_code(self) -> int:
        """0 holds, 1 broken, 6 cannot tell."""
        return EXIT_CODES[self.verdict]

    def without(self, missing: Sequence[str]) -> Verification:
        """The same where evidence is ``missing``, each a clause that says which: then nothing is said to hold."""
        if not missing or self.verdict is Verdict.BROKEN:
            return self
        before = "every link holds, but " if self.verdict is Verdict.HOLDS else f"{self.reason}; "
        return replace(self, verdict=Verdict.CANNOT_TELL, reason=before + " and ".join(missing))


def verify(
    items: Iterable[Sequence[Any] | bytes],
    remembered: Mapping[str, Evidence],
    verifies: Verifies | None,
    *,
    trusted: VerifierKey | None = None,
    is_copy: bool = False,
    stored: StoredNodes | None = None,
    progress: Callable[[int], None] = lambda _: None,
) -> Verification:
    """Walk a log from its first entry and compare it with what is remembered of it.

    Args:
        items: rows, columns in the order of `COLUMNS`, and each checkpoint (the bytes of a signed note) directly after
            the last entry that it covers: see `mycelos.ledger.items.interleaved`.
        remembered: each keeper by its name.
        verifies: checks a signature. None for who cannot: then the names of keys alone are looked at.
        stored: the tree as it is stored, where the log lies with one; it is held against the entries.
        trusted: a key of this log, known from elsewhere; any one that it had will do.
        is_copy: the log is a copy from an unknown time: ``trusted`` may have come into use after it.
        progress: told the number of entries that hold, about once in a thousand.

    Raises:
        ValueError: ``trusted`` without ``verifies``.
    """
    verifier = Verifier(remembered, verifies, trusted=trusted, is_copy=is_copy, progress=progress, stored=stored)
    verifier.take(items)
    return verifier.end()


class Verifier:
    """The same in pieces, for who is given the log in pieces."""

    def __init__(
        self,
        remembered: Mapping[str, Evidence],
        verifies: Verifies | None,
        *,
        trusted: VerifierKey | None = None,
        is_copy: bool = False,
        progress: Callable[[int], None] = lambda _: None,
        stored: StoredNodes | None = None,
    ) -> None:
        """See `verify`."""
        if trusted is not None and verifies is None:
            message = "a key is of no use to who cannot check signatures"
            raise ValueError(message)
        self._verifies = verifies
        self._trusted = trusted
        self._is_copy = is_copy
        self._is_key_in_doubt = False
        self._progress = progress
        self._keys = LogKeys(verifies or (lambda *_: True), trusted)
        self._memories = Memories(remembered)
        self._walk = Walk(self._keys, self._memories, progress, stored)
        self.fault: Fault | None = None
        """The first place that is wrong; nothing is looked at behind it."""

    def take(self, items: Iterable[Sequence[Any] | bytes]) -> None:
        """Walk the next items."""
        if self.fault is None:
            self._note_fault(lambda: self._walk.run(items))

    def end(self) -> Verification:
        """There are no more."""
        if self.fault is None:
            self._note_fault(self._demand_end)
        walk, keys, memories = self._walk, self._keys, self._memories
        compared = tuple(sorted(memories.borne_out)) + ((GIVEN_KEY,) if walk.vouched_size else ())
        if self.fault is not None:
            verdict, reason = Verdict.BROKEN, str(self.fault)
        elif self._is_key_in_doubt:
            verdict, reason = _judged_in_doubt(memories, walk)
        else:
            verdict, reason = _judged(compared, memories, walk)
        if self._verifies is None:
            reason += "; signatures are not checked here"
        return Verification(
            verdict=verdict,
            reason=reason,
            entries=walk.size,
            head=walk.head,
            compared=compared,
            fault=self.fault,
            root=walk.root(),
            signed_size=walk.signed_size,
            origin=keys.origin,
            key=None if keys.in_use is None else str(keys.in_use),
            untrusted=dict(memories.untrusted),
            another=tuple(sorted(memories.another)),
        )

    def _demand_end(self) -> None:
        self._memories.demand_end(self._walk.head, self._keys)
        self._walk.demand_signed_end()
        self._walk.demand_stored_end()
        self._demand_trusted()

    def _demand_trusted(self) -> None:
        trusted, keys = self._trusted, self._keys
        # One that is announced and has signed nothing yet is no fault, and vouches for nothing.
        if trusted is None or keys.is_vouched_for or trusted in keys.accepted:
            return
        # A key of the same log that a copy does not know may have come later: the origin stays when the key changes.
        if self._is_copy and trusted.name == keys.origin:
            self._is_key_in_doubt = True
            return
        what = "the log's key is not the one that was given, nor one that follows from it"
        raise FaultFoundError(keys.named_at, what, str(trusted), str(keys))

    def _note_fault(self, step: Callable[[], None]) -> None:
        try:
            step()
        except FaultFoundError as found:
            self.fault = found.fault


def tail_fault(rows: Iterable[Sequence[Any]], before: Head) -> tuple[Fault | None, Head]:
    """Check only the links of ``rows``, which come after ``before``: the first fault, and where the log ends."""
    head = before
    try:
        for row in rows:
            head = link(row, head)
    except FaultFoundError as found:
        return found.fault, head
    return None, head


def _judged(compared: tuple[str, ...], memories: Memories, walk: Walk) -> tuple[Verdict, str]:
    if memories.untrusted:
        return Verdict.CANNOT_TELL, _told_untrusted(memories)
    others = _others(memories)
    if memories.bear_out():
        return Verdict.HOLDS, f"every link holds, up to and past what {' and '.join(compared)} remembered{others}"
    if walk.vouched_size:
        reason = f"every link holds, and {GIVEN_KEY} vouches for the first {walk.vouched_size} entries"
        return Verdict.CANNOT_TELL, f"{reason}{others or '; nobody remembers whether there were more'}"
    if others:
        return Verdict.CANNOT_TELL, f"every link holds, but nobody remembers a part of it{others}"
    unseen = "a cut tail or a rewrite would not show"
    return Verdict.CANNOT_TELL, f"every link holds, but nothing was remembered outside the log: {unseen}"


def _judged_in_doubt(memories: Memories, walk: Walk) -> tuple[Verdict, str]:
    """Of a copy that does not know the key that was given: it is older than that key, or somebody made it up."""
    if memories.untrusted:
        return Verdict.CANNOT_TELL, _told_untrusted(memories)
    others = _others(memories)
    if memories.bear_out(signed=walk.signed_size):
        names = " and ".join(sorted(memories.borne_out))
        reason = (
            f"every link holds, as {names} remembered all that is signed; {GIVEN_KEY} is not in it, and may be newer"
        )
        return Verdict.HOLDS, f"{reason}{others}"
    tells = "what tells is the key of that time, a checkpoint of all that is signed, or a newer copy"
    reason = f"every link holds, but {GIVEN_KEY} is not in it: this copy is older than that key, or of a forged log"
    return Verdict.CANNOT_TELL, f"{reason}; {tells}{others}"


def _told_untrusted(memories: Memories) -> str:
    told = " and ".join(f"{keeper} ({why})" for keeper, why in sorted(memories.untrusted.items()))
    return f"every link holds, but nothing can be taken from what is remembered by {told}"


def _others(memories: Memories) -> str:
    """Who remembers what this copy does not have, as clauses."""
    older, another = (" and ".join(sorted(names)) for names in (memories.beyond, memories.another))
    told = f"; this copy is older than what {older} remembered" if older else ""
    if another:
        told += f"; it is not of this installation's log: {another} remembered another log, not compared"
    return told
