"""Was something put back, or cut? Asked at the start, before anything is written.

The vault is held against the newest word that the ledger has of it, the ledger against the heads that are remembered
outside of it. Each refusal names what is behind what, and what a person can do.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from mycelos.ledger.checkpoint import CheckpointError, open_checkpoint
from mycelos.ledger.entry import read_details
from mycelos.ledger.events import ANCHOR, ANCHORED, Event, Source
from mycelos.proxy.ledger.database import LedgerError
from mycelos.proxy.ledger.heads import GATEWAY, remembered_heads
from mycelos.proxy.ledger.keys import read_log_keys
from mycelos.proxy.ledger.reader import LedgerReader
from mycelos.proxy.ledger.vault_word import GENERATION, newest_word
from mycelos.proxy.vault.errors import VaultError
from mycelos.proxy.vault.signing import verifies
from mycelos.proxy.vault.state import Anchor

if TYPE_CHECKING:
    from collections.abc import Callable

    from mycelos.configuration.layout import DataLayout
    from mycelos.proxy.ledger.heads import Remembered
    from mycelos.proxy.ledger.keys import NamedKeys
    from mycelos.proxy.ledger.recovery import Recovery

_ANY_NUMBER: Final = frozenset({Event.KEY_ROTATED})
"""Changes that may take more than one transaction."""

_TO_THE_SECOND: Final = len("2026-01-31T12:00:00")
WAYS_ON: Final = (
    "Put back the newest copy of the data folder, restore a backup with: mycelos backup restore FILE --identity FILE - "
    "or begin anew in another folder with: mycelos init --data-dir DIR"
)
"""What a person can do where the vault itself is gone."""
_UNSIGNED: Final = "a checkpoint that the key of the ledger has not signed"
_log = logging.getLogger(__name__)
_ADOPT: Final = "to take what is there for a restore, with every credential parked: mycelos backup adopt"


@dataclass(frozen=True)
class Anchored:
    """The newest word of the ledger on the vault: its place, and what it says."""

    seq: int
    at: str
    anchor: Anchor


def demand_vault(layout: DataLayout) -> None:
    """Refuse to make a new vault where there was one: where the ledger knows it, or a remembered head the ledger.

    Raises:
        VaultError: the vault's file is gone; nothing was made.
    """
    trace = None if layout.vault.exists() else _trace(layout)
    if trace is not None:
        raise VaultError(detail=f"There is no vault at {layout.vault}, and {trace}.", next_step=WAYS_ON)


def _trace(layout: DataLayout) -> str | None:
    """What in the data folder speaks of a vault that was there; None where nothing does."""
    known = None
    if layout.ledger.exists():
        try:
            with LedgerReader(layout.ledger) as reader:
                # First by the index, which also finds a row that was changed so that it says nothing.
                known = reader.newest_of(ANCHORED) or newest_word(reader)
        except LedgerError:
            # Not a ledger, or not yet one: whoever opens it for writing says so. The heads are asked all the same.
            known = None
    if known is not None:
        return f"the ledger's entry {known.seq} speaks of one"
    remembered = remembered_heads(layout)
    for keeper in sorted(remembered.notes):
        return f"{keeper} remembers a checkpoint of a ledger ({remembered.paths[keeper]})"
    return None


def demand_newest(
    layout: DataLayout,
    present: Anchor,
    recovery: Recovery,
    remembered: Remembered,
    *,
    keys_made: tuple[str, ...],
    is_locked: bool,
    alive: Callable[[], None] | None = None,
) -> None:
    """Refuse a vault or a ledger that is older than something else remembers.

    Args:
        layout: where both lie.
        present: the state of the vault.
        recovery: what the last process left in the ledger.
        remembered: what was read of the heads before the ledger was.
        keys_made: when each long-lived key of the vault was made. The start makes those that are missing, before it
            says so in the ledger.
        is_locked: egress is locked down. A lockdown is set without waiting for the ledger, and nothing leaves then:
            it explains a vault that is ahead.
        alive: called while the ledger is read.

    Raises:
        VaultError: the text says what is behind what, and what to do.
        LedgerError: the file cannot be read as a ledger.
    """
    with LedgerReader(layout.ledger, alive) as reader:
        _demand_heads(reader, remembered)
        known = newest_anchor(reader)
        unresolved = _unresolved_since(reader, -1 if known is None else known.seq, recovery)
    if present.generation < remembered.vault_generation:
        raise VaultError(
            detail=f"The vault was set back: its change {remembered.vault_generation} is remembered outside the data "
            f"folder, and {layout.vault} is at change {present.generation}.",
            next_step=f"Put back the newest copy of the data folder; {_ADOPT}",
        )
    if known is None:
        _demand_new(layout, present, 1 + len(keys_made))
    else:
        made = sum(at[:_TO_THE_SECOND] > known.at[:_TO_THE_SECOND] for at in keys_made)
        _demand_anchored(layout, present, known, unresolved, made, is_locked=is_locked)


def newest_anchor(reader: LedgerReader) -> Anchored | None:
    """The newest entry of proxy or operator that says what the vault held; None where none does.

    Raises:
        LedgerError: it was changed, and says neither.
    """
    entry = newest_word(reader)
    if entry is None:
        return None
    details = read_details(entry)
    generation, digest = details.get(GENERATION), details.get(ANCHOR)
    if type(generation) is not int or not isinstance(digest, str):
        message = f"the ledger's entry {entry.seq} was changed: it does not say what the vault held"
        raise LedgerError(message, "Keep the file as evidence and run mycelos db audit verify")
    return Anchored(entry.seq, entry.at, Anchor(generation, digest))


def _demand_heads(reader: LedgerReader, remembered: Remembered) -> None:
    keys = read_log_keys(reader)
    for keeper, note in sorted(remembered.notes.items()):
        what = _differs(reader, keys, note)
        path = remembered.paths[keeper]
        if what == _UNSIGNED and keeper == GATEWAY:
            # Nobody but the gateway says so, and one that was taken over can write there what it likes.
            _log.warning("the gateway remembers %s: %s", what, path)
        elif what is not None:
            raise VaultError(
                detail=f"The ledger is an old copy, was cut off, or was written anew: {keeper} remembers {what} "
                f"({path}).",
                next_step=f"Put back the newest copy of the data folder; {_ADOPT}",
            )


def _differs(reader: LedgerReader, keys: NamedKeys | None, note: bytes) -> str | None:
    """What ``note`` remembers that the log is not; None where it is a checkpoint of this log."""
    if keys is None:
        return "a ledger that was signed, and this one never was"
    try:
        kept = open_checkpoint(note, keys.origin, keys.keys, verifies)
    except CheckpointError:
        return _UNSIGNED
    size = reader.tree.size
    if kept.size > size:
        return f"{kept.size} entries, and the ledger has {size}"
    return None if reader.tree.root(kept.size) == kept.root else f"other entries than the first {kept.size} here"


def _demand_new(layout: DataLayout, present: Anchor, first: int) -> None:
    """The ledger says nothing of the vault: then that must be new, with ``first`` changes at most."""
    if present.generation > first:
        raise VaultError(
            detail=f"The ledger is gone, was replaced or cut off: {layout.vault} is at change {present.generation}, "
            f"and {layout.ledger} says nothing of it.",
            next_step=f"Put back the newest copy of the data folder; {_ADOPT}",
        )


def _demand_anchored(
    layout: DataLayout, present: Anchor, known: Anchored, unresolved: tuple[Event, ...], made: int, *, is_locked: bool
) -> None:
    ahead = present.generation - known.anchor.generation
    if ahead < 0:
        raise VaultError(
            detail=f"The vault was set back: the ledger's entry {known.seq} speaks of its change "
            f"{known.anchor.generation}, and {layout.vault} is at change {present.generation}.",
            next_step=f"Put back the newest copy of the vault; {_ADOPT}",
        )
    if ahead == 0 and present.digest != known.anchor.digest:
        raise VaultError(
            detail=f"The vault is not the one of which the ledger's entry {known.seq} speaks: at the same change, "
            f"{known.anchor.generation}, {layout.vault} holds something else.",
            next_step=f"Put back the newest copy of the data folder; {_ADOPT}",
        )
    is_explained = ahead <= len(unresolved) + made or is_locked or not _ANY_NUMBER.isdisjoint(unresolved)
    if ahead > 0 and not is_explained:
        raise VaultError(
            detail=f"The ledger was set back or cut off: {layout.vault} is at change {present.generation}, the "
            f"ledger's newest word of it (entry {known.seq}) is of change {known.anchor.generation}, and a crash "
            f"explains {len(unresolved) + made or 'none'} of what lies between.",
            next_step=f"Put back the newest copy of the ledger; {_ADOPT}",
        )


def _unresolved_since(reader: LedgerReader, seq: int, recovery: Recovery) -> tuple[Event, ...]:
    """The intents of changes whose effect may have happened unsaid: open now, or found so at a start since ``seq``."""
    noted = (
        str(read_details(entry).get("event", ""))
        for entry in reader.every((Event.INTENT_UNRESOLVED,), seq)
        if entry.source == Source.PROXY
    )
    names = (*noted, *(intent.event for intent in recovery.unresolved))
    events = (Event(name) for name in names if name in set(Event))
    return tuple(event for event in events if event in ANCHORED)
