"""A write-ahead log that takes long to read is no hang, and a hang ends the signs of life."""

from __future__ import annotations

import shutil
import time

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


def counted(path, seconds):
    told = []
    with alive_while_opening(path, lambda: told.append(1)):
        time.sleep(seconds)
    told_inside = len(told)
    time.sleep(0.05)
    assert len(told) == told_inside
    return told_inside


def test_it_is_said_as_long_as_the_log_may_take(path, quick, monkeypatch):
    monkeypatch.setattr(opening, "BYTES_PER_SECOND", 10)
    with_log(path, 1000)
    assert counted(path, 0.3) > 3


def test_a_hang_is_not_said_to_be_alive_for_ever(path, quick, monkeypatch):
    monkeypatch.setattr(opening, "BYTES_PER_SECOND", 10_000)
    with_log(path, 500)
    assert counted(path, 0.4) == 5


def test_without_a_log_nothing_is_said(path, quick):
    assert counted(path, 0.1) == 0


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

    def slow(path):
        time.sleep(0.2)
        return honest(path)

    monkeypatch.setattr(writer, "open_for_writing", slow)
    told = []
    before = ledger.read_bytes()
    second = LedgerWriter(ledger, lambda _: None, alive=lambda: told.append(1))
    try:
        assert len(told) > 2
        assert ledger.read_bytes() != before
        assert second._log_pages < LOG_PAGES
    finally:
        second.close()
