from __future__ import annotations

from mycelos.proxy.text_budget import TextBudget


def test_within_any_sixty_seconds_no_more_is_given_than_there_is() -> None:
    now = 0.0
    budget = TextBudget(10, lambda: now)
    assert budget.take(4)
    now = 30.0
    assert budget.take(6)
    assert not budget.take(1)
    now = 59.9
    assert not budget.take(1)
    now = 60.0
    assert budget.take(4)
    assert not budget.take(1)
    now = 90.0
    assert budget.take(6)


def test_what_is_more_than_is_left_takes_nothing() -> None:
    budget = TextBudget(10, lambda: 0.0)
    assert not budget.take(11)
    assert budget.take(10)
    assert budget.take(0)
