"""Failures carry words of ours."""

from __future__ import annotations

from mycelos.gateway.runs.failure import RunFailure, internal_failure
from mycelos.wire.problems import ProblemCode, Refusal


def test_a_refusal_keeps_its_code_its_sentence_and_its_next_step() -> None:
    failure = RunFailure.from_refusal(Refusal(ProblemCode.TOO_LARGE, "Too long", "Shorten."))
    assert (failure.code, failure.detail, failure.next_step) == ("too_large", "Too long", "Shorten.")


def test_what_nobody_foresaw_has_a_plain_reason() -> None:
    assert internal_failure().code == "internal"
