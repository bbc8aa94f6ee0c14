"""A write-ahead log that takes long to read is no hang, and a hang ends the signs of life."""

from __future__ import annotations

import shutil
import threading

import pytest
from ledger_rows import row

from mycelos.proxy.ledger import opening, writer
from mycelos.proxy.ledger.database import INSERT
from mycelos.proxy.ledger.opening import alive_while_opening
from mycelos.proxy.ledger.writer import LOG_PAGES, LedgerWriter


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(opening, "EVERY", 0.01)


def with_log(path, size):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.with_name(path.name + "-wal").write_bytes(bytes(size))


def speakers():
    return [thread for thread in threading.enumerate() if thread.name == "ledger-opening"]


def test_it_is_said_as_long_as_the_log_may_take_and_no_longer_than_the_opening(path, quick, monkeypatch):
    monkeypatch.setattr(opening, "BYTES_PER_SECOND", 10)
    with_log(path, 1000)
    told = threading.Semaphore(0)
    with alive_while_opening(path, told.release):
        for _ in range(4):
            assert told.acquire(timeout=20)
    assert speakers() == []


def test_a_hang_is_not_said_to_be_alive_for_ever(path, quick, monkeypatch):
    monkeypatch.setattr(opening, "BYTES_PER_SECOND", 10_000)
    with_log(path, 500)
    told = []
    with alive_while_opening(path, lambda: told.append(1)):
        for speaker in speakers():
            speaker.join(20)
        assert speakers() == []
    assert len(told) == 5


def test_without_a_log_nobody_speaks(path, quick):
    told = []
    with alive_while_opening(path, lambda: told.append(1)):
        assert speakers() == []
    assert told == []


def test_a_long_log_that_a_kill_left_is_read_with_signs_of_life_and_copied_before_anybody_waits(
    path, tmp_path, monkeypatch, quick
):
    first = LedgerWriter(path, lambda _: None)
    left_by = writer.open_for_writing(path)
    left_by.execute(INSERT, row(0))
    left = tmp_path / "left"
    shutil.copytree(path.parent, left)
    left_by.close()
    first.close()
    ledger = left / path.name
    monkeypatch.setattr(opening, "BYTES_PER_SECOND", 1000)
    honest = writer.open_for_writing

    told = threading.Semaphore(0)

    def slow(path):
        for _ in range(3):
            assert told.acquire(timeout=20)
        return honest(path)

    monkeypatch.setattr(writer, "open_for_writing", slow)
    before = ledger.read_bytes()
    second = LedgerWriter(ledger, lambda _: None, alive=told.release)
    try:
        assert ledger.read_bytes() != before
        assert second._log_pages < LOG_PAGES
    finally:
        second.close()
