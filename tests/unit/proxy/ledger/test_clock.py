from __future__ import annotations

import pytest

from mycelos.proxy.ledger.clock import Moment, last_moment, read_clock, step_between


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


@pytest.mark.parametrize(("now", "step"), [(1000, 0), (5000, 0), (999, 0), (400, -600)])
def test_a_new_life_is_measured_against_an_entry_that_lies_ahead_of_it(now, step):
    began = Moment(now, 7)
    assert step_between(last_moment(Moment(1000, 3).at, began), began) == step


def test_what_is_no_time_is_no_step():
    assert last_moment("yesterday", Moment(400, 7)) == Moment(400, 7)
