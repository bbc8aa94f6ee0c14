"""How many bytes of callers' bodies are kept at once, of all callers together: one may be large, not all of them."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from mycelos.wire.problems import ProblemCode, Refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

KEPT_LIMIT: Final = 96 * 1024 * 1024
"""Bytes. While it is in hand a body takes its size two or three times: as it came, decoded, and as it goes out."""


class BodyBudget:
    """Counts what is kept now."""

    def __init__(self, limit: int = KEPT_LIMIT) -> None:
        self._limit = limit
        self._kept = 0

    @contextmanager
    def keeping(self) -> Iterator[Callable[[int], None]]:
        """A block that keeps one body: what it yields counts each piece, and refuses one for which there is no room.

        Raises:
            Refusal: `rate_limited`, out of the call; what was counted is given back at the block's end.
        """
        own = 0

        def count(size: int) -> None:
            nonlocal own
            if self._kept + size > self._limit:
                raise Refusal(
                    ProblemCode.RATE_LIMITED,
                    f"More than {self._limit} bytes of bodies are in hand at once.",
                    "Try again when others have ended, or send it through /forward, which keeps none.",
                )
            self._kept += size
            own += size

        try:
            yield count
        finally:
            self._kept -= own
