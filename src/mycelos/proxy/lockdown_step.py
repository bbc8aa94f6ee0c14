"""The operator's step: egress stops or goes on, and the ledger says so."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, Any, Final

from mycelos.ledger.events import Event
from mycelos.proxy.vault.state import announced
from mycelos.wire.lockdown import LockdownAnswer
from mycelos.wire.problems import ProblemCode, Refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mycelos.proxy.ledger.recorder import Receipt, Recorder
    from mycelos.proxy.lockdown import Lockdown
    from mycelos.proxy.operator_door.links import OneTimeLinks

DURABLE_SECONDS: Final = 5.0
"""How long each of ledger and vault may take: a disk that hangs is a disk that refuses."""
_PRINCIPAL: Final = "operator"
_log = logging.getLogger(__name__)


async def set_at(recorder: Recorder) -> str | None:
    """When the lockdown was set that is the ledger's newest word of one; None where it was lifted, or never set.

    Raises:
        LedgerError: the file cannot be read as a ledger.
    """
    newest = await recorder.newest_of(Event.LOCKDOWN_SET, Event.LOCKDOWN_LIFTED)
    return newest.at if newest is not None and newest.event == Event.LOCKDOWN_SET else None


class LockdownStep:
    """Setting and lifting, as `POST /lockdown` does them.

    Setting is the one act that does not wait for its entry: a disk that is full or slow would else keep egress open,
    and stopping is what a failure has to end in. It is recorded as soon as the ledger takes it, and whoever asked is
    told what could not be done. Lifting is recorded first, as everything else. ``anchor`` says what the vault holds.
    """

    def __init__(
        self,
        lockdown: Lockdown,
        recorder: Recorder,
        links: OneTimeLinks,
        anchor: Callable[[], Mapping[str, Any]],
        *,
        is_recorded: bool = True,
    ) -> None:
        self.lockdown = lockdown
        self._anchor = anchor
        self._recorder = recorder
        self._links = links
        self._is_recorded = is_recorded

    async def set(self) -> LockdownAnswer:
        """Stop everything now; then the entry, then the row that outlives this process. No refusal comes from here."""
        again = self.lockdown.stop()
        self._links.forget_all()
        shortcomings = []
        intent: Receipt | None = None
        outcome, reason = "ok", ""
        try:
            async with asyncio.timeout(DURABLE_SECONDS):
                intent = await self._recorder.intent(
                    Event.LOCKDOWN_SET,
                    principal=_PRINCIPAL,
                    details={"since": self.lockdown.state.since or "", "again": again},
                )
            self._is_recorded = True
        except (Refusal, TimeoutError) as error:
            self._is_recorded = False
            shortcomings.append(f"It is not on record yet: {_why(error)}.")
        try:
            async with asyncio.timeout(DURABLE_SECONDS):
                with announced():
                    await self.lockdown.keep()
        except (Refusal, TimeoutError) as error:
            outcome, reason = "failed", ProblemCode.VAULT_UNAVAILABLE.value
            shortcomings.append(f"It may end when the proxy is restarted: {_why(error)}.")
        if intent is not None:
            # Lost, it shows up as `intent.unresolved` at the next start.
            with contextlib.suppress(Refusal, TimeoutError):
                async with asyncio.timeout(DURABLE_SECONDS):
                    await self._recorder.outcome(intent, outcome=outcome, reason=reason, details=self._anchor())
        return self._answer(tuple(shortcomings))

    async def lift(self) -> LockdownAnswer:
        """Let requests be decided again.

        Raises:
            Refusal: `audit_unavailable`, `vault_unavailable` or `conflict`; it stays set.
        """
        if not self.lockdown.state.locked:
            return self._answer(())
        await self.catch_up()
        intent = await self._recorder.intent(
            Event.LOCKDOWN_LIFTED, principal=_PRINCIPAL, details={"since": self.lockdown.state.since or ""}
        )
        try:
            with announced():
                await self.lockdown.lift()
        except Refusal as refusal:
            reason = refusal.problem.code.value
            await self._recorder.outcome(intent, outcome="refused", reason=reason, details=self._anchor())
            raise
        await self._recorder.outcome(intent, outcome="ok", details=self._anchor())
        return self._answer(())

    async def catch_up(self) -> None:
        """Record a lockdown that is set and not on record. Where the ledger still refuses, the next call tries."""
        if self._is_recorded or not self.lockdown.state.locked:
            return
        self._is_recorded = True
        try:
            async with asyncio.timeout(DURABLE_SECONDS):
                await self._recorder.fact(
                    Event.LOCKDOWN_SET,
                    principal=_PRINCIPAL,
                    outcome="ok",
                    reason="recorded late",
                    details={"since": self.lockdown.state.since or "", **self._anchor()},
                )
        except (Refusal, TimeoutError):
            self._is_recorded = False
            _log.warning("egress is locked down, and the ledger cannot say so yet")

    def _answer(self, shortcomings: tuple[str, ...]) -> LockdownAnswer:
        state = self.lockdown.state
        return LockdownAnswer(locked=state.locked, since=state.since, last=state.last, shortcomings=shortcomings)


def _why(error: Refusal | TimeoutError) -> str:
    return error.problem.detail if isinstance(error, Refusal) else "the disk does not answer"
