from __future__ import annotations

from mycelos.proxy.vault import envelope
from mycelos.proxy.vault.current_keys import CurrentKeys

COLUMNS = {"id": "a", "port": 1}


def test_whoever_holds_the_object_uses_the_slot_that_is_in_use_now() -> None:
    first, second = envelope.SlotKeys("kid_a", bytes(32)), envelope.SlotKeys("kid_b", bytes(range(32)))
    keys = CurrentKeys(first)
    tag = keys.row_mac("table", COLUMNS)
    assert (keys.kid, keys.slot) == ("kid_a", first)
    assert keys.row_holds("table", COLUMNS, tag)
    keys.replace(second)
    assert (keys.kid, keys.slot) == ("kid_b", second)
    assert not keys.row_holds("table", COLUMNS, tag)
    assert keys.row_mac("table", COLUMNS) == second.row_mac("table", COLUMNS)
    assert repr(keys) == "CurrentKeys('kid_b')"
