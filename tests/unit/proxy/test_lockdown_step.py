import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from egress_house import House

from mycelos.proxy import lockdown_step
from mycelos.proxy.database import Database
from mycelos.proxy.ledger.recorder import Recorder
from mycelos.proxy.lockdown import Lockdown
from mycelos.proxy.lockdown_step import LockdownStep, set_at
from mycelos.proxy.operator_door.links import OneTimeLinks
from mycelos.wire.problems import ProblemCode, Refusal

pytestmark = pytest.mark.anyio


@pytest.fixture
def make_step(house: House) -> Callable[..., LockdownStep]:
    def make(**about: Any) -> LockdownStep:
        lockdown = Lockdown.open(house.vault.database, house.vault.keys)
        return LockdownStep(lockdown, house.recorder, OneTimeLinks(), house.vault.state.anchor_details, **about)

    return make


def phases(entries: list[dict[str, Any]]) -> list[tuple[str, str, str]]:
    return [(entry["event"], entry["phase"], entry["outcome"]) for entry in entries if "lockdown" in entry["event"]]


async def refuse(*_arguments: object, **_about: object) -> None:
    raise Refusal(ProblemCode.AUDIT_UNAVAILABLE, "The ledger cannot be written.", "Free some space.")


async def test_setting_and_lifting_are_one_recorded_step_each(house: House, make_step: Any) -> None:
    step = make_step()
    answer = await step.set()
    assert (answer.locked, answer.shortcomings) == (True, ())
    assert await set_at(house.recorder) is not None
    answer = await step.lift()
    assert (answer.locked, answer.since, answer.shortcomings) == (False, None, ())
    assert await set_at(house.recorder) is None
    entries = await house.entries()
    assert phases(entries) == [
        ("lockdown.set", "intent", ""), ("lockdown.set", "outcome", "ok"),
        ("lockdown.lifted", "intent", ""), ("lockdown.lifted", "outcome", "ok"),
    ]  # fmt: skip
    assert {entry["source"] for entry in entries if "lockdown" in entry["event"]} == {"operator"}


async def test_asking_twice_is_on_record_and_lifting_what_is_not_set_is_nothing(house: House, make_step: Any) -> None:
    step = make_step()
    assert not (await step.lift()).locked
    first = await step.set()
    second = await step.set()
    assert second.since == first.since
    intents = [entry for entry in await house.entries("lockdown.set") if entry["phase"] == "intent"]
    assert [entry["details"]["again"] for entry in intents] == [False, True]
    assert await house.entries("lockdown.lifted") == []


async def test_links_that_were_given_out_are_over(house: House) -> None:
    links = OneTimeLinks()
    step = LockdownStep(
        Lockdown.open(house.vault.database, house.vault.keys), house.recorder, links, house.vault.state.anchor_details
    )
    code = links.create().code
    await step.set()
    assert not links.redeem(code)
    assert links.redeem(links.create().code)


async def test_a_ledger_that_cannot_be_written_does_not_keep_egress_open_and_is_told_later(
    house: House, make_step: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = make_step()
    monkeypatch.setattr(Recorder, "intent", refuse)
    monkeypatch.setattr(Recorder, "fact", refuse)
    answer = await step.set()
    assert answer.locked
    assert "not on record" in answer.shortcomings[0]
    with pytest.raises(Refusal, match="locked_down"):
        step.lockdown.refuse()
    await step.catch_up()
    with pytest.raises(Refusal, match="audit_unavailable"):
        await step.lift()
    assert step.lockdown.state.locked
    monkeypatch.undo()
    await step.catch_up()
    await step.catch_up()
    (entry,) = await house.entries("lockdown.set")
    assert (entry["phase"], entry["reason"]) == ("fact", "recorded late")
    assert entry["details"]["since"] == answer.since


async def test_a_disk_that_refuses_the_row_is_told_and_its_outcome_is_on_record(
    house: House, make_step: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def full(*_arguments: object) -> None:
        raise Refusal(ProblemCode.VAULT_UNAVAILABLE, "The disk is full.", "Free some space.")

    step = make_step()
    monkeypatch.setattr(Database, "run", full)
    answer = await step.set()
    assert answer.locked
    assert answer.shortcomings == ("It may end when the proxy is restarted: The disk is full.",)
    with pytest.raises(Refusal, match="vault_unavailable"):
        await step.lift()
    assert step.lockdown.state.locked
    assert phases(await house.entries()) == [
        ("lockdown.set", "intent", ""), ("lockdown.set", "outcome", "failed"),
        ("lockdown.lifted", "intent", ""), ("lockdown.lifted", "outcome", "refused"),
    ]  # fmt: skip


async def test_a_lockdown_that_only_the_row_tells_of_is_recorded_at_the_start(house: House, make_step: Any) -> None:
    step = make_step()
    step.lockdown.stop()
    await step.lockdown.keep()
    started = make_step(is_recorded=await set_at(house.recorder) is not None)
    await started.catch_up()
    assert [entry["reason"] for entry in await house.entries("lockdown.set")] == ["recorded late"]
    assert await set_at(house.recorder) is not None


async def test_a_disk_that_hangs_holds_nobody_up(house: House, make_step: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async def hang(*_arguments: object, **_about: object) -> None:
        await asyncio.Event().wait()

    step = make_step()
    monkeypatch.setattr(lockdown_step, "DURABLE_SECONDS", 0.01)
    for owner, method in ((Recorder, "intent"), (Recorder, "fact"), (Database, "run")):
        monkeypatch.setattr(owner, method, hang)
    async with asyncio.timeout(20):
        answer = await step.set()
        await step.catch_up()
    assert answer.locked
    assert answer.shortcomings == (
        "It is not on record yet: the disk does not answer.",
        "It may end when the proxy is restarted: the disk does not answer.",
    )
    monkeypatch.undo()
    await step.catch_up()
    assert [entry["reason"] for entry in await house.entries("lockdown.set")] == ["recorded late"]
