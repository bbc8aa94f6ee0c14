"""When a crashed child is started again, and when no more. Pure: times come from the caller."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

FIRST_DELAY: Final = 0.1
LONGEST_DELAY: Final = 10.0
STEADY_AFTER: Final = 60.0
"""Seconds of uninterrupted service after which earlier failures are forgotten."""
MOST_FAILURES: Final = 8
"""Failures in a row after which the whole system is stopped: a zone that cannot stand is not worked around."""


@dataclass(frozen=True)
class RestartHistory:
    """How often a child has failed since it last served for long."""

    failures: int = 0

    def after_failure(self, served_seconds: float) -> RestartHistory:
        """The history after one more end; ``served_seconds`` is 0 when the child never became ready."""
        return RestartHistory(1 if served_seconds >= STEADY_AFTER else self.failures + 1)

    @property
    def delay(self) -> float | None:
        """Seconds to wait before the next start, or None when there is to be none."""
        if self.failures == 0:
            return 0.0
        if self.failures >= MOST_FAILURES:
            return None
        return min(FIRST_DELAY * (1 << (self.failures - 1)), LONGEST_DELAY)
