from __future__ import annotations

import pytest

from mycelos.proxy.ledger.clock import Moment, read_clock, step_between


def test_a_moment_is_written_as_rfc3339_in_utc_with_microseconds():
    assert Moment(1_769_860_800.25, 0).at == "2026-01-31T12:00:00.250000Z"


@pytest.mark.parametrize(
    ("wall", "monotonic", "step"), [(10, 10, 0), (11.5, 10, 0), (8.5, 10, 0), (3610, 10, 3600), (-3590, 10, -3600)]
)
def test_a_step_is_what_the_time_of_day_moved_beyond_the_time_that_passed(wall, monotonic, step):
    assert step_between(Moment(1000, 50), Moment(1000 + wall, 50 + monotonic)) == step


def test_the_clock_never_goes_back():
    first, second = read_clock(), read_clock()
    assert second.monotonic >= first.monotonic
