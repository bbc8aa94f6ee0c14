from __future__ import annotations

import json
from typing import Any

import pytest
from scripted_gateway import problem

from mycelos.proxy.ledger.recorder import Recorder
from mycelos.wire.problems import ProblemCode, Refusal

END_ALL = "POST /api/auth/end-all"


def test_when_nothing_runs_it_says_so(mycelos: Any) -> None:
    for words in ((), ("--lift",)):
        code, out, err = mycelos("lockdown", *words)
        assert (code, out) == (1, "")
        assert "is not running" in err


def test_egress_stops_sessions_end_and_it_is_lifted_again(mycelos: Any, operator_system: Any, gateway: Any) -> None:
    gateway.answers[END_ALL] = (200, {"sessions": 2, "runs": 1})
    code, out, err = mycelos("lockdown")
    since = operator_system.lockdown.state.since
    assert (code, err) == (0, "")
    assert f"Locked down since {since}: nothing leaves. Ended: 2 sessions, 1 runs." in out
    assert "mycelos lockdown --lift" in out
    assert gateway.asked == [(END_ALL, None)]
    code, out, _ = mycelos("lockdown", "--lift")
    assert (code, out) == (0, "Not locked down: requests are decided again.\n")
    assert not operator_system.lockdown.state.locked
    assert gateway.asked == [(END_ALL, None)], "lifting ends nothing"


def test_its_answer_as_json(mycelos: Any, operator_system: Any, gateway: Any) -> None:
    gateway.answers[END_ALL] = (200, {"sessions": 0, "runs": 0})
    code, out, _ = mycelos("lockdown", "--json")
    since = operator_system.lockdown.state.since
    assert (code, json.loads(out)) == (
        0, {"locked": True, "since": since, "sessions": 0, "runs": 0, "not_done": []},
    )  # fmt: skip
    assert json.loads(mycelos("lockdown", "--lift", "--json")[1]) == {"locked": False, "since": None, "not_done": []}


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ((503, problem("audit_unavailable", "The ledger is full.", "Free some space.", 503)), "The ledger is full."),
        ((503, problem("internal", "It failed.", "See mycelos doctor", 503)), "See mycelos doctor. Its sessions"),
        ((200, {"sessions": "all"}), "not understood"),
        ((200, ["no"]), "not understood"),
        ((200, b"no json"), "not understood"),
        ((500, b"no problem"), "status 500"),
    ],
)
def test_a_gateway_that_fails_does_not_keep_egress_open(
    mycelos: Any, operator_system: Any, gateway: Any, answer: Any, said: str
) -> None:
    gateway.answers[END_ALL] = answer
    code, out, err = mycelos("lockdown")
    assert code == 1
    assert "nothing leaves" in out
    assert said in err
    assert ". Its sessions and runs end by themselves" in err
    assert operator_system.lockdown.state.locked


def test_a_gateway_that_does_not_run_does_not_keep_egress_open(mycelos: Any, operator_system: Any) -> None:
    code, out, err = mycelos("lockdown")
    assert code == 1
    assert "nothing leaves" in out
    assert "The gateway does not run." in err
    assert operator_system.lockdown.state.locked


def test_what_the_proxy_could_not_do_is_said(
    mycelos: Any, operator_system: Any, gateway: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(*_arguments: object, **_about: object) -> None:
        raise Refusal(ProblemCode.AUDIT_UNAVAILABLE, "The ledger cannot be written.", "Free some space.")

    gateway.answers[END_ALL] = (200, {"sessions": 0, "runs": 0})
    monkeypatch.setattr(Recorder, "intent", refuse)
    code, out, err = mycelos("lockdown")
    assert code == 1
    assert "nothing leaves" in out
    assert "It is not on record yet: The ledger cannot be written." in err
    assert mycelos("lockdown", "--lift")[0] == 1
    assert operator_system.lockdown.state.locked
