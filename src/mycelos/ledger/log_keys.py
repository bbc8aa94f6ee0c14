"""Which keys may sign the checkpoints of a log, as the log itself says it.

- *Named*: the first entry of `ledger.checkpoint` by the proxy that holds ``public_key`` names the origin, and the key,
  which is *in use* from there on. Later entries of that kind change nothing.
- *Announced*: an intent of `key.rotated` for the signing key by the operator, signed by both keys, hands on from the
  key in use, or from an announced one.
- An announced key comes into use with the first checkpoint of the log that it signs, with the outcome ``ok`` of its
  intent, or with a change that begins with it, whichever comes first; the key before it and whatever else was announced
  are void then. With another outcome it stays announced: a change may fail after it was made.

A checkpoint of size N is signed by the key that is in use after the first N entries, or by one that is announced there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mycelos.ledger.entry import Entry, Phase, entry_from_row, read_details
from mycelos.ledger.events import Event, Source
from mycelos.ledger.fault import FaultFoundError
from mycelos.ledger.key_change import KeyChangeError, check_key_change
from mycelos.ledger.signed_note import NoteError, VerifierKey
from mycelos.wire.keys import LEDGER_SIGNING_KEY

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mycelos.ledger.signed_note import SignedNote, Verifies

KEY_EVENTS: Final = frozenset({Event.LEDGER_CHECKPOINT.value, Event.KEY_ROTATED.value})
"""The events that `LogKeys.read` wants to see."""


class LogKeys:
    """The keys of one log, while its entries are read in order."""

    def __init__(self, verifies: Verifies, trusted: VerifierKey | None = None) -> None:
        self._verifies = verifies
        self._trusted = trusted
        self._announced: dict[int, VerifierKey] = {}
        self.named_at = 0
        """The entry that names the first key."""
        self.in_use: VerifierKey | None = None
        self.is_vouched_for = False
        """Whether the key in use is ``trusted`` or follows from it."""

    @property
    def origin(self) -> str | None:
        """The name of the log, which is the name of each of its keys; None before an entry says it."""
        return None if self.in_use is None else self.in_use.name

    @property
    def accepted(self) -> tuple[VerifierKey, ...]:
        """The keys that may sign a checkpoint after the entries read so far."""
        return () if self.in_use is None else (self.in_use, *self._announced.values())

    def __str__(self) -> str:
        """The vkeys of `accepted`."""
        return " or ".join(map(str, self.accepted)) or "the log names no key"

    def read(self, row: Sequence[object]) -> None:
        """Take in one entry of `KEY_EVENTS`, which holds by itself.

        Raises:
            FaultFoundError: it names no key where it should, or hands on from a key that is not this log's, or not by
                both keys.
        """
        entry = entry_from_row(row)
        if entry.event == Event.LEDGER_CHECKPOINT:
            if self.in_use is None and entry.source == Source.PROXY:
                self._name(entry)
        elif self.in_use is not None and entry.source == Source.OPERATOR:
            if entry.phase == Phase.INTENT and read_details(entry).get("name") == LEDGER_SIGNING_KEY:
                self._announce(entry, self.in_use)
            elif entry.phase == Phase.OUTCOME and entry.outcome == "ok" and entry.intent_seq in self._announced:
                self._use(self._announced[entry.intent_seq])

    def signer(self, note: SignedNote) -> VerifierKey:
        """Which of the accepted keys has signed ``note``. It is not in use by that: see `has_signed`.

        Raises:
            NoteError: none of them.
        """
        return note.verified_by(self.accepted, self._verifies)[0]

    def has_signed(self, key: VerifierKey) -> None:
        """A checkpoint of the log itself is signed by ``key``, one of `accepted`."""
        if key != self.in_use:
            self._use(key)

    def _name(self, entry: Entry) -> None:
        details = read_details(entry)
        if "public_key" not in details:
            return
        try:
            key = VerifierKey(str(details.get("origin")), bytes.fromhex(str(details["public_key"])))
        except (ValueError, NoteError) as error:
            expected = "an origin and a public key of 32 bytes in hex"
            raise FaultFoundError(
                entry.seq, "the entry that names the log's key names none", expected, str(error)
            ) from None
        self.named_at = entry.seq
        self._use(key)

    def _announce(self, entry: Entry, in_use: VerifierKey) -> None:
        try:
            change = check_key_change(entry, self._verifies)
            previous, following = (
                VerifierKey(in_use.name, bytes.fromhex(text))
                for text in (change.previous_public_key, change.public_key)
            )
        except KeyChangeError as error:
            what = "a change of the signing key that its keys have not made"
            raise FaultFoundError(entry.seq, what, "the signatures of both keys", str(error)) from None
        if previous not in self.accepted:
            what = "a change of the signing key that begins with a key that is not this log's"
            raise FaultFoundError(entry.seq, what, str(self), str(previous))
        self.has_signed(previous)
        self._announced[entry.seq] = following

    def _use(self, key: VerifierKey) -> None:
        self.in_use = key
        self.is_vouched_for = self.is_vouched_for or key == self._trusted
        self._announced.clear()
