"""The proxy remembers its ledger's head outside, and works on where that place refuses."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest
from ledger_keys import ledger_keys

from mycelos.configuration.layout import DataLayout
from mycelos.ledger.events import Event
from mycelos.proxy import head_keeper
from mycelos.proxy.head_keeper import HeadKeeper, keeping
from mycelos.proxy.ledger.heads import PROXY_OUTSIDE, Outside, Remembered, remembered_heads
from mycelos.proxy.ledger.recorder import Recorder
from mycelos.proxy.vault.store import Vault

pytestmark = pytest.mark.anyio


class House:
    def __init__(self, layout: DataLayout, outside: Outside) -> None:
        self.layout = layout
        self.outside = outside
        self.vault = Vault.open(layout, bytes(32))
        self.recorder: Recorder

    def remembered(self) -> Remembered:
        return remembered_heads(self.layout, self.outside)

    async def say(self) -> None:
        await self.recorder.fact(Event.PROXY_STARTED, outcome="ok")


@pytest.fixture
async def house(layout: DataLayout, tmp_path: Path, anyio_backend: str):
    house = House(layout, Outside(tmp_path / "state" / "heads"))
    house.recorder = await Recorder.open(layout.ledger, keys=ledger_keys)
    yield house
    await house.recorder.close()
    house.vault.close()


def newest(house: House) -> bytes:
    assert house.recorder.checkpoint is not None
    return house.recorder.checkpoint.encode()


async def test_the_head_is_remembered_at_start_and_at_the_end(house: House) -> None:
    await house.say()
    async with keeping(HeadKeeper(house.outside, house.recorder, house.vault.state)):
        assert house.remembered().notes == {PROXY_OUTSIDE: newest(house)}
        assert house.remembered().vault_generation == house.vault.state.anchor.generation
        await house.say()
    assert house.remembered().notes == {PROXY_OUTSIDE: newest(house)}
    assert house.outside.proxy.stat().st_mode & 0o777 == 0o600


async def test_between_it_is_written_again_when_it_has_moved(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(head_keeper, "WRITE_SECONDS", 0.01)
    await house.say()
    async with keeping(HeadKeeper(house.outside, house.recorder, house.vault.state)):
        await house.say()
        async with asyncio.timeout(30):
            while house.remembered().notes[PROXY_OUTSIDE] != newest(house):  # noqa: ASYNC110 - a file is waited for
                await asyncio.sleep(0.01)


async def test_a_ledger_that_nobody_signs_has_nothing_to_remember(layout: DataLayout, tmp_path: Path) -> None:
    recorder, vault = await Recorder.open(layout.ledger), Vault.open(layout, bytes(32))
    await recorder.fact(Event.PROXY_STARTED, outcome="ok")
    outside = Outside(tmp_path / "state")
    await HeadKeeper(outside, recorder, vault.state).write()
    assert not outside.proxy.exists()
    await recorder.close()
    vault.close()


async def test_a_checkpoint_that_has_not_moved_writes_nothing(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    writes = []
    monkeypatch.setattr(head_keeper, "remember", lambda *arguments: writes.append(arguments))
    keeper = HeadKeeper(house.outside, house.recorder, house.vault.state)
    await house.say()
    await keeper.write()
    await keeper.write()
    assert len(writes) == 1
    with house.vault.wrapped_key("moves-the-vault"):
        await keeper.write()
    assert len(writes) == 2


async def test_a_place_that_refuses_is_said_once_and_taken_again_when_it_can(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    house.outside.folder.parent.mkdir()
    house.outside.folder.touch()
    await house.say()
    keeper = HeadKeeper(house.outside, house.recorder, house.vault.state)
    with caplog.at_level(logging.WARNING):
        await keeper.write()
        await keeper.write()
    assert caplog.text.count("an old copy of the whole data folder would not be noticed") == 1
    house.outside.folder.unlink()
    await keeper.write()
    assert house.remembered().notes == {PROXY_OUTSIDE: newest(house)}


async def test_without_a_place_it_is_said_at_the_start(house: House, caplog: pytest.LogCaptureFixture) -> None:
    await house.say()
    with caplog.at_level(logging.WARNING):
        async with keeping(HeadKeeper(None, house.recorder, house.vault.state)):
            pass
    assert "XDG_STATE_HOME" in caplog.text
    assert house.remembered().notes == {}


async def test_what_ends_the_block_is_raised_as_it_is_and_the_newest_is_remembered(house: House) -> None:
    with pytest.raises(OSError, match="no socket"):
        async with keeping(HeadKeeper(house.outside, house.recorder, house.vault.state)):
            await house.say()
            raise OSError(98, "no socket")
    assert house.remembered().notes == {PROXY_OUTSIDE: newest(house)}
