"""How it goes with a witness of the ledger, as the proxy tells it to the operator."""

from __future__ import annotations

from enum import StrEnum

import msgspec


class WitnessCondition(StrEnum):
    """How it goes with one witness. ``fails``: it cannot be reached, or answers what it must not."""

    WAITS = "waits"
    TAKES = "takes"
    FAILS = "fails"
    DISAGREES = "disagrees"
    LOCKED = "locked"


class WitnessStatus(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A witness: it took ``size`` entries ``at`` (RFC 3339). ``code`` and ``reason`` say what has failed since."""

    place: str
    condition: WitnessCondition
    size: int | None = None
    at: str | None = None
    code: str = ""
    reason: str = ""
