from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from witnessed_log import MemoryLog, numbered

from mycelos.proxy.witness import file_witness, record_file
from mycelos.proxy.witness.file_witness import FileWitness, demand_file_prefix
from mycelos.proxy.witness.log import FaultCode, WitnessFault
from mycelos.proxy.witness.record_file import remembered

pytestmark = pytest.mark.anyio


async def test_it_is_given_the_newest_checkpoint(tmp_path: Path, anyio_backend: str) -> None:
    log = MemoryLog()
    witness = FileWitness(tmp_path / "notes", log)
    assert await witness.give() is None
    log.append(*numbered(3))
    assert await witness.give() == 3
    assert remembered(tmp_path / "notes") == [log.at(3).encode()]
    assert await demand_file_prefix(tmp_path / "notes", log) == 3
    assert await demand_file_prefix(tmp_path / "none", log) is None


async def test_a_file_that_cannot_be_written_is_a_fault(tmp_path: Path, anyio_backend: str) -> None:
    log = MemoryLog(numbered(3))
    for path in (tmp_path, tmp_path / "none" / "notes"):
        with pytest.raises(WitnessFault, match="cannot be written") as fault:
            await FileWitness(path, log).give()
        assert fault.value.code is FaultCode.UNREACHABLE


async def test_all_rewritten_with_the_key_and_more_appended_still_shows(tmp_path: Path, anyio_backend: str) -> None:
    path, log = tmp_path / "notes", MemoryLog(numbered(10))
    for _ in range(50):
        await FileWitness(path, log).give()
        log.append("one more")
    rewritten = MemoryLog(numbered(60, "rewritten"))
    for _ in range(200):
        await FileWitness(path, rewritten).give()
        rewritten.append("one more")
    with pytest.raises(WitnessFault) as fault:
        await demand_file_prefix(path, rewritten)
    assert fault.value.code is FaultCode.REWRITTEN


async def test_looking_at_the_newest_alone_it_would_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, anyio_backend: str
) -> None:
    path = tmp_path / "notes"
    await FileWitness(path, MemoryLog(numbered(10))).give()
    rewritten = MemoryLog(numbered(60, "rewritten"))
    await FileWitness(path, rewritten).give()
    monkeypatch.setattr(file_witness, "remembered", lambda path: record_file.remembered(path)[:1])
    assert await demand_file_prefix(path, rewritten) == 60


async def test_a_damaged_file_is_a_fault_of_its_own(tmp_path: Path, anyio_backend: str) -> None:
    (tmp_path / "notes").write_bytes(b"words\n\n")
    with pytest.raises(WitnessFault) as fault:
        await demand_file_prefix(tmp_path / "notes", MemoryLog(numbered(3)))
    assert fault.value.code is FaultCode.INVALID_ANSWER
    with pytest.raises(WitnessFault, match="cannot be read") as fault:
        await demand_file_prefix(tmp_path, MemoryLog(numbered(3)))
    assert fault.value.code is FaultCode.UNREACHABLE


@pytest.mark.parametrize("take", [Path.unlink, lambda path: path.write_bytes(b""), lambda path: os.truncate(path, 9)])
async def test_a_file_that_is_taken_away_is_a_fault_until_it_is_back(
    tmp_path: Path, anyio_backend: str, take: Callable[[Path], object]
) -> None:
    path, log, taken = tmp_path / "notes", MemoryLog(numbered(3)), list[int]()

    async def note(size: int) -> None:
        taken.append(size)

    witness = FileWitness(path, log, note)
    await witness.give()
    whole = path.read_bytes()
    take(path)
    left = path.read_bytes() if path.exists() else None
    log.append("one more")
    with pytest.raises(WitnessFault, match="put it back") as fault:
        await witness.give()
    assert fault.value.code is FaultCode.FORGOTTEN
    assert (path.read_bytes() if path.exists() else None) == left
    path.write_bytes(whole)
    assert await witness.give() == 4
    assert taken == [3, 4]


async def test_a_file_that_was_given_something_before_is_not_made_anew(tmp_path: Path, anyio_backend: str) -> None:
    path, log = tmp_path / "notes", MemoryLog(numbered(3))
    with pytest.raises(WitnessFault, match="is gone"):
        await FileWitness(path, log, given=True).give()
    assert await FileWitness(path, log).give() == 3
    assert await FileWitness(path, log, given=True).give() == 3
