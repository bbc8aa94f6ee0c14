from typing import Any

import pytest
from operator_requests import refusal, store

from mycelos.proxy.ledger.recorder import Recorder
from mycelos.wire.operator import AddRule, BindCredential, ListRules, RemoveRule, RotateCredential, SetWeb
from mycelos.wire.problems import ProblemCode, Refusal


def test_each_change_is_on_record_in_two_entries(operator_system: Any) -> None:
    client = operator_system.client
    stored = store(operator_system)
    client.rotate(RotateCredential(service="github", secret="another-one"))
    client.bind(BindCredential(service="github", bindings=stored.bindings[:1], label="less"))
    assert client.credentials().credentials[0].version == 3
    client.delete("github")
    assert client.credentials().credentials == ()
    for name in ("credential.rotated", "credential.bound", "credential.deleted"):
        assert [entry["phase"] for entry in operator_system.events(name)] == ["intent", "outcome"]


def test_nothing_changes_when_the_ledger_cannot_be_written(
    operator_system: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    store(operator_system)
    rule = operator_system.client.egress_rules(AddRule(method="GET", scheme="https", host="a.example", port=443))

    async def refuse(*_arguments: object, **_about: object) -> None:
        raise Refusal(ProblemCode.AUDIT_UNAVAILABLE, "The ledger cannot be written.", "Free some space.")

    before = operator_system.client.credentials()
    monkeypatch.setattr(Recorder, "intent", refuse)
    monkeypatch.setattr(Recorder, "fact", refuse)
    client = operator_system.client
    changes = [
        (store, operator_system, "gitlab"),
        (client.rotate, RotateCredential(service="github", secret="x-secret")),
        (client.bind, BindCredential(service="github", bindings=before.credentials[0].bindings[:1])),
        (client.delete, "github"),
        (client.egress_rules, AddRule(method="GET", scheme="https", host="b.example", port=443)),
        (client.egress_rules, RemoveRule(id=rule[0].id)),
        (client.egress_rules, SetWeb(enabled=True)),
        (client.create_link,),
    ]
    for function, *arguments in changes:
        assert refusal(function, *arguments).code is ProblemCode.AUDIT_UNAVAILABLE
    monkeypatch.undo()
    assert operator_system.client.credentials() == before
    assert operator_system.client.egress_rules(ListRules()) == rule


def test_a_refused_change_has_its_outcome_on_record(operator_system: Any) -> None:
    store(operator_system)
    problem = refusal(store, operator_system)
    assert (problem.code, problem.status) == (ProblemCode.CONFLICT, 409)
    assert "rotate" in problem.next
    outcome = operator_system.events("credential.stored")[-1]
    assert (outcome["outcome"], outcome["reason"]) == ("refused", "conflict")


def test_after_each_change_done_or_refused_what_is_on_its_way_is_decided_again(operator_system: Any) -> None:
    store(operator_system)
    assert operator_system.changes == 1
    operator_system.client.credentials()
    assert operator_system.changes == 1
    refusal(store, operator_system)
    operator_system.client.egress_rules(SetWeb(enabled=True))
    operator_system.client.delete("github")
    assert operator_system.changes == 4


def test_a_change_whose_outcome_cannot_be_recorded_is_not_said_to_be_undone(
    operator_system: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = operator_system.recorder.outcome

    async def refuse(*_arguments: object, **_about: object) -> None:
        raise Refusal(
            ProblemCode.AUDIT_UNAVAILABLE, "Nothing is done that cannot be recorded: full", "Free some space."
        )

    monkeypatch.setattr(operator_system.recorder, "outcome", refuse)
    problem = refusal(store, operator_system)
    assert problem.code is ProblemCode.AUDIT_UNAVAILABLE
    assert "The change was made" in problem.detail
    monkeypatch.setattr(operator_system.recorder, "outcome", original)
    assert [one.service for one in operator_system.client.credentials().credentials] == ["github"]
