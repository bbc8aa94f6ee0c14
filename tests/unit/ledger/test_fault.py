from __future__ import annotations

import pytest

from mycelos.ledger.fault import Fault, FaultFoundError


def test_a_fault_names_its_entry_and_ends_a_verification():
    with pytest.raises(FaultFoundError, match="^entry 3: it was changed$") as caught:
        raise FaultFoundError(3, "it was changed", "this", "that")
    assert caught.value.fault == Fault(3, "it was changed", "this", "that")


def test_what_was_found_is_harmless_and_short_whoever_wrote_it():
    fault = FaultFoundError(0, "it was changed", "\x1b[2J", "x" * 1000).fault
    assert (fault.expected, len(fault.found)) == ("\\u001b[2J", 512)
