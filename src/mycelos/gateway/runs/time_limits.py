"""Time limits of one run that stand still while it waits for a person."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class TimeLimits:
    """The limits that are running now: of the whole run, of a step, of a frame."""

    def __init__(self) -> None:
        self._running: set[asyncio.Timeout] = set()

    @asynccontextmanager
    async def limit(self, seconds: float) -> AsyncIterator[None]:
        """A block that may take ``seconds``, without those that `rest` takes meanwhile.

        Raises:
            TimeoutError: it took longer.
        """
        async with asyncio.timeout(seconds) as running:
            self._running.add(running)
            try:
                yield
            finally:
                self._running.discard(running)

    async def rest(self, seconds: float) -> None:
        """Wait for ``seconds`` that count against none of the limits that are running."""
        for running in self._running:
            ends = running.when()
            if ends is not None and not running.expired():
                running.reschedule(ends + seconds)
        await asyncio.sleep(seconds)
