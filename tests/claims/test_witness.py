"""Claim L2: whoever can write all of the data folder and has the signing key rewrites the ledger, and is still found.

The ledger is a real one, and so is the rewritten one: the proxy's own recorder makes it, with the vault's own key.
"""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from functools import partial
from pathlib import Path

import pytest
from witnessed_log import MemoryLog, ServedWitness, serving

from mycelos.configuration.layout import DataLayout
from mycelos.configuration.witness import WitnessSettings
from mycelos.ledger.events import Event
from mycelos.ledger.query import EventQuery
from mycelos.ledger.verify import RememberedNote, Verdict
from mycelos.proxy.key_rotation import ledger_keys
from mycelos.proxy.ledger.database import LedgerError
from mycelos.proxy.ledger.recorder import Recorder
from mycelos.proxy.ledger.verification import verify_ledger
from mycelos.proxy.vault.store import Vault
from mycelos.proxy.witness.composition import demand_agreement, open_witnesses
from mycelos.proxy.witness.consult import Word, consult
from mycelos.proxy.witness.file_witness import FileWitness
from mycelos.proxy.witness.keeper import WitnessKeeper
from mycelos.proxy.witness.remembered import witnessed
from mycelos.wire.witness import WitnessCondition

pytestmark = pytest.mark.anyio
COUNT = 300
"""Entries: more than a tile of the stored tree has."""


class House:
    def __init__(self, layout: DataLayout, vault: Vault, served: ServedWitness, file: Path) -> None:
        self.layout, self.vault, self.served = layout, vault, served
        self.settings = WitnessSettings(file=file, url=str(served.url), key=served.vkey)

    async def open(self, path: Path | None = None) -> Recorder:
        return await Recorder.open(path or self.layout.ledger, keys=partial(ledger_keys, self.vault))

    async def write(self, recorder: Recorder, count: int, host: str) -> None:
        facts = [recorder.fact(Event.PROXY_HTTP_REQUEST, details={"host": host}) for _ in range(count)]
        await asyncio.gather(*facts)

    async def keepers(self, recorder: Recorder) -> tuple[WitnessKeeper, ...]:
        await demand_agreement(self.settings, recorder, None)
        return await open_witnesses(
            self.settings, recorder, recorder, outside=None, post=self.served.post, is_locked=lambda: False
        )

    async def give(self) -> None:
        """What the running proxy does: the newest checkpoint to file and witness."""
        recorder = await self.open()
        for keeper in await self.keepers(recorder):
            await keeper.step()
            assert keeper.status.condition is WitnessCondition.TAKES
        await recorder.close()

    async def rewrite(self, count: int) -> None:
        """Put a ledger of other entries, signed with the key of this one, in its place."""
        other = self.layout.root / "other" / "ledger.sqlite"
        other.parent.mkdir(mode=0o700)
        recorder = await self.open(other)
        await self.write(recorder, count, "harmless.example")
        await recorder.close()
        for path in self.layout.ledger.parent.glob("ledger.*"):
            path.unlink()
        for path in other.parent.iterdir():
            shutil.move(path, self.layout.ledger.parent)

    async def verify(self) -> tuple[Verdict, tuple[Word, ...]]:
        """What `mycelos db audit verify` does."""
        before = witnessed(self.settings, None)
        evidence = {name: RememberedNote(note) for name, note in before.notes.items()}
        found = await asyncio.to_thread(verify_ledger, self.layout.ledger, evidence)
        recorder = await self.open()
        walked = found.checkpoint or ""
        words = await consult(self.settings, before, recorder, walked, self.served.post)
        await recorder.close()
        return found.result.verdict, words


@pytest.fixture
async def house(layout: DataLayout, tmp_path: Path, anyio_backend: str):
    vault = Vault.open(layout, bytes(32))
    recorder = await Recorder.open(layout.ledger, keys=partial(ledger_keys, vault))
    log = MemoryLog()
    assert recorder.key is not None
    log.key = recorder.key
    async with serving(tmp_path / "witness", log) as served:
        house = House(layout, vault, served, tmp_path / "notes")
        await house.write(recorder, COUNT, "thief.example")
        await recorder.close()
        yield house
    vault.close()


async def test_a_ledger_that_nobody_touched_has_both_witnesses_word(house: House) -> None:
    await house.give()
    await house.give()
    verdict, words = await house.verify()
    assert verdict is Verdict.HOLDS
    assert [word.agrees for word in words] == [True, True]


@pytest.mark.parametrize("count", [COUNT // 2, COUNT, COUNT * 2])
async def test_all_rewritten_with_the_key_is_found_by_file_and_by_url(house: House, count: int) -> None:
    await house.give()
    await house.rewrite(count)
    # The thief goes on appending to the file, as the proxy does.
    recorder = await house.open()
    await FileWitness(house.settings.file or Path(), recorder).give()
    await recorder.close()
    verdict, (file, url) = await house.verify()
    assert verdict is Verdict.HOLDS  # the newest checkpoint in the file is the thief's own
    assert (file.agrees, url.agrees) == (False, False)


@pytest.mark.parametrize("count", [COUNT * 2])
async def test_and_without_a_witness_by_nobody(house: House, count: int) -> None:
    await house.rewrite(count)
    verdict, words = await house.verify()
    assert verdict is Verdict.CANNOT_TELL
    # Neither was given anything before: the wall is not there.
    assert [word.agrees for word in words] == [True]


@pytest.mark.parametrize("count", [COUNT * 2])
async def test_the_running_proxy_finds_it_too(house: House, count: int) -> None:
    await house.give()
    await house.rewrite(count)
    recorder = await house.open()
    with pytest.raises(LedgerError, match="does not fit what"):
        await house.keepers(recorder)
    house.settings = WitnessSettings(url=house.settings.url, key=house.settings.key)
    (keeper,) = await house.keepers(recorder)
    await keeper.step()
    assert keeper.status.condition is WitnessCondition.DISAGREES
    (entry,) = await recorder.events(EventQuery(event=Event.LEDGER_WITNESS_DISAGREED))
    assert entry.reason
    await recorder.close()


async def test_the_thief_who_rewrites_the_rows_and_keeps_the_signed_note_is_found_by_the_walk(house: House) -> None:
    await house.give()
    signed = house.layout.ledger.with_suffix(".signed").read_bytes()
    await house.rewrite(COUNT)
    house.layout.ledger.with_suffix(".signed").write_bytes(signed)
    with sqlite3.connect(house.layout.ledger) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    before = witnessed(house.settings, None)
    evidence = {name: RememberedNote(note) for name, note in before.notes.items()}
    found = await asyncio.to_thread(verify_ledger, house.layout.ledger, evidence)
    assert found.result.verdict is Verdict.BROKEN
