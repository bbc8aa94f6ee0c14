"""How it goes with a witness of the ledger, on one line."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from mycelos.wire.witness import WitnessCondition, WitnessStatus

_UNITS: Final = ((86_400, "d"), (3600, "h"), (60, "min"), (1, "s"))


def in_words(witness: WitnessStatus, now: datetime) -> str:
    """Its place, how much it has taken and how long ago, and what is wrong since."""
    taken = "has taken nothing yet"
    if witness.size is not None and witness.at is not None:
        taken = f"has {witness.size:,} entries, the newest taken {_age(now, witness.at)} ago"
    wrong = {
        WitnessCondition.FAILS: f"; FAILS: {witness.reason}",
        WitnessCondition.DISAGREES: f"; DISAGREES: {witness.reason}",
        WitnessCondition.LOCKED: "; nothing is sent to it in a lockdown",
    }
    return f"{witness.place} {taken}{wrong.get(witness.condition, '')}"


def _age(now: datetime, at: str) -> str:
    seconds = max(0, int((now - datetime.fromisoformat(at)).total_seconds()))
    size, unit = next(((size, unit) for size, unit in _UNITS if seconds >= size), _UNITS[-1])
    return f"{seconds // size} {unit}"
