"""Gives one witness the newest checkpoint again and again, and says how that goes.

A witness that is down stops nothing: what is missing then is evidence, and the status says since when. Only a change of
its state is put on record, and each state once in a while: an entry for each submission would be a new checkpoint
to submit.
"""

from __future__ import annotations

import secrets
import sqlite3
import time
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol

from mycelos.ledger.events import Event
from mycelos.proxy.background import again_and_again, beside
from mycelos.proxy.ledger.database import LedgerError
from mycelos.proxy.witness.log import DISAGREEMENTS, FaultCode, WitnessFault
from mycelos.wire.problems import Refusal
from mycelos.wire.witness import WitnessCondition, WitnessStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractAsyncContextManager

    from mycelos.proxy.ledger.recorder import Recorder
    from mycelos.proxy.witness.log import LogView

FILE_SECONDS: Final = 1.0
"""The file is written this often at most, and at the stop."""
URL_SECONDS: Final = 5.0
LONGEST_PAUSE: Final = 300.0
"""Seconds between two tries at most, where a witness does not answer."""
QUIET_SECONDS: Final = 600.0
"""One state of a witness is recorded this often at most, however it wavers."""
_LAST_SECONDS: Final = 5.0
"""How long a stop waits for what is on its way, and for the newest checkpoint."""
_EVENTS: Final = {
    WitnessCondition.TAKES: Event.LEDGER_WITNESSED,
    WitnessCondition.FAILS: Event.LEDGER_WITNESS_FAILED,
    WitnessCondition.DISAGREES: Event.LEDGER_WITNESS_DISAGREED,
}


class Witness(Protocol):
    """`FileWitness` or `UrlWitness`."""

    place: str
    leaves: bool

    async def give(self) -> int | None:
        """Hand the newest checkpoint over; the size that it has now. Raises `WitnessFault`."""
        ...


class WitnessKeeper:
    """One witness, tried one time after the other."""

    def __init__(
        self,
        witness: Witness,
        log: LogView,
        recorder: Recorder,
        *,
        seconds: float,
        is_locked: Callable[[], bool],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._witness = witness
        self._log = log
        self._recorder = recorder
        self._seconds = seconds
        self._is_locked = is_locked
        self._monotonic = monotonic
        self._given: str | None = None
        self._failures = 0
        self._condition = WitnessCondition.WAITS
        self._fault: WitnessFault | None = None
        self._size: int | None = None
        self._taken_at: str | None = None
        self._recorded: WitnessCondition | None = None
        self._recorded_at: dict[WitnessCondition, float] = {}

    @property
    def status(self) -> WitnessStatus:
        """How it is now."""
        is_held = self._witness.leaves and self._is_locked()
        return WitnessStatus(
            place=self._witness.place,
            condition=WitnessCondition.LOCKED if is_held else self._condition,
            size=self._size,
            at=self._taken_at,
            code="" if self._fault is None else self._fault.code.value,
            reason="" if self._fault is None else str(self._fault),
        )

    def pause(self) -> float:
        """Seconds until the next try: longer after each failure, and never the same for two installations."""
        if not self._failures:
            return self._seconds
        longest: float = min(LONGEST_PAUSE, self._seconds * 2 ** min(self._failures, 16))
        return longest * (0.5 + secrets.randbelow(1000) / 2000)

    async def step(self) -> None:
        """One try, where there is something new and nothing forbids it."""
        note = self._log.checkpoint
        if note is None or note == self._given or (self._witness.leaves and self._is_locked()):
            return
        try:
            size = await self._witness.give()
        except WitnessFault as fault:
            await self._failed(fault)
        except (LedgerError, sqlite3.Error):
            await self._failed(WitnessFault(FaultCode.UNREACHABLE, "the ledger could not be read for its proof"))
        else:
            # What was given is this checkpoint or one that came after it.
            self._given = note
            self._failures, self._fault = 0, None
            self._size, self._taken_at = size, _now()
            await self._is_now(WitnessCondition.TAKES)

    async def _failed(self, fault: WitnessFault) -> None:
        self._failures += 1
        self._fault = fault
        disagrees = fault.code in DISAGREEMENTS
        await self._is_now(WitnessCondition.DISAGREES if disagrees else WitnessCondition.FAILS)

    async def _is_now(self, condition: WitnessCondition) -> None:
        self._condition = condition
        if condition is self._recorded:
            return
        now = self._monotonic()
        if now - self._recorded_at.get(condition, -QUIET_SECONDS) < QUIET_SECONDS:
            return
        fault = self._fault
        size = self._size if fault is None else fault.size
        details: dict[str, int | str] = {} if size is None else {"size": size}
        if fault is not None:
            details["code"] = fault.code.value
        # Where nothing can be recorded, the next try says it.
        with suppress(Refusal):
            await self._recorder.fact(
                _EVENTS[condition],
                subject=self._witness.place,
                outcome=condition.value,
                reason="" if fault is None else str(fault),
                details=details,
            )
            self._recorded, self._recorded_at[condition] = condition, now


def witnessing(keepers: Sequence[WitnessKeeper]) -> AbstractAsyncContextManager[None]:
    """Give each of them what is new, inside the block and once more at its end."""
    works = [partial(again_and_again, step=keeper.step, seconds=keeper.pause) for keeper in keepers]
    return beside(works, last_seconds=_LAST_SECONDS)


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
