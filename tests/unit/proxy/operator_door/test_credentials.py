import json
from typing import Any

import pytest
from operator_requests import SECRET, refusal, store

from mycelos.proxy.vault.records import park_all
from mycelos.wire.operator import RotateCredential
from mycelos.wire.problems import ProblemCode, Refusal


def test_a_credential_is_stored_on_record_and_never_shown(operator_system: Any) -> None:
    stored = store(operator_system)
    assert (stored.service, stored.label, stored.version) == ("github", "github", 1)
    assert {binding.host for binding in stored.bindings} == {"api.github.com"}
    assert operator_system.client.credentials().credentials == (stored,)
    intent, outcome = operator_system.events("credential.stored")
    assert (intent["phase"], intent["source"], intent["subject"]) == ("intent", "operator", "github")
    assert intent["details"]["hosts"] == ["https://api.github.com:443"]
    assert (outcome["phase"], outcome["outcome"]) == ("outcome", "ok")
    assert outcome["details"]["credential_id"] == stored.id
    for path in operator_system.layout.root.rglob("*"):
        assert not path.is_file() or SECRET.encode() not in path.read_bytes()
    assert SECRET not in json.dumps(operator_system.client.audit_events(limit="100"))


def test_confirm_is_laid_over_a_templates_bindings(operator_system: Any) -> None:
    assert all(binding.confirm for binding in store(operator_system, confirm=True).bindings)


def test_an_unknown_template_names_those_that_exist(operator_system: Any) -> None:
    problem = refusal(lambda: store(operator_system, template="githob"))
    assert problem.detail.startswith("template: ")
    assert "github" in problem.next
    assert {template.name for template in operator_system.client.templates()} >= {"github", "openai", "telegram"}


def test_what_is_on_its_way_with_a_rotated_secret_is_named(operator_system: Any) -> None:
    store(operator_system)
    refusal(operator_system.client.rotate, RotateCredential(service="unknown", secret=f"{SECRET}-2"))
    assert operator_system.rotations == []
    operator_system.client.rotate(RotateCredential(service="github", secret=f"{SECRET}-2"))
    assert operator_system.rotations == ["github"]


def test_a_rotation_cuts_what_is_on_its_way_also_when_its_outcome_cannot_be_recorded(
    operator_system: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    store(operator_system)

    def outcome(*_arguments: object, **_keywords: object) -> Any:
        raise Refusal(ProblemCode.AUDIT_UNAVAILABLE, "The disk is full.", "Make room.")

    monkeypatch.setattr(operator_system.recorder, "outcome", outcome)
    refusal(operator_system.client.rotate, RotateCredential(service="github", secret=f"{SECRET}-2"))
    assert operator_system.rotations == ["github"]


def test_a_parked_credential_is_shown_confirmed_and_on_record_with_what_it_is_for(operator_system: Any) -> None:
    store(operator_system)
    store(operator_system, "second")
    vault = operator_system.vault
    vault.database.run_now(lambda connection: park_all(connection, vault.keys, "2026-11-26T12:00:00Z"))
    vault.adopt(*vault.database.run_now(vault.read))
    parked = operator_system.client.credentials().credentials
    assert {credential.parked_at for credential in parked} == {"2026-11-26T12:00:00Z"}
    changes = operator_system.changes
    confirmed = operator_system.client.confirm("github")
    assert (confirmed.parked_at, confirmed.version) == (None, 1)
    assert operator_system.changes == changes + 1
    intent, outcome = operator_system.events("credential.confirmed")
    assert (intent["source"], intent["subject"]) == ("operator", "github")
    assert intent["details"]["hosts"] == ["https://api.github.com:443"]
    assert (outcome["outcome"], outcome["details"]["credential_id"]) == ("ok", confirmed.id)
    assert vault.find("github") is not None
    assert refusal(vault.find, "second").code is ProblemCode.CREDENTIAL_UNKNOWN


def test_what_is_not_there_is_not_confirmed(operator_system: Any) -> None:
    assert refusal(operator_system.client.confirm, "unknown").code is ProblemCode.CREDENTIAL_UNKNOWN
    _, outcome = operator_system.events("credential.confirmed")
    assert (outcome["outcome"], outcome["reason"]) == ("refused", "credential_unknown")
