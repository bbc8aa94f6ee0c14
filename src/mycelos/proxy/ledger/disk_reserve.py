"""Whether the disk is so full that what is left must be kept for the operator."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

LOOK_EVERY: Final = 0.1
"""Seconds for which one look counts. What may be queued meanwhile is bounded and far smaller than the reserve."""


class DiskReserve:
    """Looks at the file system that holds ``folder``; ``kept`` bytes of it are the reserve."""

    def __init__(self, folder: Path, kept: int, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._folder = folder
        self._kept = kept
        self._monotonic = monotonic
        self._looked_at = float("-inf")
        self._is_reached = False

    def is_reached(self) -> bool:
        """Whether fewer bytes are free. A file system that does not answer counts as full."""
        now = self._monotonic()
        if now - self._looked_at >= LOOK_EVERY:
            self._looked_at = now
            try:
                space = os.statvfs(self._folder)
            except OSError:
                self._is_reached = True
            else:
                self._is_reached = space.f_bavail * space.f_frsize < self._kept
        return self._is_reached
