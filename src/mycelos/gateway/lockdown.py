"""How the gateway follows a lockdown: each answer of the proxy tells of it; sessions, links and runs then end, once.

The proxy stops the egress by itself and asks nobody. What ends here is who may use this gateway, and what it was doing.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from mycelos.ledger.events import Event
from mycelos.wire.lockdown import LockdownState
from mycelos.wire.problems import ProblemCode, Refusal, joined

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from mycelos.gateway.recorder import Recorder
    from mycelos.gateway.store import Store

POLL_SECONDS: Final = 2.0
"""While it is set the proxy is asked this often, so that the page sees its end."""

LIFT: Final = "The operator lifts it with: mycelos lockdown --lift"
_FOLLOWED: Final = "lockdown.followed"
_PRINCIPAL: Final = "operator"
_log: Final = logging.getLogger(__name__)


@dataclass(frozen=True)
class Ended:
    """How many of each have ended."""

    sessions: int
    runs: int


class LockdownWatch:
    """What the proxy says of a lockdown, and what was done about it.

    ``ask`` is any question to the proxy, for its answer's sake; ``end_runs`` ends them all and says how many.
    """

    def __init__(self, store: Store, recorder: Recorder, ask: Callable[[], Awaitable[Any]]) -> None:
        self._store = store
        self._recorder = recorder
        self._ask = ask
        self.end_runs: Callable[[], int] = _no_runs
        self._followed = ""
        self._ended = Ended(0, 0)
        self._ending = asyncio.Lock()
        self._news = asyncio.Event()
        self.state = LockdownState(locked=False, since=None, last="")

    def note(self, state: LockdownState) -> None:
        """The proxy has said this with an answer of its own."""
        self.state = state
        if state.last != self._followed:
            self._news.set()

    async def refuse(self) -> None:
        """Ask whether egress is locked down: an answer that was cut in its middle cannot say why.

        Raises:
            Refusal: `locked_down`, or what the proxy refused.
        """
        await self._ask()
        if self.state.locked:
            raise Refusal(ProblemCode.LOCKED_DOWN, "Egress was locked down in the middle of the answer", LIFT)

    async def start(self) -> None:
        """Before anything is served: end what began before a lockdown that this gateway has not seen."""
        self._followed = await self._store.settings.get(_FOLLOWED) or ""
        await self._follow()

    async def run(self) -> None:
        """Follow what the proxy says, until cancelled."""
        while True:
            try:
                async with asyncio.timeout(POLL_SECONDS if self.state.locked else None):
                    await self._news.wait()
                    self._news.clear()
                await self._follow()
            except TimeoutError:
                await self._poll()

    async def end_all(self) -> Ended:
        """End every session, unused link and run, and record it; how many have ended since the newest lockdown.

        What stops somebody does not wait for its entry.

        Raises:
            Refusal: `audit_unavailable`; it has ended all the same, and the next news of the proxy tries again.
        """
        async with self._ending:
            return await self._end_all()

    async def _follow(self) -> None:
        async with self._ending:
            if self.state.last == self._followed:
                return
            try:
                await self._end_all()
            except Refusal as refusal:
                _log.warning("a lockdown was followed, and is not on record: %s", refusal.problem.code.value)

    async def _poll(self) -> None:
        try:
            await self._ask()
        except Refusal as refusal:
            _log.info("the proxy was asked for the lockdown: %s", refusal.problem.code.value)

    async def _end_all(self) -> Ended:
        sessions = await self._store.sessions.delete_all()
        await self._store.links.delete_all()
        runs = self.end_runs()
        try:
            await self._recorder.fact(
                Event.AUTH_SESSION_REVOKED,
                principal=_PRINCIPAL,
                outcome="ok",
                reason="lockdown",
                details={"count": sessions},
            )
        except Refusal as refusal:
            raise Refusal(
                ProblemCode.AUDIT_UNAVAILABLE,
                f"{sessions} sessions and {runs} runs have ended, which is not on record: "
                f"{joined(refusal.problem.detail, refusal.problem.next)}",
                "It is recorded when the ledger can be written again.",
            ) from None
        # The entry's own receipt has told which lockdown is the newest. A cut stream may have told of it before, and
        # then what ended by that counts too.
        before = self._ended if self._followed == self.state.last else Ended(0, 0)
        self._ended = Ended(before.sessions + sessions, before.runs + runs)
        self._followed = self.state.last
        await self._store.settings.set(_FOLLOWED, self._followed)
        return self._ended


def _no_runs() -> int:
    """None goes on yet."""
    return 0
