from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mycelos.supervisor.restarts import (
    FIRST_DELAY,
    LONGEST_DELAY,
    MOST_FAILURES,
    STEADY_AFTER,
    RestartHistory,
)


def test_a_child_that_has_not_failed_starts_at_once():
    assert RestartHistory().delay == 0.0


def test_each_failure_in_a_row_doubles_the_delay():
    history = RestartHistory()
    delays = []
    for _ in range(4):
        history = history.after_failure(served_seconds=1.0)
        delays.append(history.delay)
    assert delays == [FIRST_DELAY, FIRST_DELAY * 2, FIRST_DELAY * 4, FIRST_DELAY * 8]


def test_after_too_many_failures_in_a_row_there_is_no_next_start():
    history = RestartHistory()
    for _ in range(MOST_FAILURES):
        assert history.delay is not None
        history = history.after_failure(served_seconds=0.0)
    assert history.delay is None


def test_long_service_makes_earlier_failures_forgotten():
    assert RestartHistory(MOST_FAILURES - 1).after_failure(STEADY_AFTER).delay == FIRST_DELAY


@given(st.lists(st.floats(min_value=0, max_value=1e6), max_size=40))
def test_a_delay_is_never_longer_than_the_longest(services):
    history = RestartHistory()
    for served in services:
        history = history.after_failure(served)
        assert history.delay is None or FIRST_DELAY <= history.delay <= LONGEST_DELAY
