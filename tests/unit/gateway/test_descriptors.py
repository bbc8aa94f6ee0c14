"""What stays open behind the walls."""

from __future__ import annotations

from mycelos.gateway.descriptors import Descriptors


def test_each_descriptor_that_was_handed_over_stays_open_and_no_other() -> None:
    assert Descriptors(listen=5, control=6, spawner=7, ready=8).kept() == [5, 6, 7, 8]
    assert Descriptors(listen=5, control=None, spawner=7, ready=None).kept() == [5, 7]
