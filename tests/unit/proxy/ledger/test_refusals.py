from __future__ import annotations

import pytest

from mycelos.proxy.ledger import refusals
from mycelos.wire.problems import ProblemCode


@pytest.mark.parametrize(
    ("refuse", "code"),
    [
        (refusals.unavailable, ProblemCode.AUDIT_UNAVAILABLE),
        (refusals.too_large, ProblemCode.TOO_LARGE),
        (refusals.invalid, ProblemCode.INVALID_REQUEST),
        (refusals.not_claimable, ProblemCode.FORBIDDEN),
    ],
)
def test_each_refusal_says_what_is_wrong_and_what_can_be_done(refuse, code):
    problem = refuse("the reason").problem
    assert problem.code is code
    assert "the reason" in problem.detail
    assert problem.next
