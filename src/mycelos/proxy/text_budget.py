"""How much text of somebody's choice is looked through for stored secrets in a minute: each look answers a guess."""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

MINUTE: Final = 60.0


class TextBudget:
    """So many characters within any sixty seconds."""

    def __init__(self, characters: int, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._characters = characters
        self._monotonic = monotonic
        self._taken: deque[tuple[float, int]] = deque()
        self._sum = 0

    def take(self, characters: int) -> bool:
        """Take them, if they are there; else take none."""
        now = self._monotonic()
        while self._taken and now - self._taken[0][0] >= MINUTE:
            self._sum -= self._taken.popleft()[1]
        if self._sum + characters > self._characters:
            return False
        self._taken.append((now, characters))
        self._sum += characters
        return True
