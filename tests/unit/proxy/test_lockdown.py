import asyncio
from collections.abc import Iterator

import pytest
import sqlalchemy as sa

from mycelos.configuration.layout import DataLayout
from mycelos.proxy.database import Database
from mycelos.proxy.lockdown import Lockdown
from mycelos.proxy.tables import OPERATOR_SETTINGS
from mycelos.proxy.vault.store import Vault
from mycelos.wire.problems import ProblemCode, Refusal

pytestmark = pytest.mark.anyio


@pytest.fixture
def vault(layout: DataLayout) -> Iterator[Vault]:
    opened = Vault.open(layout, bytes(32))
    yield opened
    opened.close()


def open_lockdown(vault: Vault, set_at: str | None = None) -> Lockdown:
    return Lockdown.open(vault.database, vault.keys, set_at)


def refusal(lockdown: Lockdown) -> Refusal:
    with pytest.raises(Refusal) as caught:
        lockdown.refuse()
    return caught.value


async def test_nothing_is_refused_before_and_everything_after_with_the_way_back(vault: Vault) -> None:
    lockdown = open_lockdown(vault)
    lockdown.refuse()
    assert not lockdown.stop()
    problem = refusal(lockdown).problem
    assert problem.code is ProblemCode.LOCKED_DOWN
    assert str(lockdown.state.since) in problem.detail
    assert "mycelos lockdown --lift" in problem.next
    await lockdown.lift()
    lockdown.refuse()


async def test_what_is_open_is_cut_at_once_each_time_it_is_set(vault: Vault) -> None:
    lockdown = open_lockdown(vault)
    cuts: list[bool] = []
    lockdown.on_set = lambda: cuts.append(lockdown.state.locked)
    lockdown.stop()
    lockdown.stop()
    assert cuts == [True, True]


async def test_setting_it_twice_keeps_the_first_time_and_names_a_new_lockdown(vault: Vault) -> None:
    lockdown = open_lockdown(vault)
    lockdown.stop()
    first = lockdown.state
    assert lockdown.stop()
    assert (lockdown.state.locked, lockdown.state.since) == (True, first.since)
    assert lockdown.state.last != first.last
    await lockdown.lift()
    assert lockdown.state.since is None
    assert lockdown.state.last != first.last


async def test_it_outlives_the_process_until_it_is_lifted(vault: Vault) -> None:
    lockdown = open_lockdown(vault)
    lockdown.stop()
    await lockdown.keep()
    again = open_lockdown(vault)
    assert again.state == lockdown.state
    refusal(again)
    await again.lift()
    assert open_lockdown(vault).state == again.state
    open_lockdown(vault).refuse()


@pytest.mark.parametrize("value", ['{"locked":false,"since":null,"last":"x"}', "{}", ""])
async def test_a_row_that_was_altered_outside_means_locked(vault: Vault, value: str) -> None:
    lockdown = open_lockdown(vault)
    lockdown.stop()
    await lockdown.keep()
    vault.database.run_now(lambda connection: connection.execute(sa.update(OPERATOR_SETTINGS).values(value=value)))
    altered = open_lockdown(vault)
    assert "altered outside" in refusal(altered).problem.detail
    await altered.lift()
    open_lockdown(vault).refuse()


async def test_a_row_that_was_taken_away_does_not_open_what_the_ledger_calls_locked(vault: Vault) -> None:
    lockdown = open_lockdown(vault)
    lockdown.stop()
    await lockdown.keep()
    vault.database.run_now(lambda connection: connection.execute(sa.delete(OPERATOR_SETTINGS)))
    assert "2026-11-26T08:00:00Z" in refusal(open_lockdown(vault, "2026-11-26T08:00:00Z")).problem.detail
    # Without the ledger's word the deletion would go unseen.
    open_lockdown(vault).refuse()


async def full(_self: object, *_arguments: object) -> None:
    raise Refusal(ProblemCode.VAULT_UNAVAILABLE, "The disk is full.", "Free some space.")


async def test_a_disk_that_refuses_stops_neither_the_stop_nor_opens_by_the_lift(
    vault: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    lockdown = open_lockdown(vault)
    monkeypatch.setattr(Database, "run", full)
    lockdown.stop()
    for step in (lockdown.keep, lockdown.lift):
        with pytest.raises(Refusal, match="vault_unavailable"):
            await step()
        refusal(lockdown)


async def test_a_lockdown_that_is_set_while_one_is_lifted_stays(vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    lockdown = open_lockdown(vault)
    lockdown.stop()
    write = Database.run

    async def interrupted(self: Database, *arguments: object) -> object:
        monkeypatch.setattr(Database, "run", write)
        await write(self, *arguments)  # type: ignore[arg-type]  # passed on as they came
        lockdown.stop()
        return await asyncio.create_task(lockdown.keep())

    monkeypatch.setattr(Database, "run", interrupted)
    with pytest.raises(Refusal, match="conflict"):
        await lockdown.lift()
    refusal(lockdown)
    refusal(open_lockdown(vault))
