from __future__ import annotations

import os

import pytest
from ledger_keys import note_of

from mycelos.proxy.ledger.last_signed import BLOCK, LastSigned, file_of, read_last_signed


@pytest.fixture
def kept(path):
    path.parent.mkdir()
    made = LastSigned.open(path)
    yield made
    made.close()


def test_the_newest_note_is_read_back_also_after_a_longer_one(kept, path):
    for size in (10**12, 1):
        kept.write(note_of(size))
        assert read_last_signed(path) == note_of(size).encode()
    assert file_of(path).stat().st_size == BLOCK
    assert file_of(path).stat().st_mode & 0o777 == 0o600


def test_nothing_signed_and_no_file_are_two_things(kept, path):
    assert read_last_signed(path) == b""
    file_of(path).unlink()
    assert read_last_signed(path) is None


def test_opening_again_keeps_what_is_there(kept, path):
    kept.write(note_of(3))
    LastSigned.open(path).close()
    assert read_last_signed(path) == note_of(3).encode()


def test_a_note_that_does_not_fit_is_refused(kept):
    with pytest.raises(ValueError, match="512"):
        kept.write("x" * 513)


def test_a_note_written_in_part_is_an_error(kept, monkeypatch):
    monkeypatch.setattr(os, "pwrite", lambda _descriptor, _data, _offset: 100)
    with pytest.raises(OSError, match="in part"):
        kept.write(note_of(3))


@pytest.mark.parametrize("kind", ["link", "directory"])
def test_what_is_no_plain_file_is_neither_written_nor_read(path, tmp_path, kind):
    path.parent.mkdir()
    if kind == "link":
        file_of(path).symlink_to(tmp_path / "elsewhere")
    else:
        file_of(path).mkdir()
    with pytest.raises(OSError):
        LastSigned.open(path)
    with pytest.raises(OSError):
        read_last_signed(path)
    assert not (tmp_path / "elsewhere").exists()
