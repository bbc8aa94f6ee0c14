from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest

from mycelos.configuration.witness import WitnessSettings
from mycelos.proxy.ledger.heads import Outside
from mycelos.proxy.witness.last_set import LastSet, LastSetError, LastSetKeeper, last_set_file, read_last_set

pytestmark = pytest.mark.anyio
NOTES = Path("/mnt/notes")
BOTH = WitnessSettings(file=NOTES, url="https://w.example")
LAST = LastSet("/mnt/notes", 7, "https://w.example")


async def test_what_is_kept_is_read_back(tmp_path: Path, anyio_backend: str) -> None:
    outside = Outside(tmp_path / "heads")
    assert read_last_set(outside) == read_last_set(None) == LastSet()
    keeper = LastSetKeeper(outside, LastSet().after(BOTH))
    await keeper.write()
    assert read_last_set(outside) == LastSet("/mnt/notes", 0, "https://w.example")
    await keeper.given(7)
    assert read_last_set(outside) == LAST
    assert last_set_file(outside).stat().st_mode & 0o777 == 0o600


async def test_what_has_not_moved_is_not_written_again(tmp_path: Path, anyio_backend: str) -> None:
    outside = Outside(tmp_path)
    keeper = LastSetKeeper(outside, LAST)
    await keeper.write()
    last_set_file(outside).unlink()
    await keeper.given(7)
    assert not last_set_file(outside).exists()
    await keeper.given(8)
    assert read_last_set(outside).given == 8


def test_another_file_was_given_nothing() -> None:
    assert LAST.after(BOTH) == LAST
    assert LAST.after(WitnessSettings(file=Path("/mnt/new"))) == LastSet("/mnt/new")
    assert LAST.after(WitnessSettings()) == LastSet().after(WitnessSettings()) == LastSet()


@pytest.mark.parametrize(("newest", "said"), [(None, "gone or empty"), (6, "of 6 entries"), (7, None), (8, None)])
def test_what_is_missing_in_the_file_is_said(newest: int | None, said: str | None) -> None:
    missing = LAST.missing(NOTES, newest)
    assert (missing is None) == (said is None)
    assert (said or "") in (missing or "")
    assert LAST.missing(Path("/mnt/new"), newest) is None
    assert LastSet("/mnt/notes").missing(NOTES, newest) is None


def test_what_is_not_set_any_more_is_named() -> None:
    assert LAST.unset(BOTH) == ()
    assert LAST.unset(WitnessSettings(file=NOTES)) == ("https://w.example",)
    assert LAST.unset(WitnessSettings(file=Path("/mnt/new"))) == ("/mnt/notes", "https://w.example")
    assert LastSet().unset(BOTH) == ()


@pytest.mark.parametrize("data", [b"words", b"[]", b'{"given":-1}', b'{"file":"\xff"}', b'{"other":1}'])
def test_what_cannot_be_read_is_named(tmp_path: Path, data: bytes) -> None:
    last_set_file(Outside(tmp_path)).write_bytes(data)
    with pytest.raises(LastSetError, match="witnesses.json cannot be read"):
        read_last_set(Outside(tmp_path))


def test_nor_what_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(last_set_file(Outside(tmp_path)))
    with pytest.raises(LastSetError):
        read_last_set(Outside(tmp_path))


async def test_a_place_that_refuses_stops_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, anyio_backend: str
) -> None:
    (tmp_path / "heads").touch()
    with caplog.at_level(logging.WARNING):
        await LastSetKeeper(None, LAST).write()
        await LastSetKeeper(Outside(tmp_path / "heads"), LAST).write()
        await LastSetKeeper(Outside(tmp_path), LastSet("/mnt/\udcff")).write()
    assert [record.getMessage().partition(" cannot be written")[1] != "" for record in caplog.records] == [True, True]
