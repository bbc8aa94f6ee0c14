from __future__ import annotations

import sqlite3

import pytest

from mycelos.operator.client import OperatorUnavailableError
from mycelos.prove import run
from mycelos.prove.installation import Installation
from mycelos.prove.outcome import CannotShowError, Finding, Shown, Standing
from mycelos.wire.problems import ProblemCode, Refusal


def probing(monkeypatch, attempt):
    monkeypatch.setitem(run.PROBES, "V1", run.Probe(Shown.TWIN, attempt))


def test_claims_are_chosen_by_name_in_the_order_of_the_list():
    assert run.choose(["s1", "V1", "V1"]) == ("V1", "S1")
    assert set(run.choose([])) == set(run.PROBES)


def test_an_unknown_claim_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match="Z9.*V1"):
        run.choose(["V1", "Z9"])


def test_findings_are_handed_on(layout, monkeypatch):
    finding = Finding("try", "refused", held=True)
    probing(monkeypatch, lambda _: [finding])
    (result,) = run.prove(Installation(layout, None), ["V1"])
    assert (result.findings, result.shown, result.standing) == ((finding,), Shown.TWIN, Standing.HOLDS)


@pytest.mark.parametrize(
    "error",
    [
        CannotShowError("nothing runs"),
        Refusal(ProblemCode.INTERNAL, "x", "y"),
        OperatorUnavailableError(detail="x", next_step="y"),
        PermissionError(13, "x"),
        sqlite3.OperationalError("x"),
        TimeoutError(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_probe_that_fails_never_shows_that_a_wall_held(layout, monkeypatch, error):
    def attempt(_):
        raise error

    probing(monkeypatch, attempt)
    (result,) = run.prove(Installation(layout, None), ["V1"])
    assert result.standing is Standing.CANNOT_TELL
    assert result.obstacle


def test_a_deferred_claim_says_why(layout):
    (result,) = run.prove(Installation(layout, None), ["D1"])
    assert result.standing is Standing.CANNOT_TELL
    assert "containers" in result.obstacle
