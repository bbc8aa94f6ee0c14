"""One witness, tried again and again: what is recorded, and what stops it."""

from __future__ import annotations

import asyncio
import sqlite3
from typing import Any

import pytest
from witnessed_log import MemoryLog, numbered

from mycelos.configuration.layout import DataLayout
from mycelos.ledger.events import Event
from mycelos.ledger.query import EventQuery
from mycelos.proxy.ledger.recorder import Recorder
from mycelos.proxy.witness import keeper as module
from mycelos.proxy.witness.keeper import LONGEST_PAUSE, QUIET_SECONDS, WitnessKeeper, witnessing
from mycelos.proxy.witness.log import FaultCode, WitnessFault
from mycelos.wire.problems import ProblemCode, Refusal
from mycelos.wire.witness import WitnessCondition

pytestmark = pytest.mark.anyio
AWAY = WitnessFault(FaultCode.UNREACHABLE, "away")
REWRITTEN = WitnessFault(FaultCode.REWRITTEN, "another ledger", 7)


class ScriptedWitness:
    """Does what the list says, then takes everything."""

    def __init__(self, log: MemoryLog, *script: Exception | None, leaves: bool = True) -> None:
        self.place, self.leaves, self.given = "https://w.example/", leaves, []
        self._log, self._script, self.came = log, list(script), asyncio.Event()

    async def give(self) -> int | None:
        fault = self._script.pop(0) if self._script else None
        if fault is not None:
            raise fault
        self.given.append(self._log.checkpoint)
        self.came.set()
        return self._log.frontier.size


class House:
    def __init__(self, recorder: Recorder) -> None:
        self.recorder, self.log = recorder, MemoryLog(numbered(3))
        self.time, self.is_locked = 0.0, False

    def keeper(self, witness: Any, seconds: float = 5.0) -> WitnessKeeper:
        return WitnessKeeper(
            witness,
            self.log,
            self.recorder,
            seconds=seconds,
            is_locked=lambda: self.is_locked,
            monotonic=lambda: self.time,
        )

    async def recorded(self) -> list[tuple[str, str]]:
        entries = await self.recorder.events(EventQuery(event="ledger", limit=100))
        return [(entry.event, entry.outcome) for entry in entries if "witness" in entry.event]


@pytest.fixture
async def house(layout: DataLayout, anyio_backend: str):
    recorder = await Recorder.open(layout.ledger)
    yield House(recorder)
    await recorder.close()


async def test_each_checkpoint_is_given_once_and_the_record_says_so_once(house: House) -> None:
    witness = ScriptedWitness(house.log)
    keeper = house.keeper(witness)
    assert keeper.status.condition is WitnessCondition.WAITS
    for _ in range(3):
        await keeper.step()
        await keeper.step()
        house.log.append("another")
    assert len(witness.given) == 3
    assert await house.recorded() == [("ledger.witnessed", "takes")]
    assert (keeper.status.condition, keeper.status.size) == (WitnessCondition.TAKES, 5)
    assert keeper.status.at is not None


async def test_nothing_is_given_before_the_first_checkpoint(house: House) -> None:
    house.log = MemoryLog()
    witness = ScriptedWitness(house.log)
    await house.keeper(witness).step()
    assert witness.given == []


async def test_what_it_records_does_not_keep_it_busy(house: House) -> None:
    # As the ledger does it: each entry is a new checkpoint.
    witness = ScriptedWitness(house.log, AWAY)
    keeper = house.keeper(witness)
    rounds = 0
    while len(witness.given) < 3 and rounds < 50:
        house.log.append(*(["recorded"] * (len(await house.recorded()) + 3 - house.log.frontier.size)))
        await keeper.step()
        rounds += 1
    # away (one entry), taken (one entry), that entry taken: then there is nothing new.
    assert await house.recorded() == [("ledger.witness_failed", "fails"), ("ledger.witnessed", "takes")]
    assert len(witness.given) == 2


async def test_a_change_of_its_state_is_recorded_with_its_reason(house: House) -> None:
    keeper = house.keeper(ScriptedWitness(house.log, AWAY, AWAY, REWRITTEN, None))
    for _ in range(4):
        await keeper.step()
    entries = [entry for entry in await house.recorder.events(EventQuery(event="ledger")) if "witness" in entry.event]
    assert [entry.event for entry in entries] == [
        Event.LEDGER_WITNESS_FAILED,
        Event.LEDGER_WITNESS_DISAGREED,
        Event.LEDGER_WITNESSED,
    ]
    assert [(entry.subject, entry.reason) for entry in entries][:2] == [
        ("https://w.example/", "away"),
        ("https://w.example/", "another ledger"),
    ]
    assert '"code":"rewritten"' in entries[1].details
    assert '"size":7' in entries[1].details


async def test_one_that_wavers_fills_no_ledger(house: House) -> None:
    keeper = house.keeper(ScriptedWitness(house.log, *[AWAY, None, REWRITTEN, None] * 250))
    for _ in range(1000):
        await keeper.step()
        house.log.append("another")
    assert len(await house.recorded()) == 3
    house.time += QUIET_SECONDS
    for _ in range(3):
        await keeper.step()
        house.log.append("another")
    assert len(await house.recorded()) == 4


async def test_without_the_quiet_time_it_would(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "QUIET_SECONDS", 0.0)
    keeper = house.keeper(ScriptedWitness(house.log, *[AWAY, None] * 10))
    for _ in range(20):
        await keeper.step()
        house.log.append("another")
    assert len(await house.recorded()) == 20


async def test_pauses_grow_after_failures_and_differ(house: House) -> None:
    keeper = house.keeper(ScriptedWitness(house.log, *[AWAY] * 20))
    assert keeper.pause() == 5.0
    seen = []
    for _ in range(20):
        await keeper.step()
        seen.append(keeper.pause())
    assert all(2.5 <= pause <= LONGEST_PAUSE for pause in seen)
    assert min(seen[10:]) >= LONGEST_PAUSE / 2
    assert len(set(seen[10:])) > 1
    assert keeper.status.reason == "away"
    await keeper.step()
    assert (keeper.pause(), keeper.status.reason, keeper.status.code) == (5.0, "", "")


async def test_a_lockdown_stops_the_request_and_not_the_file(house: House) -> None:
    url, file = ScriptedWitness(house.log), ScriptedWitness(house.log, leaves=False)
    house.is_locked = True
    keepers = [house.keeper(witness) for witness in (url, file)]
    for keeper in keepers:
        await keeper.step()
    assert (len(url.given), len(file.given)) == (0, 1)
    assert [keeper.status.condition for keeper in keepers] == [WitnessCondition.LOCKED, WitnessCondition.TAKES]
    house.is_locked = False
    await keepers[0].step()
    assert len(url.given) == 1


async def test_a_ledger_that_cannot_be_read_for_its_proof_ends_nothing(house: House) -> None:
    keeper = house.keeper(ScriptedWitness(house.log, sqlite3.OperationalError("disk I/O error")))
    await keeper.step()
    assert keeper.status.condition is WitnessCondition.FAILS
    await keeper.step()
    assert keeper.status.condition is WitnessCondition.TAKES


async def test_where_nothing_can_be_recorded_it_is_said_later(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    async def full(*_: object, **__: object) -> None:
        raise Refusal(ProblemCode.AUDIT_UNAVAILABLE, "full", "")

    keeper = house.keeper(ScriptedWitness(house.log, AWAY, AWAY))
    with monkeypatch.context() as patch:
        patch.setattr(house.recorder, "fact", full)
        await keeper.step()
    assert await house.recorded() == []
    await keeper.step()
    assert await house.recorded() == [("ledger.witness_failed", "fails")]


async def test_while_it_runs_what_is_new_is_given_and_once_more_at_the_end(house: House) -> None:
    witness = ScriptedWitness(house.log)
    keeper = house.keeper(witness, seconds=0.01)
    async with witnessing([keeper]):
        for text in ("another", "and another"):
            async with asyncio.timeout(30):
                await witness.came.wait()
            witness.came.clear()
            house.log.append(text)
        keeper._seconds = 3600.0
        house.log.append("the last")
    assert witness.given[-1] == house.log.checkpoint


async def test_one_that_never_answers_does_not_hold_the_end(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LAST_SECONDS", 0.01)

    class Silent(ScriptedWitness):
        async def give(self) -> int | None:
            asked.set()
            await asyncio.Event().wait()

    asked = asyncio.Event()
    async with asyncio.timeout(30), witnessing([house.keeper(Silent(house.log))]):
        await asked.wait()


@pytest.mark.parametrize("failure", [ValueError("no"), asyncio.CancelledError(), SystemExit(3)], ids=repr)
async def test_what_goes_wrong_inside_comes_out_as_it_is_after_a_last_try(house: House, failure: BaseException) -> None:
    witness = ScriptedWitness(house.log)
    with pytest.raises(type(failure)) as raised:
        async with witnessing([house.keeper(witness)]):
            raise failure
    assert raised.value is failure
    assert witness.given == [house.log.checkpoint]


async def test_a_keeper_that_breaks_ends_the_block(house: House) -> None:
    with pytest.raises(ExceptionGroup):
        async with asyncio.timeout(30), witnessing([house.keeper(ScriptedWitness(house.log, ValueError("a mistake")))]):
            await asyncio.Event().wait()


async def test_no_witness_is_no_work() -> None:
    async with witnessing([]):
        pass
