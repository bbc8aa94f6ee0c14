"""The file of checkpoints: read back as it was written, wherever a write was cut."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from witnessed_log import MemoryLog, numbered

from mycelos.proxy.witness import record_file
from mycelos.proxy.witness.record_file import DamagedFileError, ShortenedFileError, append, remembered

LOG = MemoryLog(numbered(40))


def written(path: Path, *sizes: int) -> Path:
    for size in sizes:
        append(path, LOG.at(size))
    return path


def test_the_newest_is_read_back_and_the_file_is_its_owners(tmp_path: Path) -> None:
    path = written(tmp_path / "notes", 1, 2, 3)
    assert remembered(path)[0] == LOG.at(3).encode()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_text() == "\n".join([LOG.at(1), LOG.at(2), LOG.at(3), ""])


def test_where_there_is_no_file_or_nothing_in_it_nothing_is_remembered(tmp_path: Path) -> None:
    assert remembered(tmp_path / "notes") == []
    (tmp_path / "notes").touch()
    assert remembered(tmp_path / "notes") == []


def test_a_write_that_is_cut_anywhere_costs_that_one_record_alone(tmp_path: Path) -> None:
    whole = written(tmp_path / "whole", 1, 2).read_bytes()
    first = len(LOG.at(1).encode()) + 1
    path = tmp_path / "notes"
    for cut in range(first, len(whole)):
        path.write_bytes(whole[:cut])
        assert remembered(path)[0] == LOG.at(1).encode(), cut
        append(path, LOG.at(3))
        assert remembered(path)[0] == LOG.at(3).encode(), cut
        # Cut again right behind: what is older still counts.
        path.write_bytes(path.read_bytes() + b"ledger")
        append(path, LOG.at(4))
        assert remembered(path)[0] == LOG.at(4).encode(), cut


def test_a_first_write_that_is_cut_leaves_nothing(tmp_path: Path) -> None:
    whole = written(tmp_path / "whole", 1).read_bytes()
    path = tmp_path / "notes"
    for cut in range(len(whole)):
        path.write_bytes(whole[:cut])
        assert remembered(path) == []
        append(path, LOG.at(2))
        assert remembered(path)[0] == LOG.at(2).encode()
    for zeros in (1, 4096):
        path.write_bytes(whole + bytes(zeros))
        assert remembered(path)[0] == LOG.at(1).encode()
        append(path, LOG.at(2))
        assert remembered(path)[0] == LOG.at(2).encode()


def test_what_is_no_checkpoint_at_the_end_is_not_passed_over(tmp_path: Path) -> None:
    path = written(tmp_path / "notes", 1)
    for damage in (b"words\n\n", b"words\n\n\xe2\x80\x94 words\n\n", b"a\nb\nc\nd\n\n", b"\n\n"):
        path.write_bytes(LOG.at(1).encode() + b"\n" + damage)
        with pytest.raises(DamagedFileError):
            remembered(path)
    path.write_bytes(b"x" * (record_file._TAIL + 100) + b"\n\n")
    with pytest.raises(DamagedFileError):
        remembered(path)


def test_of_a_long_file_few_bytes_are_read_and_all_ages_are_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "notes"
    records = [LOG.at(size).encode() + b"\n" for size in range(1, 41)]
    with path.open("wb") as stream:
        for record in records:
            stream.write(record * 12_000)
    assert path.stat().st_size > 80_000_000
    read, count = os.pread, 0

    def counted(descriptor: int, length: int, offset: int) -> bytes:
        nonlocal count
        count += length
        return read(descriptor, length, offset)

    monkeypatch.setattr(os, "pread", counted)
    sizes = [int(note.split(b"\n")[1]) for note in remembered(path)]
    assert count < 600_000
    assert sizes[0] == 40
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-1] == 1
    assert len(sizes) >= 5


def test_of_a_short_file_the_newest_and_ever_fewer_before_it_are_there(tmp_path: Path) -> None:
    path = written(tmp_path / "notes", *range(1, 21))
    assert [int(note.split(b"\n")[1]) for note in remembered(path)] == [20, 19, 18, 16, 12, 4, 1]


@pytest.mark.parametrize("kind", ["fifo", "link", "folder", "dangling"])
def test_what_is_no_plain_file_is_refused_and_nobody_waits(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "notes"
    other = tmp_path / "other"
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to(other)
        if kind == "link":
            other.touch()
    with pytest.raises(OSError):
        append(path, LOG.at(1))
    with pytest.raises(OSError):
        remembered(path)
    assert not other.exists() or other.read_bytes() == b""


def test_a_fifo_that_somebody_reads_gets_nothing(tmp_path: Path) -> None:
    path = tmp_path / "notes"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    with pytest.raises(OSError, match="regular"):
        append(path, LOG.at(1))
    assert os.read(reader, 10) == b""
    os.close(reader)


def test_it_is_on_disk_when_it_returns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(os.fstat(descriptor).st_size))
    path = written(tmp_path / "notes", 1)
    assert synced == [path.stat().st_size]


def test_a_file_that_had_something_is_not_made_anew_and_not_gone_on_with_where_it_is_shorter(tmp_path: Path) -> None:
    path = tmp_path / "notes"
    length = append(path, LOG.at(1))
    assert length == path.stat().st_size
    assert append(path, LOG.at(2), length=length) == path.stat().st_size
    os.truncate(path, length - 1)
    with pytest.raises(ShortenedFileError, match=f"has {length - 1} bytes and had {length}"):
        append(path, LOG.at(3), length=length)
    assert path.stat().st_size == length - 1
    path.unlink()
    with pytest.raises(ShortenedFileError, match="is gone"):
        append(path, LOG.at(3), length=length)
    assert not path.exists()
    # Without the length it is a new one.
    assert append(path, LOG.at(3)) == path.stat().st_size
