from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from witnessed_log import MemoryLog, numbered, opened_post, serving

from mycelos.configuration.environment import ConfigurationError
from mycelos.configuration.witness import WitnessSettings
from mycelos.proxy.ledger.database import LedgerError
from mycelos.proxy.ledger.heads import Outside
from mycelos.proxy.witness.composition import demand_agreement, open_witnesses
from mycelos.proxy.witness.keeper import WitnessKeeper
from mycelos.proxy.witness.last_set import LastSet, last_set_file, read_last_set
from mycelos.proxy.witness.log import WitnessFault
from mycelos.proxy.witness.record_file import append
from mycelos.proxy.witness.remembered import CosignedKeeper, cosigned_file
from mycelos.proxy.witness.url_witness import UrlWitness

pytestmark = pytest.mark.anyio
LOG = MemoryLog(numbered(10))
REWRITTEN = MemoryLog(numbered(20, "rewritten"))


@pytest.fixture(autouse=True)
def in_asyncio(anyio_backend: str) -> None:
    """These tests are about one event loop."""


async def opened(
    settings: WitnessSettings, log: MemoryLog, outside: Outside | None = None
) -> tuple[WitnessKeeper, ...]:
    recorder: Any = None
    await demand_agreement(settings, log, outside)
    return await open_witnesses(settings, log, recorder, outside=outside, post=opened_post(1), is_locked=lambda: False)


async def test_each_witness_that_is_set_has_its_keeper(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert await opened(WitnessSettings(), LOG) == ()
    with caplog.at_level(logging.WARNING):
        keepers = await opened(WitnessSettings(file=tmp_path / "notes", url="https://w.example"), LOG)
    assert [keeper.status.place for keeper in keepers] == [str(tmp_path / "notes"), "https://w.example/"]
    assert "is not verified" in caplog.text


async def test_a_ledger_that_its_file_does_not_know_is_not_started(tmp_path: Path) -> None:
    append(tmp_path / "notes", LOG.at(10))
    settings = WitnessSettings(file=tmp_path / "notes", file_name="MYCELOS_WITNESS")
    await opened(settings, LOG)
    for log in (REWRITTEN, MemoryLog(numbered(9)), MemoryLog()):
        with pytest.raises(LedgerError) as refused:
            await opened(settings, log)
        assert "mycelos backup adopt" in str(refused.value)
        assert "name a new file in MYCELOS_WITNESS" in str(refused.value)


async def test_nor_one_that_the_kept_cosignature_does_not_know_also_where_the_url_is_gone(tmp_path: Path) -> None:
    outside = Outside(tmp_path / "heads")
    async with serving(tmp_path / "w", LOG) as served:
        await UrlWitness(served.url, served.own.public, LOG, served.post, CosignedKeeper(outside).keep).give()
    await opened(WitnessSettings(), LOG, outside)
    with pytest.raises(LedgerError, match="move .* away"):
        await opened(WitnessSettings(), REWRITTEN, outside)
    cosigned_file(outside).unlink()
    await opened(WitnessSettings(), REWRITTEN, outside)


async def test_a_kept_cosignature_that_cannot_be_read_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    outside = Outside(tmp_path)
    cosigned_file(outside).mkdir()
    with caplog.at_level(logging.WARNING):
        await opened(WitnessSettings(), LOG, outside)
    assert "cannot be read" in caplog.text


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        (WitnessSettings(file=Path("/nowhere/notes")), "witness.file in operator.toml: there is no folder /nowhere"),
        (WitnessSettings(file=Path("/dev/null")), "witness.file in operator.toml: /dev/null: the file cannot be read"),
        (WitnessSettings(url="https://a b/"), "witness.url in operator.toml: URL whole"),
        (WitnessSettings(url="https://a.example", key="x"), "witness.key in operator.toml: this is not base64"),
    ],
)
async def test_what_cannot_be_used_is_named_with_its_fix(settings: WitnessSettings, named: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        await opened(settings, LOG)
    assert named in str(refused.value)


async def test_a_damaged_file_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "notes").write_bytes(b"words\n\n")
    with pytest.raises(LedgerError, match="something else than checkpoints"):
        await opened(WitnessSettings(file=tmp_path / "notes"), LOG)


async def given(log: MemoryLog, settings: WitnessSettings, outside: Outside | None) -> Path:
    """A first start, and a first checkpoint to the file."""
    (keeper,) = await opened(settings, log, outside)
    assert await keeper._witness.give() == log.frontier.size
    assert settings.file is not None
    return settings.file


def shortened(path: Path) -> None:
    """As an older copy of the file that is put back."""
    path.unlink()
    append(path, LOG.at(4))


@pytest.mark.parametrize("take", [Path.unlink, lambda path: os.truncate(path, 0), shortened])
async def test_a_file_that_was_given_something_must_still_have_it(
    tmp_path: Path, take: Callable[[Path], object]
) -> None:
    outside, settings = Outside(tmp_path / "heads"), WitnessSettings(file=tmp_path / "notes")
    file = await given(LOG, settings, outside)
    assert read_last_set(outside) == LastSet(str(file), 10)
    whole = file.read_bytes()
    await opened(settings, LOG, outside)
    take(file)
    with pytest.raises(LedgerError, match=f"the witness's file {file} .* name a new file in witness.file") as refused:
        await opened(settings, LOG, outside)
    assert "mount what it lies on" in str(refused.value)
    # A new name begins anew, and so does the same one where nothing is remembered of it.
    await opened(WitnessSettings(file=tmp_path / "new"), LOG, None)
    await opened(settings, LOG, Outside(tmp_path / "other"))
    file.write_bytes(whole)
    await opened(settings, LOG, outside)


async def test_a_file_that_goes_after_the_start_is_not_made_anew(tmp_path: Path) -> None:
    outside, settings = Outside(tmp_path / "heads"), WitnessSettings(file=tmp_path / "notes")
    file = await given(LOG, settings, outside)
    for place in (outside, None):
        (keeper,) = await opened(settings, LOG, place)
        moved = file.rename(tmp_path / "moved")
        with pytest.raises(WitnessFault, match="is gone"):
            await keeper._witness.give()
        moved.rename(file)


async def test_a_witness_that_is_not_set_any_more_is_said_at_one_start(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    outside = Outside(tmp_path / "heads")
    await opened(WitnessSettings(file=tmp_path / "notes", url="https://w.example"), LOG, outside)
    for count in (1, 0):
        caplog.clear()
        await opened(WitnessSettings(), LOG, outside)
        said = f"had the witness {tmp_path / 'notes'} and https://w.example, and it is not set now"
        assert caplog.text.count(said) == count
    last_set_file(outside).write_text("words")
    await opened(WitnessSettings(), LOG, outside)
    assert "whether a witness was taken away is not known" in caplog.text
