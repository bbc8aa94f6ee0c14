"""How much of one round of the event loop the gateway's requests may take: the operator's are not behind them."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final

TURNS: Final = 1
"""Turns in one round. A turn costs about a millisecond, and a revocation takes some ten rounds."""


class Turns:
    """Gives out so many turns in each round, in the order of asking. Who never asks never waits."""

    def __init__(self, turns: int = TURNS) -> None:
        self._turns = turns
        self._left = turns
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._is_counting = False

    async def take(self) -> None:
        """Wait for a turn; without a wait where this round has one left."""
        loop = asyncio.get_running_loop()
        if not self._is_counting:
            self._is_counting = True
            loop.call_soon(self._begin_round)
        if self._left and not self._waiting:
            self._left -= 1
            return
        turn: asyncio.Future[None] = loop.create_future()
        self._waiting.append(turn)
        await turn

    def _begin_round(self) -> None:
        self._left = self._turns
        self._is_counting = bool(self._waiting)
        while self._waiting and self._left:
            turn = self._waiting.popleft()
            # Who was cancelled while waiting takes none.
            if not turn.done():
                turn.set_result(None)
                self._left -= 1
        if self._is_counting:
            asyncio.get_running_loop().call_soon(self._begin_round)
