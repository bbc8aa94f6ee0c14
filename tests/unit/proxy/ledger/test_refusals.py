from __future__ import annotations

import pytest

from mycelos.ledger.entry import EntryError
from mycelos.proxy.ledger import refusals
from mycelos.proxy.ledger.writer import NoRoomError, WriteError
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


@pytest.mark.parametrize(
    ("error", "code", "way_out"),
    [
        (WriteError("the reason"), ProblemCode.AUDIT_UNAVAILABLE, "Check the disk"),
        (NoRoomError("the reason"), ProblemCode.AUDIT_UNAVAILABLE, "mycelos serve"),
        (EntryError("the reason"), ProblemCode.TOO_LARGE, "Record a digest"),
    ],
)
def test_why_an_append_was_not_written_has_a_way_out_of_its_own(error, code, way_out):
    refusal = refusals.refusal_of(error)
    assert isinstance(refusal, refusals.UnsignedLimitError) == isinstance(error, NoRoomError)
    assert refusal.problem.code is code
    assert "the reason" in refusal.problem.detail
    assert way_out in refusal.problem.next
