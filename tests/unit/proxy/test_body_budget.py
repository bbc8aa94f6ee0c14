from __future__ import annotations

import pytest

from mycelos.proxy.body_budget import BodyBudget
from mycelos.wire.problems import Refusal


def test_all_callers_together_keep_no_more_than_the_limit() -> None:
    budget = BodyBudget(10)
    with budget.keeping() as count, budget.keeping() as other:
        count(6)
        other(4)
        with pytest.raises(Refusal, match="rate_limited"):
            other(1)
    with budget.keeping() as count:
        count(10)


def test_what_was_refused_gives_back_what_it_had() -> None:
    budget = BodyBudget(10)
    with pytest.raises(Refusal), budget.keeping() as count:
        count(8)
        count(3)
    with budget.keeping() as count:
        count(10)
