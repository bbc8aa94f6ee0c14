"""The ledger's clock: the time of day for people, and a count that never goes back for the order of things."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

STEP_LIMIT: Final = 2.0
"""Seconds by which the time of day may drift from the monotonic clock between two entries before it is a step."""


@dataclass(frozen=True, slots=True)
class Moment:
    """One reading: seconds since 1970 (UTC) and seconds of a clock that never goes back."""

    wall: float
    monotonic: float

    @property
    def at(self) -> str:
        """RFC 3339, UTC, microseconds."""
        return datetime.fromtimestamp(self.wall, UTC).isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"


def read_clock() -> Moment:
    """Now."""
    return Moment(time.time(), time.monotonic())


def last_moment(at: str, now: Moment) -> Moment:
    """What the first entry of a new life is measured against: ``now``, or ``at`` where that has not come yet.

    ``at`` is the last entry's. How long nothing ran cannot be known, so only a step back shows here.
    """
    try:
        wall = datetime.fromisoformat(at).timestamp()
    except ValueError:
        # Somebody has changed the row: what checks the tail says so.
        return now
    return Moment(max(wall, now.wall), now.monotonic)


def step_between(earlier: Moment, later: Moment) -> float:
    """Seconds by which the time of day was moved between the two readings; 0.0 for less than `STEP_LIMIT`."""
    step = (later.wall - earlier.wall) - (later.monotonic - earlier.monotonic)
    return step if abs(step) > STEP_LIMIT else 0.0
