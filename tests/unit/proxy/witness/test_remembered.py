from __future__ import annotations

import json
import logging
import os
from pathlib import Path

import pytest
from witnessed_log import MemoryLog, numbered, serving

from mycelos.configuration.witness import WitnessSettings
from mycelos.ledger.checkpoint import open_checkpoint
from mycelos.proxy.ledger.heads import Outside
from mycelos.proxy.vault.signing import verifies
from mycelos.proxy.witness.last_set import last_set_file
from mycelos.proxy.witness.record_file import append
from mycelos.proxy.witness.remembered import COSIGNED, LAST_SET, WITNESS_FILE, CosignedKeeper, cosigned_file, witnessed
from mycelos.proxy.witness.url_witness import UrlWitness

pytestmark = pytest.mark.anyio


async def test_file_and_cosignature_are_found_as_notes_that_the_log_signed(tmp_path: Path, anyio_backend: str) -> None:
    log, outside, file = MemoryLog(numbered(5)), Outside(tmp_path / "heads"), tmp_path / "notes"
    append(file, log.at(4))
    async with serving(tmp_path / "witness", log) as served:
        kept = CosignedKeeper(outside)
        await UrlWitness(served.url, served.own.public, log, served.post, kept.keep).give()
    found = witnessed(WitnessSettings(file=file), outside)
    assert found.unreadable == ()
    opened = {name: open_checkpoint(note, log.key.name, [log.key], verifies).size for name, note in found.notes.items()}
    assert opened == {WITNESS_FILE: 4, COSIGNED: 5}
    assert cosigned_file(outside).stat().st_mode & 0o777 == 0o600
    assert [path.name for path in outside.folder.iterdir()] == ["witness.note"]


def test_nothing_is_nothing(tmp_path: Path) -> None:
    assert witnessed(WitnessSettings(), None).notes == {}
    assert witnessed(WitnessSettings(file=tmp_path / "none"), Outside(tmp_path)).notes == {}


def test_what_is_there_and_cannot_be_read_is_named(tmp_path: Path) -> None:
    outside = Outside(tmp_path)
    os.mkfifo(cosigned_file(outside))
    (tmp_path / "notes").write_bytes(b"words\n\n")
    found = witnessed(WitnessSettings(file=tmp_path / "notes"), outside)
    assert (found.notes, found.unreadable) == ({}, (WITNESS_FILE, COSIGNED))


async def test_a_place_that_refuses_stops_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, anyio_backend: str
) -> None:
    log = MemoryLog(numbered(5))
    (tmp_path / "heads").touch()
    async with serving(tmp_path / "witness", log) as served:
        with caplog.at_level(logging.WARNING):
            for outside in (None, Outside(tmp_path / "heads")):
                kept = CosignedKeeper(outside)
                assert await UrlWitness(served.url, served.own.public, log, served.post, kept.keep).give() == 5
    assert [record.getMessage().partition(" cannot")[0] for record in caplog.records] == [
        str(tmp_path / "heads" / "witness.note")
    ]


def test_a_witness_that_has_no_word_is_missing(tmp_path: Path) -> None:
    outside, file, log = Outside(tmp_path), tmp_path / "notes", MemoryLog(numbered(5))
    settings = WitnessSettings(file=file)
    (never,) = witnessed(settings, None).missing
    assert f"{file} is gone, empty, or was never given anything" in never
    append(file, log.at(4))
    assert witnessed(settings, outside).missing == ()
    last_set_file(outside).write_text(json.dumps({"file": str(file), "given": 5}))
    (older,) = witnessed(settings, outside).missing
    assert "ends with a checkpoint of 4 entries, and it was given one of 5 entries" in older
    append(file, log.at(5))
    assert witnessed(settings, outside).missing == ()
    file.write_bytes(b"")
    (emptied,) = witnessed(settings, outside).missing
    file.unlink()
    (gone,) = witnessed(settings, outside).missing
    assert emptied == gone
    assert f"{file} is gone or empty, and it was given one of 5 entries" in gone
    assert witnessed(WitnessSettings(), outside).missing == (
        f"the proxy had the witness {file}, and it is not set here",
    )
    last_set_file(outside).write_text("words")
    assert witnessed(WitnessSettings(), outside).unreadable == (LAST_SET,)
