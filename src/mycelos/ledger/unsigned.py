"""What may stand at the end of a signed log without a signature: what a command writes beside a stopped system.

Such a command has no key, so anybody who can write the file can write the same. Therefore it is little: a closed list
of events, each exactly as it would be written, none of which says what a vault holds, and not many of them.
"""

from __future__ import annotations

import json
import re
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from mycelos.ledger.entry import Entry, EntryError, Phase, entry_from_row, make_draft
from mycelos.ledger.events import UNSIGNED, Event
from mycelos.ledger.fault import FaultFoundError
from mycelos.wire.identifiers import DEFAULT_TENANT

if TYPE_CHECKING:
    from collections.abc import Sequence

LIMIT: Final = 1000
"""Entries at most."""

NOT_SIGNED: Final = "an entry that no checkpoint covers: it was added without the log's key, or its checkpoint is gone"
_AT: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z")
_MOST: Final = 2**53
_DRAWN_UP: Final = (
    *("event", "phase", "intent_seq", "source", "tenant", "principal", "actor", "run", "agent", "subject", "outcome"),
    *("reason", "args_mac", "details"),
)
"""The columns that a draft has before the writer gives it its place and time."""


def demand_unsigned(rows: Sequence[Sequence[Any]], epoch: int, keys: str) -> None:
    """Refuse what must not stand without a signature.

    Args:
        rows: every entry after the newest checkpoint, in order; each holds by itself.
        epoch: that of the entry before the first of them.
        keys: the vkeys that could have signed, for the words of a refusal.

    Raises:
        FaultFoundError: at the first entry that must not stand there.
    """
    if len(rows) > LIMIT:
        raise FaultFoundError(rows[0][0], NOT_SIGNED, f"{LIMIT} entries at most without a signature of {keys}", "more")
    for row in rows:
        entry = entry_from_row(row)
        why = _refused(entry, epoch)
        if why is not None:
            raise FaultFoundError(entry.seq, NOT_SIGNED, keys, f"no signature, and {why}")
        epoch = entry.epoch


def _refused(entry: Entry, epoch: int) -> str | None:
    """Why ``entry`` must not stand without a signature; None where it may."""
    if entry.event not in UNSIGNED:
        return "not one of the events that need none"
    if not epoch <= entry.epoch <= epoch + 1 or not 0 <= entry.mono < _MOST:
        return "an epoch or a count that does not follow"
    if not _is_time(entry.at):
        return "a time that is none"
    if entry.phase != Phase.FACT or entry.tenant != DEFAULT_TENANT or entry.args_mac is not None:
        return "not the form of a fact"
    try:
        details = json.loads(entry.details)
        draft = make_draft(
            Event(entry.event),
            Phase.FACT,
            tenant=entry.tenant,
            principal=entry.principal,
            actor=entry.actor,
            run=entry.run,
            agent=entry.agent,
            subject=entry.subject,
            outcome=entry.outcome,
            reason=entry.reason,
            details=details,
        )
    except (EntryError, ValueError, AttributeError, RecursionError):
        return "details that its event does not hold"
    if any(getattr(draft, name) != getattr(entry, name) for name in _DRAWN_UP):
        return "not as it would be written"
    return None


def _is_time(text: str) -> bool:
    try:
        return _AT.fullmatch(text) is not None and datetime.fromisoformat(text) is not None
    except ValueError:
        return False
