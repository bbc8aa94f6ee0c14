from __future__ import annotations

import sqlite3

import pytest

from mycelos.operator.client import OperatorUnavailableError
from mycelos.prove import run
from mycelos.prove.installation import Installation
from mycelos.prove.outcome import CannotShowError, Finding, Shown, Standing
from mycelos.supervisor.state import SupervisorState
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


def test_what_is_shown_on_both_says_so_and_one_obstacle_hides_no_finding_of_the_other(layout, monkeypatch):
    open_ = Finding("try", "it worked", held=False)

    def nothing_runs(_):
        message = "nothing runs"
        raise CannotShowError(message)

    monkeypatch.setitem(run.PROBES, "V1", run.Probe(Shown.TWIN, lambda _: [open_], nothing_runs))
    (result,) = run.prove(Installation(layout, None), ["V1"])
    assert (result.shown, result.findings, result.obstacle) == (Shown.LIVE_AND_TWIN, (open_,), "nothing runs")
    assert result.standing is Standing.BROKEN


def running(layout):
    return Installation(layout, SupervisorState(1, 1, 1, "", "", "127.0.0.1", 1, 1, "", "", ()))


@pytest.mark.parametrize(("older", "standing"), [((), Standing.HOLDS), (("proxy",), Standing.CANNOT_TELL)])
def test_a_twin_shows_nothing_of_processes_that_are_older_than_the_code(layout, monkeypatch, older, standing):
    probing(monkeypatch, lambda _: [Finding("try", "refused", held=True)])
    monkeypatch.setattr(run, "older_than_code", lambda _: older)
    (result,) = run.prove(running(layout), ["V1"])
    assert result.standing is standing
    assert ("mycelos stop, then mycelos serve" in result.obstacle) == bool(older)


def test_where_the_code_cannot_be_looked_at_a_twin_shows_nothing(layout, monkeypatch):
    def fail(_):
        raise PermissionError

    probing(monkeypatch, lambda _: [Finding("try", "refused", held=True)])
    monkeypatch.setattr(run, "older_than_code", fail)
    (result,) = run.prove(running(layout), ["V1"])
    assert result.standing is Standing.CANNOT_TELL
