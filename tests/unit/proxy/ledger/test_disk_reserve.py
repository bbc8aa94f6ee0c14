from __future__ import annotations

import os
from types import SimpleNamespace

from mycelos.proxy.ledger import disk_reserve
from mycelos.proxy.ledger.disk_reserve import LOOK_EVERY, DiskReserve


def space(free):
    return lambda _folder: SimpleNamespace(f_bavail=free, f_frsize=4096)


def test_it_is_reached_when_fewer_bytes_are_free_and_no_longer_when_there_is_room(monkeypatch):
    now = [0.0]
    reserve = DiskReserve("unused", 10 * 4096, lambda: now[0])
    for free, is_reached in ((10, False), (9, True), (10, False)):
        monkeypatch.setattr(os, "statvfs", space(free))
        now[0] += LOOK_EVERY
        assert reserve.is_reached() is is_reached


def test_one_look_counts_for_a_while(monkeypatch):
    looks = []
    monkeypatch.setattr(disk_reserve.os, "statvfs", lambda folder: looks.append(folder) or space(9)(folder))
    reserve = DiskReserve("here", 10 * 4096, lambda: 1.0)
    assert [reserve.is_reached() for _ in range(100)] == [True] * 100
    assert looks == ["here"]


def test_a_file_system_that_does_not_answer_counts_as_full(tmp_path):
    assert DiskReserve(tmp_path / "absent", 1).is_reached()
    assert not DiskReserve(tmp_path, 1).is_reached()
