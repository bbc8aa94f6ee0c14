"""Has each newer checkpoint proven before it is remembered: not for each entry, but within seconds."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from mycelos.wire.problems import ProblemCode, Refusal

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from mycelos.gateway.proxy_client.head import RememberedHead

PROVE_SECONDS: Final = 2.0
"""How long after a proof the next one is asked for."""


class HeadFollower:
    """Follows the ledger's growth with proofs. ``consistency`` asks the proxy for one, from a size to a larger one."""

    def __init__(self, head: RememberedHead, consistency: Callable[[int, int], Awaitable[list[bytes]]]) -> None:
        self._head = head
        self._consistency = consistency

    async def run(self, pause: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        """Prove what is offered, until this is cancelled."""
        while True:
            await self._head.offered.wait()
            await self.prove()
            await pause(PROVE_SECONDS)

    async def prove(self) -> None:
        """Have the newest checkpoint proven. Where the proxy cannot be asked, it stays to be proven later."""
        kept, candidate = self._head.kept, self._head.candidate
        if kept is None or candidate is None:
            return
        try:
            proof = await self._consistency(kept.size, candidate.size)
        except Refusal as refusal:
            # That there are not so many entries: but it has signed them.
            if refusal.problem.code is ProblemCode.INVALID_REQUEST:
                self._head.deny(candidate)
            return
        # What is kept may have become larger meanwhile; then this proof is of no use, and the next one is asked for.
        if self._head.kept == kept:
            self._head.prove(candidate, proof)
