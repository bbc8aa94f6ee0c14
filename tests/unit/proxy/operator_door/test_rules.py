from typing import Any

import pytest
from operator_requests import ask, bearer, refusal

from mycelos.proxy.ledger.recorder import Recorder
from mycelos.wire.operator import ANY_HOST, AddRule, ListRules, RemoveRule, SetWeb
from mycelos.wire.problems import ProblemCode, Refusal


def test_egress_rules_are_listed_added_and_removed_on_record(operator_system: Any) -> None:
    rules = operator_system.client.egress_rules
    assert rules(ListRules()) == ()
    (added,) = rules(AddRule(method="GET", scheme="https", host="a.example", port=443))
    assert (added.method, added.scheme, added.host, added.port) == ("GET", "https", "a.example", 443)
    assert {rule.host for rule in rules(SetWeb(enabled=True))} == {"a.example", ANY_HOST}
    assert rules(SetWeb(enabled=False)) == (added,)
    assert rules(RemoveRule(id=added.id)) == ()
    assert refusal(rules, RemoveRule(id=added.id)).code is ProblemCode.NOT_FOUND
    assert [entry["phase"] for entry in operator_system.events("egress.rule_changed")] == ["intent", "outcome"] * 5
    headers = {"Authorization": bearer(operator_system)}
    status, problem, _ = ask(operator_system, "POST", "/egress/rules", {"action": "burn"}, **headers)
    assert (status, problem["code"]) == (400, "invalid_request")


def test_lockdown_is_set_and_lifted_on_record_and_stands_in_the_status(operator_system: Any) -> None:
    client = operator_system.client
    assert client.status().lockdown.locked is False
    headers = {"Authorization": bearer(operator_system)}
    status, answer, _ = ask(operator_system, "POST", "/lockdown", {"enabled": True}, **headers)
    assert (status, answer["locked"], answer["shortcomings"]) == (200, True, [])
    assert client.status().lockdown.since == answer["since"]
    with pytest.raises(Refusal, match="locked_down"):
        operator_system.lockdown.refuse()
    lifted = client.set_lockdown(enabled=False)
    assert (lifted.locked, lifted.since, lifted.last) == (False, None, answer["last"])
    operator_system.lockdown.refuse()
    for name in ("set", "lifted"):
        assert [entry["phase"] for entry in operator_system.events(f"lockdown.{name}")] == ["intent", "outcome"]
    status, problem, _ = ask(operator_system, "POST", "/lockdown", {"enabled": 1}, **headers)
    assert (status, problem["code"]) == (400, "invalid_request")


def test_a_lockdown_without_a_ledger_stops_egress_and_is_recorded_when_the_ledger_is_back(
    operator_system: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(*_arguments: object, **_about: object) -> None:
        raise Refusal(ProblemCode.AUDIT_UNAVAILABLE, "The ledger cannot be written.", "Free some space.")

    monkeypatch.setattr(Recorder, "intent", refuse)
    monkeypatch.setattr(Recorder, "fact", refuse)
    answer = operator_system.client.set_lockdown(enabled=True)
    assert answer.locked
    assert answer.shortcomings
    assert operator_system.client.status().lockdown.locked
    monkeypatch.undo()
    operator_system.client.status()
    assert [entry["reason"] for entry in operator_system.events("lockdown.set")] == ["recorded late"]
