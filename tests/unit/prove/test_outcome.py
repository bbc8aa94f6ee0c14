from __future__ import annotations

import pytest

from mycelos.claims import BY_ID
from mycelos.prove.outcome import Finding, ProbeResult, Shown, Standing, exit_code

HELD = Finding("try", "refused", held=True)
OPEN = Finding("try", "it worked", held=False)


def result(*findings, obstacle=""):
    return ProbeResult(BY_ID["V1"], Shown.TWIN, findings, obstacle)


@pytest.mark.parametrize(
    ("made", "standing"),
    [
        (result(HELD, HELD), Standing.HOLDS),
        (result(HELD, OPEN), Standing.BROKEN),
        (result(OPEN, obstacle="and then it stopped"), Standing.BROKEN),
        (result(HELD, obstacle="and then it stopped"), Standing.CANNOT_TELL),
        (result(obstacle="nothing runs"), Standing.CANNOT_TELL),
        (result(), Standing.CANNOT_TELL),
    ],
)
def test_a_claim_holds_only_where_everything_was_tried_and_refused(made, standing):
    assert made.standing is standing


@pytest.mark.parametrize(
    ("results", "code"),
    [
        ([result(HELD)], 0),
        ([result(HELD), result(OPEN)], 3),
        ([result(HELD), result()], 6),
        ([result(OPEN), result()], 3),
        ([], 6),
    ],
)
def test_the_exit_code_is_0_only_when_each_claim_holds(results, code):
    assert exit_code(results) == code
