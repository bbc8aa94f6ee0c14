from __future__ import annotations

import errno
import os
import stat

import pytest
from ledger_keys import note_of

from mycelos.proxy.ledger.database import LedgerError, LedgerUnavailableError
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


@pytest.mark.parametrize("kind", ["link", "directory", "FIFO", "socket", "too long"])
def test_what_is_no_plain_file_is_neither_written_nor_read_and_what_is_said_leads_on(path, tmp_path, kind):
    path.parent.mkdir()
    if kind == "link":
        file_of(path).symlink_to(tmp_path / "elsewhere")
    elif kind == "directory":
        file_of(path).mkdir()
    elif kind == "FIFO":
        os.mkfifo(file_of(path))
    elif kind == "socket":
        os.mknod(file_of(path), 0o600 | stat.S_IFSOCK)
    else:
        file_of(path).write_bytes(bytes(BLOCK + 1))
    if kind in {"link", "directory", "socket"}:
        with pytest.raises(OSError):
            LastSigned.open(path)
    why = "longer than 512 bytes" if kind == "too long" else "not a regular file"
    with pytest.raises(LedgerError, match=f"{file_of(path)} cannot be read \\({why}\\)") as caught:
        read_last_signed(path)
    assert not isinstance(caught.value, LedgerUnavailableError)
    assert "Move it away" in str(caught.value)
    assert "mycelos backup adopt" in str(caught.value)
    assert not (tmp_path / "elsewhere").exists()


def test_what_the_system_does_not_let_be_read_is_told_apart(path, monkeypatch):
    def refuse(kept, _limit):
        raise OSError(errno.EACCES, os.strerror(errno.EACCES), str(kept))

    monkeypatch.setattr("mycelos.proxy.ledger.last_signed.read_plain_file", refuse)
    with pytest.raises(LedgerUnavailableError, match="Permission denied"):
        read_last_signed(path)
